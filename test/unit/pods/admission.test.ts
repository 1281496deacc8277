import { describe, expect, test } from "vitest";
import type { Container, Pod } from "../../../src/api/types.ts";
import { type AdmissionInput, computeAdmission } from "../../../src/pods/admission/admission.ts";
import { findUnsupportedFields } from "../../../src/pods/admission/unsupported.ts";
import type { Verdict } from "../../../src/pods/snapshot.ts";
import { makePod } from "./support.ts";

type Spec = Pod["spec"];
const web = (fields: Partial<Spec["containers"][number]>): Partial<Spec> => ({
  containers: [{ name: "web", ...fields }],
});

const CASES: readonly (readonly [string, Partial<Spec>])[] = [
  ["spec.resourceClaims", { resourceClaims: [{ name: "c" }] }],
  ["spec.hostUsers=false", { hostUsers: false }],
  ...[
    { containerPort: 1, hostPort: 1, hostIP: "fd00::1" },
    { containerPort: 1, hostPort: 1, hostIP: "1.2.3.4 -j ACCEPT" },
    { containerPort: 1, hostPort: 70_000 },
    { containerPort: 0, hostPort: 1 },
    { containerPort: 1, hostPort: 1, protocol: "ICMP" },
  ].map((port): readonly [string, Partial<Spec>] => [
    "spec.containers[web].ports.hostPort with this hostIP or protocol",
    web({ ports: [port as NonNullable<Container["ports"]>[number]] }),
  ]),
  ["spec.volumes[v].rbd", { volumes: [{ name: "v", rbd: { image: "i", monitors: [] } }] }],
];

const NODE: AdmissionInput["node"] = {
  ...{ name: "n1", labels: { zone: "a", cores: "4" }, taints: [], hasAppArmor: false },
  allocatable: { cpu: 2000, memory: 1024, "ephemeral-storage": 100, pods: 3, "example.com/x": 2 },
  allowedUnsafeSysctls: ["kernel.msg*", "net.core.somaxconn"],
};
/** The verdict on a pod beside others; undefined = taken. */
function judge(spec: Partial<Spec>, others: readonly Pod[] = [], node = {}): Verdict | undefined {
  const input = { pod: makePod(spec), node: { ...NODE, ...node }, active: others };
  const admission = computeAdmission(input);
  return admission.kind === "refused" ? admission.verdict : undefined;
}
const settings = (...names: string[]): Partial<Spec> => ({
  securityContext: { sysctls: names.map((name) => ({ name, value: "1" })) },
});
const confined = (
  type: "Localhost" | "RuntimeDefault" | "Unconfined",
  localhostProfile?: string,
): Partial<Spec> =>
  web({
    securityContext: {
      appArmorProfile: { type, ...(localhostProfile === undefined ? {} : { localhostProfile }) },
    },
  });
const requiring = (term: object): Partial<Spec> => ({
  affinity: {
    nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] } },
  },
});
const affinity = (key: string, operator: string, values: string[] = []) =>
  requiring({ matchExpressions: [{ key, operator, values }] });
const affinityToName = (name: string) =>
  requiring({ matchFields: [{ key: "metadata.name", operator: "In", values: [name] }] });

describe("admission", () => {
  test.each(CASES)("refuses %s", (field, spec) => {
    expect(findUnsupportedFields(makePod(spec).spec)).toEqual([field]);
  });

  test("takes host ports", () => {
    const ports = [
      { containerPort: 1, hostPort: 1, hostIP: "127.0.0.1", protocol: "SCTP" as const },
    ];
    expect(findUnsupportedFields(makePod(web({ ports })).spec)).toEqual([]);
    const onHost = [{ containerPort: 1, hostPort: 1, hostIP: "fd00::1" }];
    const spec = { hostNetwork: true, ...web({ ports: onHost }) };
    expect(findUnsupportedFields(makePod(spec).spec)).toEqual([]);
  });

  test("takes a pod that asks for nothing special", () => {
    const spec: Partial<Spec> = {
      ...web({
        livenessProbe: { httpGet: { port: 80 } },
        lifecycle: {},
        securityContext: { runAsUser: 1, runAsGroup: 1, procMount: "Unmasked", runAsNonRoot: true },
      }),
      securityContext: {
        supplementalGroupsPolicy: "Strict",
        appArmorProfile: { type: "RuntimeDefault" },
      },
      volumes: [
        { name: "e", emptyDir: {} },
        { name: "p", projected: { sources: [] } },
      ],
    };
    expect(findUnsupportedFields(makePod(spec).spec)).toEqual([]);
  });

  test.each([
    ["a node that does not match", { nodeSelector: { disk: "ssd" } }, 0, "NodeAffinity"],
    ["an affinity that matches by label", affinity("zone", "In", ["a"]), 0, undefined],
    ["an affinity that does not", affinity("zone", "NotIn", ["a", "b"]), 0, "NodeAffinity"],
    ["an affinity to a label that is not there", affinity("gpu", "Exists"), 0, "NodeAffinity"],
    ["an affinity to a number", affinity("cores", "Gt", ["3"]), 0, undefined],
    ["an affinity to more than there is", affinity("cores", "Gt", ["4"]), 0, "NodeAffinity"],
    ["an affinity to this node", affinityToName("n1"), 0, undefined],
    ["an affinity to another node", affinityToName("n2"), 0, "NodeAffinity"],
    ["an affinity with a term that is empty", requiring({}), 0, "NodeAffinity"],
    ["one pod too many", {}, 3, "OutOfpods"],
    ["nothing wrong", {}, 2, undefined],
  ])("%s", (_sentence, spec, activePods, reason) => {
    const others = Array.from({ length: activePods }, () => makePod());
    expect(judge(spec, others)?.reason).toBe(reason);
  });

  const asking = (requests: Readonly<Record<string, string>>, more: Partial<Spec> = {}) => ({
    ...web({ resources: { requests } }),
    ...more,
  });
  const other = makePod(asking({ cpu: "1500m", memory: "1000", "example.com/x": "1" }));
  const short = (resource: string, requested: number, used: number, capacity: number): Verdict => ({
    reason: `OutOf${resource}`,
    message: `Node didn't have enough resource: ${resource}, requested: ${requested}, used: ${used}, capacity: ${capacity}`,
  });
  test.each<readonly [string, Partial<Spec>, Verdict | undefined]>([
    ["what is left", asking({ cpu: "500m", memory: "24", "example.com/x": "1" }), undefined],
    ["more cpu than is left", asking({ cpu: "501m" }), short("cpu", 501, 1500, 2000)],
    ["too much of two", asking({ memory: "25", cpu: "1" }), short("cpu", 1000, 1500, 2000)],
    ["too much memory", asking({ memory: "25" }), short("memory", 25, 1000, 1024)],
    [
      "too much storage",
      asking({ "ephemeral-storage": "101" }),
      short("ephemeral-storage", 101, 0, 100),
    ],
    ["a device that is taken", asking({ "example.com/x": "2" }), short("example.com/x", 2, 1, 2)],
    ["a device that the node does not know", asking({ "example.com/y": "2" }), undefined],
    ["huge pages", asking({ "hugepages-2Mi": "2Mi" }), short("hugepages-2Mi", 2_097_152, 0, 0)],
    [
      "too much with its overhead",
      asking({ cpu: "500m" }, { overhead: { cpu: "1m" } }),
      short("cpu", 501, 1500, 2000),
    ],
  ])("answers to a request for %s", (_what, spec, expected) => {
    expect(judge(spec, [other])).toEqual(expected);
  });

  const listening = (hostPort: number, hostIP?: string, protocol?: string): Partial<Spec> => ({
    hostNetwork: true,
    ...web({
      ports: [
        {
          ...{ containerPort: hostPort, hostPort },
          ...(hostIP === undefined ? {} : { hostIP }),
          ...(protocol === undefined ? {} : { protocol: protocol as "TCP" }),
        },
      ],
    }),
  });
  test.each<readonly [string, Partial<Spec>, Partial<Spec>, boolean]>([
    ["the same", listening(80), listening(80), true],
    ["another", listening(80), listening(81), false],
    ["that of another protocol", listening(80), listening(80, "0.0.0.0", "UDP"), false],
    ["that of every address", listening(80, "10.0.0.1"), listening(80, ""), true],
    ["that of another address", listening(80, "10.0.0.1"), listening(80, "10.0.0.2"), false],
  ])("answers to a host port when %s is taken", (_what, spec, taken, isRefused) => {
    expect(judge(spec, [makePod(taken)])).toEqual(
      isRefused
        ? {
            reason: "NodePorts",
            message:
              "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
          }
        : undefined,
    );
  });

  const taint = { key: "k", value: "v", effect: "NoExecute" } as const;
  test.each<readonly [string, readonly object[], readonly object[], boolean]>([
    ["no taint", [], [], false],
    ["a taint of the scheduler's", [{ ...taint, effect: "NoSchedule" }], [], false],
    ["a taint it does not tolerate", [taint], [{ key: "other", operator: "Exists" }], true],
    ["a taint whose value it does not tolerate", [taint], [{ key: "k", value: "w" }], true],
    ["a taint it tolerates", [taint], [{ key: "k", value: "v" }], false],
    ["a taint whose key it tolerates", [taint], [{ key: "k", operator: "Exists" }], false],
    ["any taint", [taint], [{ operator: "Exists" }], false],
    ["a taint with another effect", [taint], [{ operator: "Exists", effect: "NoSchedule" }], true],
  ])("answers to %s", (_what, taints, tolerations, isRefused) => {
    const verdict = judge({ tolerations } as Partial<Spec>, [], { taints });
    expect(verdict?.reason).toBe(isRefused ? "TaintToleration" : undefined);
  });

  test("runs static pods whatever the taints", () => {
    const pod = makePod({}, { annotations: { "kubernetes.io/config.source": "file" } });
    const admission = computeAdmission({ pod, node: { ...NODE, taints: [taint] }, active: [] });
    expect(admission).toEqual({ kind: "taken", preempted: [] });
  });

  const forbidden = (name: string, why: string) => [
    "SysctlForbidden",
    `forbidden sysctl: "${name}" ${why}`,
  ];
  test.each<readonly [string, Partial<Spec>, readonly string[] | undefined]>([
    ["safe ones", settings("kernel.shm_rmid_forced", "net.ipv4.tcp_rmem"), undefined],
    ["a safe one with slashes", settings("net/ipv4/tcp_syncookies"), undefined],
    ["one the operator allows", settings("net.core.somaxconn", "kernel.msgmax"), undefined],
    ["an unsafe one", settings("kernel.sem"), forbidden("kernel.sem", "not allowlisted")],
    ["the machine's", settings("vm.swappiness"), forbidden("vm.swappiness", "not allowlisted")],
    [
      "a way out of its folder",
      settings("kernel.msg/../../core_pattern"),
      forbidden("kernel.msg/../../core_pattern", "not allowlisted"),
    ],
    [
      "one of the IPC namespace with the host's",
      { ...settings("kernel.msgmax"), hostIPC: true },
      forbidden("kernel.msgmax", "not allowed with host ipc enabled"),
    ],
    [
      "one of the network with the host's",
      { ...settings("net.ipv4.tcp_rmem"), hostNetwork: true },
      forbidden("net.ipv4.tcp_rmem", "not allowed with host net enabled"),
    ],
    ["one of the IPC namespace with the host's network", { hostNetwork: true }, undefined],
  ])("answers to sysctls, %s", (_sentence, spec, expected) => {
    const verdict = judge(spec);
    expect(verdict && [verdict.reason, verdict.message]).toEqual(expected);
  });

  test.each<readonly [string, Partial<Spec>, boolean, string | undefined]>([
    ["no profile where there is none", {}, false, undefined],
    ["Unconfined where there is none", confined("Unconfined"), false, undefined],
    ["RuntimeDefault where there is none", confined("RuntimeDefault"), false, "not enabled on"],
    ["RuntimeDefault where there is", confined("RuntimeDefault"), true, undefined],
    ["a profile by name", confined("Localhost", "mine"), true, undefined],
    ["a profile without a name", confined("Localhost", " "), true, "invalid AppArmor profile"],
    [
      "the pod's profile where there is none",
      { securityContext: { appArmorProfile: { type: "RuntimeDefault" } } },
      false,
      "AppArmor is not enabled on the host",
    ],
  ])("answers to AppArmor, %s", (_sentence, spec, hasAppArmor, words) => {
    const verdict = judge(spec, [], { hasAppArmor });
    if (words === undefined) expect(verdict).toBeUndefined();
    else expect(verdict).toEqual({ reason: "AppArmor", message: expect.stringContaining(words) });
  });

  test.each<readonly [Partial<Spec>, string]>([
    [{ os: { name: "windows" } }, "PodOSNotSupported"],
    [{ nodeSelector: { "kubernetes.io/os": "windows" } }, "PodOSSelectorNodeLabelDoesNotMatch"],
  ])("refuses what is for another operating system: %j", (spec, reason) => {
    expect(judge(spec)?.reason).toBe(reason);
  });
});
