import { describe, expect, test } from "vitest";
import type { Container, Pod, Service } from "../../../src/api/types.ts";
import { resolveEnv } from "../../../src/pods/env.ts";
import { expandReferences } from "../../../src/pods/expand.ts";
import type { ObjectSource } from "../../../src/volumes/volumes.ts";
import { makePod } from "./support.ts";

const META = { namespace: "ns", uid: "x", resourceVersion: "1" };
const OBJECTS = {
  getConfigMap: async (_namespace: string, name: string) =>
    name === "cm"
      ? { metadata: { ...META, name }, data: { key: "value", "data-1": "one" } }
      : undefined,
  getSecret: async (_namespace: string, name: string) =>
    name === "s" ? { metadata: { ...META, name }, data: { key: "c2VjcmV0" } } : undefined,
} as unknown as ObjectSource;
const FACTS = {
  podIps: ["10.0.0.2", "fd00::2"],
  hostIps: ["192.0.2.1"],
  nodeName: "n",
  allocatable: { cpu: 1500, memory: 1024 },
};
const POD = makePod(
  { serviceAccountName: "sa" },
  { labels: { k: "label" }, annotations: { k: "note" } },
);

function service(name: string, namespace: string, ports: readonly object[]): Service {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { ...META, name, namespace },
    spec: { clusterIP: "10.96.0.7", ports },
  } as Service;
}

async function resolve(
  container: Partial<Container>,
  options: { pod?: Pod; services?: readonly Service[] } = {},
) {
  const { pod = POD, services = [] } = options;
  const input = {
    pod,
    container: { name: "web", ...container },
    facts: FACTS,
    services,
    objects: OBJECTS,
  };
  const { variables, command, args } = await resolveEnv(input, new AbortController().signal);
  return { env: Object.fromEntries(variables), command, args };
}

const field = (fieldPath: string) => ({ name: "A", valueFrom: { fieldRef: { fieldPath } } });
const resource = (name: string, divisor?: string) => ({
  name: "A",
  valueFrom: {
    resourceFieldRef: { resource: name, ...(divisor === undefined ? {} : { divisor }) },
  },
});
const key = (kind: "configMapKeyRef" | "secretKeyRef", name: string, optional = false) => ({
  name: "A",
  valueFrom: { [kind]: { name, key: "key", optional } },
});

describe("the environment of a container", () => {
  test.each([
    ["a literal", { name: "A", value: "b" }, "b"],
    ["the pod's name", field("metadata.name"), "p"],
    ["its namespace", field("metadata.namespace"), "ns"],
    ["its UID", field("metadata.uid"), "u1"],
    ["a label", field("metadata.labels['k']"), "label"],
    ["an annotation", field("metadata.annotations['k']"), "note"],
    ["a label that is not there", field("metadata.labels['z']"), ""],
    ["the node", field("spec.nodeName"), "n"],
    ["the account", field("spec.serviceAccountName"), "sa"],
    ["the host's address", field("status.hostIP"), "192.0.2.1"],
    ["the pod's address", field("status.podIP"), "10.0.0.2"],
    ["all its addresses", field("status.podIPs"), "10.0.0.2,fd00::2"],
    ["a CPU limit rounded up", resource("limits.cpu"), "2"],
    ["a CPU limit by divisor", resource("limits.cpu", "1m"), "1250"],
    ["a memory limit in bytes", resource("limits.memory"), "33554432"],
    ["a memory limit in Mi", resource("limits.memory", "1Mi"), "32"],
    ["a request that falls back on the limit", resource("requests.cpu", "1m"), "1250"],
    ["a ConfigMap's key", key("configMapKeyRef", "cm"), "value"],
    ["a Secret's key, decoded", key("secretKeyRef", "s"), "secret"],
    ["an optional object that is missing", key("secretKeyRef", "none", true), undefined],
  ])("has %s", async (_sentence, variable, expected) => {
    const resources = { limits: { cpu: "1250m", memory: "32Mi" } };
    expect((await resolve({ env: [variable], resources })).env.A).toBe(expected);
  });

  test("takes the node's allocatable where no limit is set", async () => {
    expect((await resolve({ env: [resource("limits.cpu", "1m")] })).env.A).toBe("1500");
    expect((await resolve({ env: [resource("limits.memory")] })).env.A).toBe("1024");
  });

  test.each([
    [key("configMapKeyRef", "none"), 'configmap "none" not found'],
    [key("secretKeyRef", "none"), 'secret "none" not found'],
    [
      { name: "A", valueFrom: { configMapKeyRef: { name: "cm", key: "z" } } },
      "couldn't find key z in ConfigMap ns/cm",
    ],
    [field("status.phase"), "unsupported fieldPath: status.phase"],
  ])("refuses what is missing in the kubelet's words", async (variable, message) => {
    await expect(resolve({ env: [variable] })).rejects.toMatchObject({
      code: "ContainerConfigInvalid",
      message,
    });
  });

  test("takes whole objects with a prefix, and names that are no identifiers", async () => {
    const envFrom = [
      { configMapRef: { name: "cm" } },
      { prefix: "#@!-", secretRef: { name: "s" } },
      { secretRef: { name: "none", optional: true } },
    ];
    expect((await resolve({ envFrom })).env).toEqual({
      key: "value",
      "data-1": "one",
      "#@!-key": "secret",
    });
  });

  test("expands earlier variables in env, command and args", async () => {
    const { env, command, args } = await resolve({
      env: [
        { name: "A", value: "a" },
        { name: "B", value: "$(A)-$(C)-$$(A)" },
        { name: "C", value: "c" },
      ],
      command: ["run", "$(B)"],
      args: ["$(NOPE)", "$(C)"],
    });
    expect(env.B).toBe("a-$(C)-$(A)");
    expect(command).toEqual(["run", "a-$(C)-$(A)"]);
    expect(args).toEqual(["$(NOPE)", "c"]);
  });

  test("tells of services of the namespace and of default/kubernetes", async () => {
    const services = [
      service("foo-bar", "ns", [{ name: "http", port: 80 }]),
      service("kubernetes", "default", [{ port: 443 }]),
      service("other", "elsewhere", [{ port: 1 }]),
    ];
    const linked = (await resolve({}, { services })).env;
    expect(linked).toMatchObject({
      FOO_BAR_SERVICE_HOST: "10.96.0.7",
      FOO_BAR_SERVICE_PORT: "80",
      FOO_BAR_SERVICE_PORT_HTTP: "80",
      FOO_BAR_PORT: "tcp://10.96.0.7:80",
      FOO_BAR_PORT_80_TCP: "tcp://10.96.0.7:80",
      FOO_BAR_PORT_80_TCP_PROTO: "tcp",
      FOO_BAR_PORT_80_TCP_PORT: "80",
      FOO_BAR_PORT_80_TCP_ADDR: "10.96.0.7",
      KUBERNETES_SERVICE_HOST: "10.96.0.7",
    });
    expect(linked).not.toHaveProperty("OTHER_SERVICE_HOST");
    const pod = makePod({ enableServiceLinks: false });
    const bare = (await resolve({}, { services, pod })).env;
    expect(Object.keys(bare).every((name) => name.startsWith("KUBERNETES_"))).toBe(true);
  });
});

test.each([
  ["plain", "plain"],
  ["$(A)", "a"],
  ["$$(A)", "$(A)"],
  ["$$$(A)", "$a"],
  ["$(B)", "$(B)"],
  ["$(A", "$(A"],
  ["cost: 5$", "cost: 5$"],
  ["$x", "$x"],
  ["$$", "$"],
])("%s expands to %s", (text, expected) => {
  expect(expandReferences(text, (name) => (name === "A" ? "a" : undefined))).toBe(expected);
});
