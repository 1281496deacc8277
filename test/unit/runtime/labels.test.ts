import { describe, expect, it } from "vitest";
import { decodeLabels, encodeContainer, encodeSandbox } from "../../../src/runtime/labels.ts";
import { containerOf, sandboxOf } from "../../builders/runtime.ts";

const pod = { namespace: "n", name: "p", uid: "u" };
const hostPorts = [
  { protocol: "TCP", hostIp: "", hostPort: 80, containerPort: 8080 },
  { protocol: "UDP", hostIp: "127.0.0.1", hostPort: 53, containerPort: 53 },
] as const;
const sandbox = sandboxOf(pod, { attempt: 3, ips: ["10.1.2.3", "fd00::3"], hostPorts });
const container = containerOf(pod, "s", { kind: "init", attempt: 2 });

describe("labels", () => {
  it("of a sandbox come back as they went", () => {
    expect(decodeLabels(encodeSandbox(sandbox))).toEqual({
      role: "sandbox",
      ...{ pod, attempt: 3, ips: ["10.1.2.3", "fd00::3"], hostNetwork: false, hostPorts },
      annotations: { grace: "30" },
    });
  });

  it("of a sandbox without addresses name none", () => {
    const labels = encodeSandbox({ ...sandbox, ips: [], hostNetwork: true });
    expect(decodeLabels(labels)).toMatchObject({ ips: [], hostNetwork: true });
  });

  it("with host ports of no form name none", () => {
    const labels = {
      ...encodeSandbox(sandbox),
      "longshore.io/host-ports": "TCP:x:1:2,TCP::1,,UDP::3:4",
    };
    expect(decodeLabels(labels)).toMatchObject({
      hostPorts: [{ protocol: "UDP", hostIp: "", hostPort: 3, containerPort: 4 }],
    });
  });

  it("of a container come back as they went", () => {
    expect(decodeLabels(encodeContainer(container))).toEqual({
      role: "container",
      ...{ pod, name: "web", kind: "init", attempt: 2, specHash: "abc", sandboxId: "s" },
      ...{ image: "busybox:latest", annotations: { a: "b" } },
    });
  });

  it.each([
    ["not ours", { "longshore.io/role": undefined }, "not made by Longshore"],
    ["of another role", { "longshore.io/role": "x" }, "not made by Longshore"],
    ["without a pod", { "io.kubernetes.pod.uid": "" }, "no pod named"],
    ["without a count", { "longshore.io/attempt": "x" }, "attempt x"],
    ["with a count below zero", { "longshore.io/attempt": "-1" }, "attempt -1"],
    ["with broken annotations", { "longshore.io/annotations": "[1" }, "annotations"],
    ["with odd annotations", { "longshore.io/annotations": '{"a":1}' }, "annotations"],
    ["of an unknown kind", { "longshore.io/kind": "x" }, "kind x"],
    ["named like a sandbox", { "io.kubernetes.container.name": "POD" }, "no container named"],
  ])("%s are foreign", (_sentence, change, reason) => {
    const labels = { ...encodeContainer(container), ...change } as Record<string, string>;
    expect(decodeLabels(labels)).toEqual({
      role: "foreign",
      reason: expect.stringContaining(reason),
    });
  });
});
