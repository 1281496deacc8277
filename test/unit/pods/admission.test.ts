import { describe, expect, test } from "vitest";
import type { Pod } from "../../../src/api/types.ts";
import { computeAdmission } from "../../../src/pods/admission/admission.ts";
import { findUnsupportedFields } from "../../../src/pods/admission/unsupported.ts";
import { makePod } from "./support.ts";

type Spec = Pod["spec"];
const web = (fields: Partial<Spec["containers"][number]>): Partial<Spec> => ({
  containers: [{ name: "web", ...fields }],
});

const CASES: readonly (readonly [string, Partial<Spec>])[] = [
  ["spec.resourceClaims", { resourceClaims: [{ name: "c" }] }],
  ["spec.hostUsers=false", { hostUsers: false }],
  ["spec.resources", { resources: {} }],
  [
    "spec.securityContext.fsGroup",
    { securityContext: { fsGroup: 1 }, volumes: [{ name: "e", emptyDir: {} }] },
  ],
  [
    "spec.securityContext.supplementalGroupsPolicy=Strict without runAsGroup",
    { securityContext: { supplementalGroupsPolicy: "Strict" } },
  ],
  [
    "spec.containers[web].volumeMounts.subPath",
    web({ volumeMounts: [{ name: "v", mountPath: "/", subPath: "a" }] }),
  ],
  ["spec.containers[web].volumeDevices", web({ volumeDevices: [{ name: "v", devicePath: "/d" }] })],
  ["spec.containers[web].ports.hostPort", web({ ports: [{ containerPort: 1, hostPort: 1 }] })],
  ["spec.volumes[v].nfs", { volumes: [{ name: "v", nfs: { server: "s", path: "/" } }] }],
];

const NODE = {
  ...{ nodeName: "n1", nodeLabels: { zone: "a", cores: "4" }, activePods: 0, maxPods: 2 },
  ...{ hasAppArmor: false, allowedUnsafeSysctls: ["kernel.msg*", "net.core.somaxconn"] },
};
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

  test("takes host ports of a pod that is in the host's network", () => {
    const spec = { hostNetwork: true, ...web({ ports: [{ containerPort: 1, hostPort: 1 }] }) };
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
    ["one pod too many", {}, 2, "OutOfpods"],
    ["nothing wrong", {}, 1, undefined],
  ])("%s", (_sentence, spec, activePods, reason) => {
    const input = { ...NODE, pod: makePod(spec), activePods };
    expect(computeAdmission(input)?.reason).toBe(reason);
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
    const verdict = computeAdmission({ ...NODE, pod: makePod(spec) });
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
    const verdict = computeAdmission({ ...NODE, pod: makePod(spec), hasAppArmor });
    if (words === undefined) expect(verdict).toBeUndefined();
    else expect(verdict).toEqual({ reason: "AppArmor", message: expect.stringContaining(words) });
  });

  test.each<readonly [Partial<Spec>, string]>([
    [{ os: { name: "windows" } }, "PodOSNotSupported"],
    [{ nodeSelector: { "kubernetes.io/os": "windows" } }, "PodOSSelectorNodeLabelDoesNotMatch"],
  ])("refuses what is for another operating system: %j", (spec, reason) => {
    expect(computeAdmission({ ...NODE, pod: makePod(spec) })?.reason).toBe(reason);
  });
});
