import { describe, expect, it } from "vitest";
import type { Node, Pod } from "../../../src/api/types.ts";
import {
  kubeletAddress,
  kubeletTarget,
  type PodStream,
} from "../../../src/controlplane/kubelet-request.ts";

const pod = (spec: object): Pod =>
  ({
    metadata: { name: "p", namespace: "d", uid: "u", resourceVersion: "1" },
    spec: { nodeName: "n", containers: [{ name: "a" }], ...spec },
  }) as Pod;

const two = { containers: [{ name: "a" }, { name: "b" }] };

describe("the request to a kubelet", () => {
  it.each<[string, PodStream, object, string, unknown]>([
    ["takes the only container", "log", {}, "", "/containerLogs/d/p/a"],
    [
      "passes the options of logs that are set",
      "log",
      {},
      "follow=true&previous=false&timestamps=1&tailLines=5&limitBytes=&container=a&pretty=true",
      "/containerLogs/d/p/a?follow=true&timestamps=true&tailLines=5",
    ],
    [
      "takes an init container by name",
      "log",
      { initContainers: [{ name: "i" }] },
      "container=i",
      "/containerLogs/d/p/i",
    ],
    [
      "asks which of several containers",
      "log",
      { ...two, initContainers: [{ name: "i" }] },
      "",
      "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
    ],
    ["knows the containers", "exec", two, "container=c", "container c is not valid for pod p"],
    ["has no log before there is a node", "log", { nodeName: "" }, "", "empty"],
    [
      "cannot exec before there is a node",
      "exec",
      { nodeName: "" },
      "",
      "pod p does not have a host assigned",
    ],
    [
      "gives the streams of exec their names on the kubelet",
      "exec",
      {},
      "stdin=true&stdout=true&stderr=true&tty=false&command=sh&command=-c&command=a%26b+c",
      "/exec/d/p/a?input=1&output=1&error=1&command=sh&command=-c&command=a%26b+c",
    ],
    [
      "attaches with a terminal",
      "attach",
      {},
      "stdin=1&stdout=1&tty=1",
      "/attach/d/p/a?input=1&output=1&tty=1",
    ],
    ["forwards without ports in the query", "portforward", two, "", "/portForward/d/p"],
    [
      "forwards ports of legacy clients",
      "portforward",
      {},
      "ports=80&ports=81",
      "/portForward/d/p?port=80%2C81",
    ],
  ])("%s", (_sentence, stream, spec, query, expected) => {
    const target = kubeletTarget(stream, pod(spec), new URLSearchParams(query));
    const actual = { target: "path", empty: "kind", refused: "message" }[target.kind];
    expect(target[actual as keyof typeof target]).toBe(expected);
  });

  it("goes to the node's internal address and its port", () => {
    const addresses = [
      { type: "Hostname", address: "host" },
      { type: "InternalIP", address: "10.0.0.2" },
    ];
    const daemonEndpoints = { kubeletEndpoint: { Port: 10_260 } };
    expect(kubeletAddress({ status: { addresses, daemonEndpoints } } as unknown as Node)).toEqual({
      host: "10.0.0.2",
      port: 10_260,
    });
    expect(kubeletAddress({ status: { addresses } } as unknown as Node)?.port).toBe(10_250);
    expect(kubeletAddress({} as Node)).toBeUndefined();
  });
});
