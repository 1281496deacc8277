/** The environment of containers end to end: ConfigMaps, Secrets, files, the downward API, services, $(VAR). */

import { beforeAll, describe, expect, test } from "vitest";
import { podManifest, shell, useCluster } from "../support/cluster.ts";

const cluster = useCluster();

const PREFIXES = ["p-", "1-", "$_-", "#@!", "ABC_", "."];
const data = { "data-1": "value-1", data_2: "value=2 \n '$(data-1)'" };
const field = (name: string, fieldPath: string) => ({
  name,
  valueFrom: { fieldRef: { fieldPath } },
});
const resource = (name: string, resourceName: string, more: object = {}) => ({
  name,
  valueFrom: { resourceFieldRef: { resource: resourceName, ...more } },
});
const keyOf = (name: string, kind: string, object: string, key: string, more: object = {}) => ({
  name,
  valueFrom: { [kind]: { name: object, key, ...more } },
});
const fileKey = (name: string, key: string, more: object = {}) => ({
  name,
  valueFrom: { fileKeyRef: { volumeName: "env", path: "a.env", key, ...more } },
});

/** Prints its environment as it got it; a shell would leave out names that are no identifiers. */
function printer(name: string, container: object, spec: object = {}): object {
  const main = shell("main", "", { command: ["env", "-0"], ...container });
  return podManifest(name, { restartPolicy: "Never", containers: [main], ...spec }, { team: "x" });
}

const envFrom = (kind: "configMapRef" | "secretRef", name: string) =>
  PREFIXES.map((prefix) => ({ prefix, [kind]: { name } }));
const resources = {
  requests: { cpu: "250m", memory: "32Mi", "ephemeral-storage": "1Ki" },
  limits: { cpu: "1250m", memory: "64Mi", "ephemeral-storage": "1Mi" },
};

const PODS = [
  printer("from-config", { envFrom: envFrom("configMapRef", "conf") }),
  printer("from-secret", {
    envFrom: [{ secretRef: { name: "keys" } }, ...envFrom("secretRef", "keys")],
  }),
  printer("keys", {
    env: [
      keyOf("CONF", "configMapKeyRef", "conf", "data-1"),
      keyOf("SECRET", "secretKeyRef", "keys", "data_2"),
      keyOf("ABSENT", "secretKeyRef", "none", "x", { optional: true }),
      keyOf("NOKEY", "configMapKeyRef", "conf", "none", { optional: true }),
    ],
    envFrom: [{ configMapRef: { name: "none", optional: true } }],
  }),
  printer("composed", {
    env: [
      { name: "FOO", value: "foo-value" },
      { name: "BAR", value: "bar-value" },
      { name: "FOOBAR", value: "$(FOO);;$(BAR);;$(LATER);;$$(FOO);;$(1-data-1)" },
      { name: "LATER", value: "x" },
      { name: "EMPTY" },
    ],
    envFrom: [{ prefix: "1-", configMapRef: { name: "conf" } }],
  }),
  podManifest("expanded", {
    restartPolicy: "Never",
    containers: [
      shell("main", "", {
        command: ["sh", "-c", 'echo "$(TEST_VAR) $0 $1 $2"', "$(TEST_VAR)-command"],
        args: ["$(TEST_VAR)-arg", "$(NONE)$$(TEST_VAR)"],
        env: [{ name: "TEST_VAR", value: "test-value" }],
      }),
    ],
  }),
  printer("downward", {
    env: [
      field("NAME", "metadata.name"),
      field("NAMESPACE", "metadata.namespace"),
      field("UID", "metadata.uid"),
      field("LABEL", "metadata.labels['team']"),
      field("NODE", "spec.nodeName"),
      field("ACCOUNT", "spec.serviceAccountName"),
      field("POD_IP", "status.podIP"),
      field("POD_IPS", "status.podIPs"),
      field("HOST_IP", "status.hostIP"),
      field("HOST_IPS", "status.hostIPs"),
    ],
  }),
  printer("resources", {
    resources,
    env: [
      resource("CPU_LIMIT", "limits.cpu"),
      resource("CPU_MILLI", "limits.cpu", { divisor: "1m" }),
      resource("CPU_REQUEST", "requests.cpu"),
      resource("MEMORY_LIMIT", "limits.memory"),
      resource("MEMORY_MI", "requests.memory", { divisor: "1Mi" }),
      resource("STORAGE", "limits.ephemeral-storage", { divisor: "1Ki" }),
    ],
  }),
  printer("allocatable", {
    env: [
      resource("CPU", "limits.cpu", { divisor: "1m" }),
      resource("MEMORY", "limits.memory"),
      resource("STORAGE", "limits.ephemeral-storage"),
    ],
  }),
  printer("host-network", { env: [field("POD_IP", "status.podIP")] }, { hostNetwork: true }),
  printer(
    "files",
    { env: [fileKey("A", "A"), fileKey("B", "B"), fileKey("Z", "Z", { optional: true })] },
    {
      initContainers: [
        shell("write", `printf "# a comment\\nA='1'\\nB='two\\nlines'\\n" >/env/a.env`, {
          volumeMounts: [{ name: "env", mountPath: "/env" }],
        }),
      ],
      volumes: [{ name: "env", emptyDir: {} }],
    },
  ),
  printer("linked", {}),
  printer("unlinked", {}, { enableServiceLinks: false }),
];

/** Pods that cannot be made, with what they say. */
const BROKEN: readonly (readonly [string, object, string])[] = [
  ["no-map", { envFrom: [{ configMapRef: { name: "none" } }] }, 'configmap "none" not found'],
  ["no-secret", { env: [keyOf("A", "secretKeyRef", "none", "x")] }, 'secret "none" not found'],
  [
    "no-key",
    { env: [keyOf("A", "configMapKeyRef", "conf", "none")] },
    "couldn't find key none in ConfigMap NAMESPACE/conf",
  ],
  [
    "no-secret-key",
    { env: [keyOf("A", "secretKeyRef", "keys", "none")] },
    "couldn't find key none in Secret NAMESPACE/keys",
  ],
];

let outputs: Readonly<Record<string, string>> = {};

beforeAll(async () => {
  const service = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "fooservice" },
    spec: { selector: { app: "none" }, ports: [{ port: 8765, targetPort: 8080 }] },
  };
  await cluster.apply(
    { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "conf" }, data },
    { apiVersion: "v1", kind: "Secret", metadata: { name: "keys" }, stringData: data },
    service,
  );
  await cluster.apply(...PODS, ...BROKEN.map(([name, container]) => printer(name, container)));
  const names = PODS.map((pod) => (pod as { metadata: { name: string } }).metadata.name);
  outputs = await cluster.outputs(...names);
});

/** What the pod printed, by name. */
function variables(name: string): Readonly<Record<string, string>> {
  const pairs = (outputs[name] ?? "").split("\0").filter((line) => line !== "");
  return Object.fromEntries(
    pairs.map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]),
  );
}

describe("a container has", () => {
  test.each(["from-config", "from-secret"])("whole objects under odd prefixes: %s", (name) => {
    const found = variables(name);
    for (const prefix of PREFIXES) {
      expect(found[`${prefix}data-1`]).toBe("value-1");
      expect(found[`${prefix}data_2`]).toBe(data.data_2);
    }
  });

  test("whole objects without a prefix", () => {
    expect(variables("from-secret")).toMatchObject(data);
  });

  test("single keys, and nothing for what is optional and missing", () => {
    const found = variables("keys");
    expect(found).toMatchObject({ CONF: "value-1", SECRET: data.data_2 });
    expect(Object.keys(found)).not.toContain("ABSENT");
    expect(Object.keys(found)).not.toContain("NOKEY");
  });

  test("variables made of earlier ones", () => {
    expect(variables("composed")).toMatchObject({
      FOOBAR: "foo-value;;bar-value;;$(LATER);;$(FOO);;value-1",
      EMPTY: "",
    });
  });

  test("variables in its command and args", () => {
    expect(outputs.expanded).toBe(
      "test-value test-value-command test-value-arg $(NONE)$(TEST_VAR)\n",
    );
  });

  test("what the pod is and where", async () => {
    const pod = await cluster.pod("downward");
    const { hostIP = "" } = pod.status;
    expect(variables("downward")).toMatchObject({
      NAME: "downward",
      NAMESPACE: cluster.namespace,
      UID: pod.metadata.uid,
      LABEL: "x",
      NODE: "node1",
      ACCOUNT: "default",
      POD_IP: expect.stringMatching(/^10\.\d+\.\d+\.\d+$/),
      POD_IPS: variables("downward").POD_IP,
      HOST_IP: hostIP,
      HOST_IPS: hostIP,
    });
    expect(variables("host-network").POD_IP).toBe(hostIP);
  });

  test("its requests and limits, rounded up to the divisor", () => {
    expect(variables("resources")).toMatchObject({
      CPU_LIMIT: "2",
      CPU_MILLI: "1250",
      CPU_REQUEST: "1",
      MEMORY_LIMIT: String(64 * 1024 * 1024),
      MEMORY_MI: "32",
      STORAGE: "1024",
    });
  });

  test("the node's allocatable where it has no limits", async () => {
    const node = await cluster.node.json<{ status: { allocatable: Record<string, string> } }>(
      ...["get", "node", "node1"],
    );
    const { cpu = "", memory = "" } = node.status.allocatable;
    const found = variables("allocatable");
    expect(Number(found.CPU)).toBe(Number(cpu) * 1000);
    expect(`${Number(found.MEMORY) / 1024}Ki`).toBe(memory);
    expect(Number(found.STORAGE)).toBeGreaterThan(0);
  });

  test("variables of a file that an init container wrote", () => {
    expect(variables("files")).toMatchObject({ A: "1", B: "two\nlines" });
    expect(Object.keys(variables("files"))).not.toContain("Z");
  });

  test("the services of its namespace in both forms, unless it wants none, and always the API server", async () => {
    const address = (namespace: string, name: string) =>
      cluster.node.kubectl(
        "-n",
        namespace,
        "get",
        "service",
        name,
        "-o",
        "jsonpath={.spec.clusterIP}",
      );
    const [own, api] = await Promise.all([
      address(cluster.namespace, "fooservice"),
      address("default", "kubernetes"),
    ]);
    const found = variables("linked");
    expect(found).toMatchObject({
      FOOSERVICE_SERVICE_HOST: own,
      FOOSERVICE_SERVICE_PORT: "8765",
      FOOSERVICE_PORT: `tcp://${own}:8765`,
      FOOSERVICE_PORT_8765_TCP: `tcp://${own}:8765`,
      FOOSERVICE_PORT_8765_TCP_PROTO: "tcp",
      FOOSERVICE_PORT_8765_TCP_PORT: "8765",
      FOOSERVICE_PORT_8765_TCP_ADDR: own,
      KUBERNETES_SERVICE_HOST: api,
    });
    const bare = variables("unlinked");
    expect(bare.KUBERNETES_SERVICE_HOST).toBe(api);
    expect(Object.keys(bare).filter((name) => name.startsWith("FOOSERVICE"))).toEqual([]);
  });
});

test.each(BROKEN)("a pod with %s waits as CreateContainerConfigError", async (name, _, message) => {
  const pod = await cluster.until(
    name,
    "waiting",
    ({ status }) =>
      status.containerStatuses?.[0]?.state.waiting?.reason === "CreateContainerConfigError",
  );
  expect(pod.status.containerStatuses?.[0]?.state.waiting?.message).toBe(
    message.replace("NAMESPACE", cluster.namespace),
  );
  expect(pod.status.phase).toBe("Pending");
});
