import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MutableStore } from "../../../src/api/store.ts";
import type { Container, Pod, Service } from "../../../src/api/types.ts";
import { resolveEnv } from "../../../src/pods/env.ts";
import { findVariable } from "../../../src/pods/env-file.ts";
import { expandReferences } from "../../../src/pods/expand.ts";
import type { ObjectSource } from "../../../src/volumes/volumes.ts";
import { FakeClock } from "../../fakes/clock.ts";
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
  nodeLabels: {},
  allocatable: { cpu: 1500, memory: 1024, "ephemeral-storage": 4096, "hugepages-2Mi": 2048 },
};
const POD = makePod(
  {
    serviceAccountName: "sa",
    containers: [
      { name: "web" },
      { name: "other", resources: { limits: { cpu: "3" }, requests: { memory: "1Ki" } } },
    ],
  },
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

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "env-"));
  mkdirSync(join(folder, "in"));
  writeFileSync(join(folder, "in/a.env"), "A='1'\nB='2'\n");
  writeFileSync(join(folder, "big.env"), "#".repeat(2 ** 20 + 1));
  symlinkSync("in/a.env", join(folder, "link.env"));
  symlinkSync("in", join(folder, "out"));
  execFileSync("mkfifo", [join(folder, "pipe")]);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function resolve(
  container: Partial<Container>,
  options: { pod?: Pod; services?: readonly Service[] } = {},
) {
  const { pod = POD } = options;
  const services = new MutableStore<Service>();
  services.replace(options.services ?? []);
  const input = {
    pod,
    container: { name: "web", ...container },
    facts: FACTS,
    services,
    objects: OBJECTS,
    volumes: new Map([["v", { hostPath: folder }]]),
    clock: new FakeClock(),
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
const fromFile = (path: string, name: string, more: object = {}) => ({
  name: "A",
  valueFrom: { fileKeyRef: { volumeName: "v", path, key: name, ...more } },
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
    ["all addresses of the host", field("status.hostIPs"), "192.0.2.1"],
    ["all its addresses", field("status.podIPs"), "10.0.0.2,fd00::2"],
    ["a CPU limit rounded up", resource("limits.cpu"), "2"],
    ["a CPU limit by divisor", resource("limits.cpu", "1m"), "1250"],
    ["a memory limit in bytes", resource("limits.memory"), "33554432"],
    ["a memory limit in Mi", resource("limits.memory", "1Mi"), "32"],
    ["a request that is not set", resource("requests.cpu", "1m"), "0"],
    ["huge pages", resource("limits.hugepages-2Mi", "1Mi"), "4"],
    ["huge pages that are not asked for", resource("limits.hugepages-1Gi"), "0"],
    [
      "a limit of another container",
      {
        name: "A",
        valueFrom: { resourceFieldRef: { containerName: "other", resource: "limits.cpu" } },
      },
      "3",
    ],
    ["a variable of a file", fromFile("in/a.env", "B"), "2"],
    [
      "an optional variable that the file has not",
      fromFile("in/a.env", "Z", { optional: true }),
      undefined,
    ],
    [
      "a variable of an optional file that is missing",
      fromFile("no", "Z", { optional: true }),
      undefined,
    ],
    ["a ConfigMap's key", key("configMapKeyRef", "cm"), "value"],
    ["a Secret's key, decoded", key("secretKeyRef", "s"), "secret"],
    ["an optional object that is missing", key("secretKeyRef", "none", true), undefined],
  ])("has %s", async (_sentence, variable, expected) => {
    const resources = { limits: { cpu: "1250m", memory: "32Mi", "hugepages-2Mi": "4Mi" } };
    expect((await resolve({ env: [variable], resources })).env.A).toBe(expected);
  });

  test("takes the node's allocatable where no limit is set", async () => {
    expect((await resolve({ env: [resource("limits.cpu", "1m")] })).env.A).toBe("1500");
    expect((await resolve({ env: [resource("limits.memory")] })).env.A).toBe("1024");
    const storage = await resolve({ env: [resource("limits.ephemeral-storage", "1Ki")] });
    expect(storage.env.A).toBe("4");
  });

  test.each([
    [key("configMapKeyRef", "none"), 'configmap "none" not found'],
    [key("secretKeyRef", "none"), 'secret "none" not found'],
    [
      { name: "A", valueFrom: { configMapKeyRef: { name: "cm", key: "z" } } },
      "couldn't find key z in ConfigMap ns/cm",
    ],
    [field("status.phase"), "unsupported fieldPath: status.phase"],
    [resource("limits.pods"), "unsupported container resource : limits.pods"],
    [
      {
        name: "A",
        valueFrom: { resourceFieldRef: { containerName: "z", resource: "limits.cpu" } },
      },
      "container z not found",
    ],
    [fromFile("in/a.env", "Z"), 'environment variable key "Z" not found in file "in/a.env"'],
    [fromFile("none", "Z"), 'environment variable key "Z" not found in file "none"'],
    [
      fromFile("in/a.env", "A", { volumeName: "w" }),
      'cannot find the volume "w" referenced by FileKeyRef',
    ],
  ])("refuses what is missing in the kubelet's words: %j", async (variable, message) => {
    await expect(resolve({ env: [variable] })).rejects.toThrow(message);
  });

  test.each([
    ["a link", "link.env"],
    ["a link on the way", "out/a.env"],
    ["the way up", "in/../in/a.env"],
    ["a folder", "in"],
    ["a pipe", "pipe"],
    ["too much", "big.env"],
  ])("does not read %s, whoever made it", async (_sentence, path) => {
    const optional = { optional: true };
    await expect(resolve({ env: [fromFile(path, "A", optional)] })).rejects.toMatchObject({
      code: "ContainerConfigInvalid",
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

describe("the first list of services", () => {
  const start = (annotations: Readonly<Record<string, string>> = {}) => {
    const services = new MutableStore<Service>();
    const clock = new FakeClock();
    const rest = { container: { name: "web" }, facts: FACTS, objects: OBJECTS, volumes: new Map() };
    const pod = makePod({}, { annotations });
    const input = { ...rest, pod, services, clock };
    return { services, clock, env: resolveEnv(input, new AbortController().signal) };
  };

  test("is waited for", async () => {
    const { services, env } = start();
    services.replace([service("kubernetes", "default", [{ port: 443 }])]);
    expect((await env).variables.get("KUBERNETES_SERVICE_HOST")).toBe("10.96.0.7");
  });

  test("holds a start up for five seconds at most", async () => {
    const { clock, env } = start();
    const failed = expect(env).rejects.toThrow("services have not yet been read at least once");
    await clock.advance(5_000);
    await failed;
  });

  test("is nothing to a static pod", async () => {
    const { env } = start({ "kubernetes.io/config.source": "file" });
    expect((await env).variables.size).toBe(0);
  });
});

test("a service named kubernetes in the pod's namespace hides the other", async () => {
  const services = [
    service("kubernetes", "ns", [{ port: 1 }]),
    service("kubernetes", "default", [{ port: 443 }]),
  ];
  const { env } = await resolve({}, { services });
  expect(env.KUBERNETES_SERVICE_PORT).toBe("1");
  expect(env).not.toHaveProperty("KUBERNETES_PORT_443_TCP");
});

describe("an env file", () => {
  test.each([
    ["A='1'", "1"],
    ["# no\n\n  A='1' # yes", "1"],
    ["B='x'\nA='1\n2 # \\n'", "1\n2 # \\n"],
    ["A=''", ""],
    ["A= '1'", ""],
    ["A='1\r\n2'", "1\n2"],
    ["A='1'\r\nB='2'\r\n", "1"],
    ["A='=b'", "=b"],
    ["AA='1'", undefined],
    ["", undefined],
    ["A='1'\nrubbish", "1"],
  ])("%j gives A the value %j", (text, value) => {
    expect(findVariable(text, "A")).toBe(value);
  });

  test.each([
    ["B\nA='1'", "at line 1: missing '='"],
    ["='1'", "at line 1: empty variable name"],
    ["A ='1'", "at line 1: whitespace before '=' is not allowed"],
    ["A=", "at line 1: value must be enclosed in single quotes"],
    ["\nA=1", "at line 2: value must be enclosed in single quotes"],
    ["A='1'2", "at line 1: unexpected content after closing quote"],
    ["A='1\n2'3", "at line 2: unexpected content after closing quote"],
    ["A='1\n2", "starting at line 1: unclosed single quote"],
  ])("%j is invalid", (text, why) => {
    expect(() => findVariable(text, "A")).toThrow(`invalid environment variable format ${why}`);
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
