import { describe, expect, test } from "vitest";
import type { Pod } from "../../../src/api/types.ts";
import { computeAdmission, findUnsupportedFields } from "../../../src/pods/admission.ts";
import { makePod } from "./support.ts";

type Spec = Pod["spec"];
const web = (fields: Partial<Spec["containers"][number]>): Partial<Spec> => ({
  containers: [{ name: "web", ...fields }],
});

const CASES: readonly (readonly [string, Partial<Spec>])[] = [
  ["spec.ephemeralContainers", { ephemeralContainers: [{ name: "e" }] }],
  ["spec.resourceClaims", { resourceClaims: [{ name: "c" }] }],
  ["spec.runtimeClassName", { runtimeClassName: "r" }],
  ["spec.hostUsers=false", { hostUsers: false }],
  ["spec.os.name=windows", { os: { name: "windows" } }],
  ["spec.readinessGates", { readinessGates: [{ conditionType: "x" }] }],
  ["spec.setHostnameAsFQDN", { setHostnameAsFQDN: true }],
  ["spec.resources", { resources: {} }],
  ["spec.securityContext.runAsNonRoot", { securityContext: { runAsNonRoot: true } }],
  ["spec.securityContext.fsGroup", { securityContext: { fsGroup: 1 } }],
  [
    "spec.securityContext.supplementalGroupsPolicy=Strict",
    { securityContext: { supplementalGroupsPolicy: "Strict" } },
  ],
  [
    "spec.securityContext.appArmorProfile=Unconfined",
    { securityContext: { appArmorProfile: { type: "Unconfined" } } },
  ],
  [
    "spec.containers[web].securityContext.appArmorProfile=Localhost",
    web({ securityContext: { appArmorProfile: { type: "Localhost" } } }),
  ],
  [
    "spec.containers[web].securityContext.procMount=Unmasked",
    web({ securityContext: { procMount: "Unmasked" } }),
  ],
  ["spec.securityContext.sysctls", { securityContext: { sysctls: [{ name: "a", value: "b" }] } }],
  [
    "spec.initContainers[i].restartPolicy",
    { initContainers: [{ name: "i", restartPolicy: "Always" }] },
  ],
  ["spec.containers[web].lifecycle", web({ lifecycle: { preStop: { sleep: { seconds: 1 } } } })],
  [
    "spec.containers[web].volumeMounts.subPath",
    web({ volumeMounts: [{ name: "v", mountPath: "/", subPath: "a" }] }),
  ],
  ["spec.containers[web].volumeDevices", web({ volumeDevices: [{ name: "v", devicePath: "/d" }] })],
  ["spec.containers[web].ports.hostPort", web({ ports: [{ containerPort: 1, hostPort: 1 }] })],
  [
    "spec.containers[web].securityContext.seccompProfile=Localhost",
    web({ securityContext: { seccompProfile: { type: "Localhost" } } }),
  ],
  ["spec.volumes[v].nfs", { volumes: [{ name: "v", nfs: { server: "s", path: "/" } }] }],
];

const NODE = { nodeName: "n1", nodeLabels: { zone: "a", cores: "4" } };
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

  test("takes a pod that asks for nothing special", () => {
    const spec: Partial<Spec> = {
      ...web({
        livenessProbe: { httpGet: { port: 80 } },
        lifecycle: {},
        securityContext: { runAsUser: 1, procMount: "Default" },
      }),
      securityContext: {
        supplementalGroupsPolicy: "Merge",
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
    const input = { pod: makePod(spec), ...NODE, activePods, maxPods: 2 };
    expect(computeAdmission(input)?.reason).toBe(reason);
  });
});
