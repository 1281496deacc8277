/** The environment and the downward API of a pod: what is taken, and what is refused in which words. */

import { describe, expect, it } from "vitest";
import {
  validateDownwardItems,
  validateEnv,
  validateEnvFrom,
  validateFileVolumes,
} from "../../../src/controlplane/env-validation.ts";
import type { Field, Problems } from "../../../src/controlplane/field-errors.ts";

type Check = (field: Field, problems: Problems) => void;

/** What is wrong with one item of a list, as `field: message` lines. */
function problemsOf(check: Check, item: unknown): string {
  const problems: Problems = [];
  check({ path: "e", value: [item] }, problems);
  return problems.map(({ field, message }) => `${field}: ${message}`).join("\n");
}

const env = (valueFrom: object, more: object = {}) => ({ name: "A", valueFrom, ...more });
const field = (fieldPath: string) => ({ fieldRef: { fieldPath } });
const resource = (name: string, divisor?: string | number) => ({
  resourceFieldRef: { resource: name, ...(divisor === undefined ? {} : { divisor }) },
});
const file = { volumeName: "v", path: "in/a.env", key: "A" };

describe("env", () => {
  it.each([
    { name: "#@! odd", value: "x" },
    { name: "A" },
    env(field("status.hostIPs")),
    env(field("metadata.annotations['A.b/C']")),
    env(resource("limits.cpu", "1m")),
    env(resource("limits.cpu", "1000m")),
    env(resource("requests.memory", 0)),
    env(resource("limits.hugepages-2Mi", "1Mi")),
    env({ configMapKeyRef: { name: "c", key: "k" } }),
    env({ fileKeyRef: file }),
  ])("takes %j", (item) => {
    expect(problemsOf(validateEnv, item)).toBe("");
  });

  const names =
    '"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"';
  it.each<[unknown, string]>([
    [{ name: "A=B" }, 'e[0].name: Invalid value: "A=B": a valid environment variable name must'],
    [{ name: "é" }, 'e[0].name: Invalid value: "é"'],
    [{ value: "x" }, "e[0].name: Required value"],
    [env(field("status.podIP"), { value: "x" }), "may not be specified when `value` is not empty"],
    [env({}), "must specify one of: `fieldRef`, `resourceFieldRef`"],
    [
      env({ ...field("status.podIP"), ...resource("limits.cpu") }),
      "may not have more than one field specified at a time",
    ],
    [env(field("")), "e[0].valueFrom.fieldRef.fieldPath: Required value"],
    [
      env(field("spec.hostNetwork")),
      'e[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.hostNetwork": error converting fieldPath: field label not supported: spec.hostNetwork',
    ],
    [
      env(field("status.phase")),
      `e[0].valueFrom.fieldRef.fieldPath: Unsupported value: "status.phase": supported values: ${names}`,
    ],
    [env(field("metadata.labels")), 'Unsupported value: "metadata.labels"'],
    [env(field("metadata.labels['a b']")), 'fieldPath: Invalid value: "a b": name part must'],
    [
      env(resource("limits.pods")),
      'e[0].valueFrom.resourceFieldRef.resource: Unsupported value: "limits.pods": supported values: "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage", "requests.memory"',
    ],
    [
      env(resource("limits.cpu", "2")),
      'e[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor\'s values 1m and 1 are supported with the cpu resource',
    ],
    [
      env(resource("limits.memory", "1m")),
      "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource",
    ],
    [env({ secretKeyRef: { name: "s" } }), "e[0].valueFrom.secretKeyRef.key: Required value"],
    [env({ fileKeyRef: { ...file, path: "/a" } }), "must be a relative path"],
    [env({ fileKeyRef: { ...file, path: "../a" } }), "must not contain '..'"],
    [env({ fileKeyRef: { ...file, key: "a".repeat(129) } }), "Too long"],
    [env({ fileKeyRef: {} }), "e[0].valueFrom.fileKeyRef.volumeName: Required value"],
  ])("refuses %j", (item, problem) => {
    expect(problemsOf(validateEnv, item)).toContain(problem);
  });

  it("reads files only from an emptyDir of the pod", () => {
    const check =
      (...names: readonly string[]): Check =>
      (list, problems) =>
        validateFileVolumes(list, new Set(names), problems);
    expect(problemsOf(check("v"), env({ fileKeyRef: file }))).toBe("");
    expect(problemsOf(check("w"), env({ fileKeyRef: file }))).toBe(
      'e[0].valueFrom.fileKeyRef.volumeName: Not found: "v"',
    );
  });
});

describe("envFrom", () => {
  it.each(["1-", "$_-", "#@!", "p-", ""])("takes the prefix %j", (prefix) => {
    expect(problemsOf(validateEnvFrom, { prefix, secretRef: { name: "s" } })).toBe("");
  });

  it.each<[unknown, string]>([
    [{ prefix: "a=", secretRef: { name: "s" } }, 'e[0].prefix: Invalid value: "a="'],
    [{ secretRef: {} }, "e[0].secretRef.name: Required value"],
    [{}, "must specify one of: `configMapRef` or `secretRef`"],
  ])("refuses %j", (item, problem) => {
    expect(problemsOf(validateEnvFrom, item)).toContain(problem);
  });
});

describe("items of the downward API", () => {
  const limit = { resourceFieldRef: { containerName: "c", resource: "limits.cpu" } };

  it.each([
    { path: "p", ...field("metadata.labels") },
    { path: "p", ...limit },
  ])("may be %j", (item) => {
    expect(problemsOf(validateDownwardItems, item)).toBe("");
  });

  it.each<[unknown, string]>([
    [{ path: "p", ...field("status.podIP") }, 'Unsupported value: "status.podIP"'],
    [{ path: "p", ...resource("limits.cpu") }, "containerName: Required value"],
    [{ path: "p" }, "e[0]: Required value: one of fieldRef and resourceFieldRef is required"],
    [limit, "e[0].path: Required value"],
    [
      { path: "p", ...field("metadata.name"), ...limit },
      "fieldRef and resourceFieldRef can not be specified simultaneously",
    ],
  ])("may not be %j", (item, problem) => {
    expect(problemsOf(validateDownwardItems, item)).toContain(problem);
  });
});
