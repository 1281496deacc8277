/** Strategic merge: one original object and a table of patches with what they make of it. */

import { describe, expect, it } from "vitest";
import { StatusError } from "../../../src/controlplane/status-error.ts";
import { strategicMerge } from "../../../src/controlplane/strategic-merge.ts";

const a = { name: "a", image: "one", ports: [{ containerPort: 80 }, { containerPort: 81 }] };
const b = { name: "b", image: "two", args: ["x", "y"] };
const pod = {
  metadata: { labels: { app: "web", tier: "front" }, finalizers: ["f/one", "f/two"] },
  spec: {
    containers: [a, b],
    tolerations: [{ key: "k" }],
    volumes: [{ name: "v", emptyDir: {} }],
  },
  status: { podIPs: [{ ip: "10.0.0.1" }, { ip: "fd00::1" }], hostIPs: [{ ip: "1.1.1.1" }] },
};
const containers = (...list: unknown[]) => ({ spec: { containers: list } });

describe("strategic merge", () => {
  it.each<[string, object, object]>([
    [
      "a null deletes a key and others stay",
      { metadata: { labels: { app: null } } },
      { metadata: { labels: { tier: "front" } } },
    ],
    [
      "a container is merged by its name",
      containers({ name: "b", image: "new" }),
      containers(a, { ...b, image: "new" }),
    ],
    [
      "a new container comes first, as upstream has it",
      containers({ name: "c" }),
      containers({ name: "c" }, a, b),
    ],
    [
      "the order that is asked for is kept",
      { spec: { "$setElementOrder/containers": [{ name: "b" }, { name: "a" }] } },
      containers(b, a),
    ],
    [
      "a new item takes the place the order gives it",
      {
        spec: {
          "$setElementOrder/containers": [{ name: "a" }, { name: "b" }, { name: "c" }],
          containers: [{ name: "c" }],
        },
      },
      containers(a, b, { name: "c" }),
    ],
    ["a list item is deleted", containers({ name: "a", $patch: "delete" }), containers(b)],
    ["deleting what is not there does nothing", containers({ name: "z", $patch: "delete" }), {}],
    [
      "a directive alone replaces the whole list",
      containers({ $patch: "replace" }, { name: "z" }),
      containers({ name: "z" }),
    ],
    [
      "ports are merged by containerPort",
      containers({ name: "a", ports: [{ containerPort: 81, name: "http" }] }),
      containers({ ...a, ports: [{ containerPort: 80 }, { containerPort: 81, name: "http" }] }, b),
    ],
    [
      "args are replaced",
      containers({ name: "b", args: ["z"] }),
      containers(a, { ...b, args: ["z"] }),
    ],
    [
      "tolerations are replaced",
      { spec: { tolerations: [{ key: "z" }] } },
      { spec: { tolerations: [{ key: "z" }] } },
    ],
    [
      "a pod address is removed by its ip",
      { status: { podIPs: [{ ip: "fd00::1", $patch: "delete" }] } },
      { status: { podIPs: [{ ip: "10.0.0.1" }] } },
    ],
    [
      "a host address is merged by its ip, one that went is removed",
      { status: { hostIPs: [{ ip: "1.1.1.1", $patch: "delete" }, { ip: "2.2.2.2" }] } },
      { status: { hostIPs: [{ ip: "2.2.2.2" }] } },
    ],
    [
      "finalizers are a set",
      { metadata: { finalizers: ["f/two", "f/three"] } },
      { metadata: { finalizers: ["f/one", "f/two", "f/three"] } },
    ],
    [
      "primitives are deleted by value",
      { metadata: { "$deleteFromPrimitiveList/finalizers": ["f/one"] } },
      { metadata: { finalizers: ["f/two"] } },
    ],
    [
      "only retained keys stay",
      { spec: { volumes: [{ name: "v", $retainKeys: ["name", "hostPath"], hostPath: {} }] } },
      { spec: { volumes: [{ name: "v", hostPath: {} }] } },
    ],
    [
      "a map is replaced",
      { metadata: { labels: { $patch: "replace", z: "z" } } },
      { metadata: { labels: { z: "z" } } },
    ],
    [
      "a map is emptied",
      { metadata: { labels: { $patch: "delete" } } },
      { metadata: { labels: {} } },
    ],
    [
      "directives and nulls never reach the object where it had nothing",
      { spec: { affinity: { x: null, y: { $patch: "merge", z: 1 } } } },
      { spec: { affinity: { y: { z: 1 } } } },
    ],
  ])("%s", (_, patch, expected) => {
    const before = structuredClone(pod);
    const merged = strategicMerge(pod, patch as Record<string, unknown>);
    const wanted = Object.fromEntries(
      Object.entries(pod).map(([field, value]) => [
        field,
        { ...value, ...(expected as Record<string, object>)[field] },
      ]),
    );
    expect(merged).toEqual(wanted);
    expect(pod).toEqual(before);
  });

  it.each<[string, object]>([
    ["an item without its merge key", containers({ image: "x" })],
    ["an item that is no map", containers("x")],
    ["a directive nobody knows", { spec: { $patch: "explode" } }],
    ["an order that is no list", { spec: { "$setElementOrder/containers": 1 } }],
    ["retained keys that are no list", { spec: { $retainKeys: "name" } }],
  ])("%s is refused", (_, patch) => {
    expect(() => strategicMerge(pod, patch as Record<string, unknown>)).toThrow(StatusError);
  });

  it("the kubelet's patch of node addresses replaces them in its order", () => {
    const node = { status: { addresses: [{ type: "InternalIP", address: "1.1.1.1" }] } };
    const addresses = [
      { type: "InternalIP", address: "2.2.2.2" },
      { type: "InternalIP", address: "fd00::2" },
    ];
    const patch = { status: { addresses: [...addresses, { $patch: "replace" }] } };
    expect(strategicMerge(node, patch)).toEqual({ status: { addresses } });
  });

  it("service ports are merged by port and those of a slice replaced", () => {
    const ports = [{ port: 1 }, { port: 2 }];
    const merged = [{ port: 1 }, { port: 2, name: "x" }];
    const patch = [{ port: 2, name: "x" }];
    expect(strategicMerge({ spec: { ports } }, { spec: { ports: patch } })).toEqual({
      spec: { ports: merged },
    });
    expect(strategicMerge({ ports }, { ports: patch })).toEqual({ ports: patch });
  });
});
