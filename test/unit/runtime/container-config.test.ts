import { describe, expect, it } from "vitest";
import type { Container, Pod } from "../../../src/api/types.ts";
import {
  type ContainerConfigInput,
  computeContainerConfig,
  computeSpecHash,
} from "../../../src/runtime/container-config.ts";
import { computeVolumeMountStatuses } from "../../../src/runtime/volume-mounts.ts";

type PodSecurity = Pick<NonNullable<Container["securityContext"]>, "seccompProfile">;

const CONTAINER: Container = { name: "web", image: "busybox" };

function configure(
  container: Partial<Container>,
  spec: Partial<Pod["spec"]> = {},
  input: Partial<ContainerConfigInput> = {},
) {
  const whole = { ...CONTAINER, ...container };
  const pod: Pod = {
    ...{ apiVersion: "v1", kind: "Pod" },
    metadata: { name: "p", namespace: "n", uid: "u", resourceVersion: "1" },
    spec: { containers: [whole], ...spec },
  };
  return computeContainerConfig({
    ...{ pod, container: whole, kind: "app", attempt: 2, sandboxId: "s", imageId: "i" },
    imageUser: "app:staff",
    ...{ env: new Map([["A", "1=2"]]), command: undefined, args: undefined },
    ...{
      volumes: new Map(),
      subPaths: new Map(),
      extraMounts: [],
      hasRecursiveReadOnly: false,
      memoryCapacity: 1000,
    },
    ...input,
  });
}

describe("computeContainerConfig", () => {
  it("asks for little when the spec says little", () => {
    expect(configure({})).toEqual({
      ...{ pod: { namespace: "n", name: "p", uid: "u" }, name: "web", kind: "app", attempt: 2 },
      ...{ specHash: computeSpecHash(CONTAINER), sandboxId: "s", image: "busybox", imageId: "i" },
      ...{ env: ["A=1=2"], mounts: [], devices: [], tty: false, stdin: false, stdinOnce: false },
      ...{ supplementalGroups: [], privileged: false, readOnlyRootfs: false },
      ...{ noNewPrivileges: false, seccomp: "default", addCapabilities: [] },
      ...{ dropCapabilities: [], sharePid: false, hostPid: false, resources: { cpuShares: 2 } },
      ...{ oomScoreAdj: 1000 },
      annotations: {
        "io.kubernetes.pod.terminationGracePeriod": "30",
        "longshore.io/resources": "{}",
      },
    });
  });

  it.each([
    [{ requests: { cpu: "500m" } }, { cpuShares: 512 }],
    [{ requests: { cpu: "1m" } }, { cpuShares: 2 }],
    [{ requests: { cpu: "500" } }, { cpuShares: 262_144 }],
    [
      { limits: { cpu: "0.1" } },
      { cpuShares: 102, cpuQuotaMicros: 10_000, cpuPeriodMicros: 100_000 },
    ],
    [
      { requests: { cpu: "1" }, limits: { cpu: "2" } },
      { cpuShares: 1024, cpuQuotaMicros: 200_000, cpuPeriodMicros: 100_000 },
    ],
    [{ limits: { cpu: "1m" } }, { cpuShares: 2, cpuQuotaMicros: 1000, cpuPeriodMicros: 100_000 }],
    [{ limits: { memory: "64Mi" } }, { cpuShares: 2, memoryBytes: 67_108_864 }],
    [{ limits: { memory: "0" } }, { cpuShares: 2 }],
  ])("turns resources %j into %j", (resources, expected) => {
    expect(configure({ resources }).resources).toEqual(expected);
  });

  it.each([
    [{}, {}, undefined],
    [{ runAsUser: 1 }, {}, "1"],
    [{ runAsUser: 1, runAsGroup: 2 }, {}, "1:2"],
    [{ runAsUser: 1, runAsGroup: 2 }, { runAsUser: 9 }, "9:2"],
    [{ runAsUser: 1 }, { runAsUser: 0 }, "0"],
    [{ runAsGroup: 2 }, {}, "app:2"],
  ])("with pod %j and container %j runs as %s", (ofPod, ofContainer, expected) => {
    const config = configure({ securityContext: ofContainer }, { securityContext: ofPod });
    expect(config.user).toBe(expected);
  });

  it("takes capabilities with and without prefix", () => {
    const capabilities = { add: ["CAP_NET_ADMIN", "SYS_TIME"], drop: ["all"] };
    expect(configure({ securityContext: { capabilities } })).toMatchObject({
      addCapabilities: ["NET_ADMIN", "SYS_TIME"],
      dropCapabilities: ["ALL"],
    });
  });

  it.each<readonly [string, PodSecurity, PodSecurity, string]>([
    ["no", {}, {}, "default"],
    ["the pod's", { seccompProfile: { type: "Unconfined" } }, {}, "unconfined"],
    [
      "the container's",
      { seccompProfile: { type: "Unconfined" } },
      { seccompProfile: { type: "RuntimeDefault" } },
      "default",
    ],
  ])("with %s seccomp profile asks for the right one", (_whose, ofPod, ofContainer, expected) => {
    const config = configure({ securityContext: ofContainer }, { securityContext: ofPod });
    expect(config.seccomp).toBe(expected);
  });

  it.each<readonly [string, Container["resources"], Partial<Pod["spec"]>, number]>([
    ["Guaranteed", { limits: { cpu: "1", memory: "500" } }, {}, -997],
    ["BestEffort", {}, {}, 1000],
    ["half of the machine", { requests: { memory: "500" } }, {}, 500],
    ["none of the memory", { requests: { cpu: "1m" } }, {}, 999],
    ["nearly all of it", { requests: { memory: "999" } }, {}, 3],
    ["critical for the node", { requests: { memory: "500" } }, { priority: 2_000_001_000 }, -997],
    [
      "half of what its pod requests",
      { requests: { memory: "100" } },
      { resources: { requests: { memory: "300" } } },
      700,
    ],
  ])("scores what requests %s", (_what, resources = {}, spec, expected) => {
    expect(configure({ resources }, spec).oomScoreAdj).toBe(expected);
  });

  it("scores a sidecar no higher than those it serves", () => {
    const app = { name: "app", resources: { requests: { memory: "400" } } };
    const sidecar: Container = { ...CONTAINER, restartPolicy: "Always" };
    const spec = { containers: [app], initContainers: [sidecar] };
    expect(configure({ restartPolicy: "Always" }, spec).oomScoreAdj).toBe(600);
  });

  it("bounds a container without limits by those of its pod", () => {
    const resources = { limits: { cpu: "1", memory: "500" } };
    expect(configure({}, { resources }).resources).toEqual({
      ...{ cpuShares: 1024, cpuQuotaMicros: 100_000, cpuPeriodMicros: 100_000, memoryBytes: 500 },
    });
    const own = { requests: { cpu: "100m" }, limits: { memory: "100" } };
    expect(configure({ resources: own }, { resources }).resources).toMatchObject({
      ...{ cpuShares: 102, cpuQuotaMicros: 100_000, memoryBytes: 100 },
    });
  });

  it("hands on its place and its OCI runtime", () => {
    const place = { cgroupParent: "/kubepods/podu", runtimeHandler: "crun", pidsLimit: 9 };
    const { cgroupParent, runtimeHandler, resources } = configure({}, {}, place);
    expect({ cgroupParent, runtimeHandler, pidsLimit: resources.pidsLimit }).toEqual(place);
  });

  it("mounts volumes as asked, and they win over the agent's files", () => {
    const extra = { readOnly: false, propagation: "private" } as const;
    const { mounts } = configure(
      {
        volumeMounts: [
          { name: "a", mountPath: "/etc/hosts/" },
          { name: "b", mountPath: "/b", readOnly: true, mountPropagation: "Bidirectional" },
          { name: "c", mountPath: "/c", mountPropagation: "HostToContainer" },
        ],
      },
      {},
      {
        volumes: new Map([
          ["a", { hostPath: "/v/a", readOnly: true }],
          ["b", { hostPath: "/v/b", readOnly: false }],
          ["c", { hostPath: "/v/c", readOnly: false }],
        ]),
        extraMounts: [
          { ...extra, hostPath: "/x/hosts", containerPath: "/etc/hosts" },
          { ...extra, hostPath: "/x/resolv", containerPath: "/etc/resolv.conf" },
        ],
      },
    );
    expect(mounts).toEqual([
      { ...extra, hostPath: "/x/resolv", containerPath: "/etc/resolv.conf" },
      { hostPath: "/v/a", containerPath: "/etc/hosts", readOnly: true, propagation: "private" },
      { hostPath: "/v/b", containerPath: "/b", readOnly: true, propagation: "rshared" },
      { hostPath: "/v/c", containerPath: "/c", readOnly: false, propagation: "rslave" },
    ]);
  });

  it("mounts the part of a volume that was bound for it", () => {
    const volumeMounts = [
      { name: "a", mountPath: "/whole" },
      { name: "a", mountPath: "/part", subPath: "x" },
    ];
    const volumes = new Map([["a", { hostPath: "/v/a", readOnly: true }]]);
    const { mounts } = configure(
      { volumeMounts },
      {},
      { volumes, subPaths: new Map([[1, "/s/1"]]) },
    );
    expect(mounts.map(({ hostPath, readOnly }) => [hostPath, readOnly])).toEqual([
      ["/v/a", true],
      ["/s/1", true],
    ]);
  });

  it.each([
    ["a relative one", "data/x", "/data/x"],
    ["one that goes up", "/a/../b/./c//d/", "/b/c/d"],
    ["one that goes up further than there is", "../../etc/hosts", "/etc/hosts"],
    ["the root", "/", "/"],
  ])("takes %s for a mountPath below the container's root", (_what, mountPath, expected) => {
    const volumes = new Map([["a", { hostPath: "/v/a", readOnly: false }]]);
    const hosts = { readOnly: false, propagation: "private" } as const;
    const extraMounts = [{ ...hosts, hostPath: "/x/hosts", containerPath: "/etc/hosts" }];
    const input = { volumes, extraMounts };
    const { mounts } = configure({ volumeMounts: [{ name: "a", mountPath }] }, {}, input);
    expect(mounts.at(-1)?.containerPath).toBe(expected);
    expect(mounts.filter(({ containerPath }) => containerPath === "/etc/hosts")).toHaveLength(1);
  });

  it("leaves a volume that is sealed as it is, or the engine would let its programs run", () => {
    const volumeMounts = [{ name: "a", mountPath: "/a", readOnly: true }];
    const volumes = new Map([["a", { hostPath: "/v/a", readOnly: true, isSealed: true as const }]]);
    expect(configure({ volumeMounts }, {}, { volumes }).mounts[0]?.readOnly).toBe(false);
  });

  it.each<readonly [string, boolean, object, boolean | string]>([
    ["Disabled", true, {}, false],
    ["IfPossible", true, {}, true],
    ["IfPossible", false, {}, false],
    ["Enabled", true, {}, true],
    ["Enabled", false, {}, "not supported by the runtime"],
    ["Enabled", true, { readOnly: false }, "not read-only"],
    [
      ...(["IfPossible", true, { mountPropagation: "HostToContainer" }] as const),
      'not compatible with propagation "HostToContainer"',
    ],
  ])("recursiveReadOnly %s where it is possible %s, %j: %s", (mode, hasIt, more, outcome) => {
    const mount = { name: "a", mountPath: "/a", readOnly: true, recursiveReadOnly: mode, ...more };
    const volumes = new Map([["a", { hostPath: "/v/a", readOnly: false }]]);
    const given = { volumes, hasRecursiveReadOnly: hasIt };
    const make = () => configure({ volumeMounts: [mount] }, {}, given).mounts[0];
    if (typeof outcome === "boolean") expect(make()?.isRecursivelyReadOnly ?? false).toBe(outcome);
    else
      expect(make).toThrow(
        `failed to resolve recursive read-only mode: volume "a" requested recursive read-only mode, but it is ${outcome}`,
      );
  });

  it("tells of the mounts what became of them", () => {
    const volumeMounts = [
      { name: "a", mountPath: "/a" },
      { name: "a", mountPath: "/b", readOnly: true },
      { name: "a", mountPath: "/c", readOnly: true, recursiveReadOnly: "IfPossible" },
      { name: "a", mountPath: "/d", readOnly: true, recursiveReadOnly: "Enabled" },
    ];
    const told = (isSupported: boolean) =>
      computeVolumeMountStatuses({ volumeMounts }, isSupported).map(
        ({ recursiveReadOnly }) => recursiveReadOnly,
      );
    expect(told(true)).toEqual([undefined, "Disabled", "Enabled", "Enabled"]);
    expect(told(false)).toEqual([undefined, "Disabled", "Disabled", "Disabled"]);
  });

  it("has block devices where the spec wants them, and nothing else as one", () => {
    const volumeDevices = [{ name: "a", devicePath: "/dev/a" }];
    const volume = { hostPath: "/dev/loop7", readOnly: true, isDevice: true } as const;
    const volumes = new Map([["a", volume]]);
    expect(configure({ volumeDevices }, {}, { volumes })).toMatchObject({
      devices: [{ hostPath: "/dev/loop7", containerPath: "/dev/a", readOnly: true }],
      mounts: [],
    });
    const directory = new Map([["a", { hostPath: "/srv", readOnly: false }]]);
    expect(() => configure({ volumeDevices }, {}, { volumes: directory })).toThrow(
      "container web has a in volumeDevices, which is no block device",
    );
  });

  it("refuses a volume that the pod does not have", () => {
    expect(() => configure({ volumeMounts: [{ name: "x", mountPath: "/x" }] })).toThrow(
      "container web mounts x, which is no volume of the pod",
    );
  });

  it("hashes only what restarts a container", () => {
    const hash = computeSpecHash(CONTAINER);
    expect(computeSpecHash({ ...CONTAINER, env: [{ name: "A", value: "1" }] })).toBe(hash);
    expect(computeSpecHash({ ...CONTAINER, image: "other" })).not.toBe(hash);
  });
});
