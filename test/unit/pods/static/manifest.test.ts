import { describe, expect, test } from "vitest";
import type { Pod } from "../../../../src/api/types.ts";
import { LongshoreError } from "../../../../src/core/errors.ts";
import { computeResolvConf } from "../../../../src/network/resolv-conf.ts";
import { computeAdmission } from "../../../../src/pods/admission/admission.ts";
import {
  isStaticUid,
  type ManifestContext,
  parseManifest,
} from "../../../../src/pods/static/manifest.ts";
import { computeContainerConfig } from "../../../../src/runtime/container-config.ts";

const FILE: ManifestContext = {
  origin: { kind: "file", path: "/etc/pods/web.yaml" },
  nodeName: "n1",
  now: 0,
};
const HTTP: ManifestContext = { ...FILE, origin: { kind: "http", url: "http://h/pods" } };

const BASE = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web" },
  spec: { containers: [{ name: "main", image: "web:1" }] },
};
const HASH = "kubernetes.io/config.hash";

function withSpec(spec: object): object {
  return { ...BASE, spec: { ...BASE.spec, ...spec } };
}

function withContainer(container: object): object {
  return withSpec({ containers: [{ ...BASE.spec.containers[0], ...container }] });
}

function parse(manifest: object, context = FILE): Pod {
  const [pod] = parseManifest(JSON.stringify(manifest), context);
  if (pod === undefined) throw new Error("no pod");
  return pod;
}

describe("a static pod", () => {
  test("is named after its node, lives in the default namespace and tells where it came from", () => {
    const pod = parse(BASE);
    const { uid } = pod.metadata;
    expect(pod.metadata).toEqual({
      name: "web-n1",
      namespace: "default",
      uid,
      resourceVersion: "0",
      annotations: {
        [HASH]: uid,
        "kubernetes.io/config.seen": "1970-01-01T00:00:00Z",
        "kubernetes.io/config.source": "file",
      },
    });
    expect(isStaticUid(uid)).toBe(true);
    expect(pod.spec.nodeName).toBe("n1");
    expect(pod.spec.tolerations).toEqual([{ operator: "Exists", effect: "NoExecute" }]);
  });

  test("from a URL gets no toleration, and may come in a list", () => {
    const other = { ...BASE, metadata: { name: "other", namespace: "ns" } };
    const list = { apiVersion: "v1", kind: "PodList", items: [BASE, other] };
    const pods = parseManifest(JSON.stringify(list), HTTP);
    expect(pods.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)).toEqual([
      "default/web-n1",
      "ns/other-n1",
    ]);
    expect(pods[0]?.spec.tolerations).toBeUndefined();
    expect(pods[0]?.metadata.annotations?.["kubernetes.io/config.source"]).toBe("http");
  });

  test("is the same in YAML, with its keys in another order, and when it is seen later", () => {
    const yaml =
      "kind: Pod\napiVersion: v1\nspec:\n  containers:\n  - {image: 'web:1', name: main}\nmetadata:\n  name: web\n";
    const [pod] = parseManifest(yaml, { ...FILE, now: 5_000 });
    expect(pod?.metadata.uid).toBe(parse(BASE).metadata.uid);
  });

  test.each<[string, object, ManifestContext]>([
    ["its content", withContainer({ image: "web:2" }), FILE],
    ["its labels", { ...BASE, metadata: { name: "web", labels: { a: "b" } } }, FILE],
    ["its node", BASE, { ...FILE, nodeName: "n2" }],
    ["its path", BASE, { ...FILE, origin: { kind: "file", path: "/etc/pods/b.yaml" } }],
    ["its source", BASE, HTTP],
  ])("is another pod when %s is another", (_what, manifest, context) => {
    expect(parse(manifest, context).metadata.uid).not.toBe(parse(BASE).metadata.uid);
  });

  test("chooses neither its UID nor its mirror nor its node", () => {
    const pod = parse({
      ...BASE,
      metadata: {
        name: "web",
        uid: "../../x",
        annotations: { "kubernetes.io/config.mirror": "x", [HASH]: "y", own: "z" },
        deletionTimestamp: "2026-01-01T00:00:00Z",
      },
      spec: { ...BASE.spec, nodeName: "n9" },
      status: { phase: "Succeeded" },
    });
    expect(isStaticUid(pod.metadata.uid)).toBe(true);
    expect(pod.metadata.annotations).toMatchObject({ [HASH]: pod.metadata.uid, own: "z" });
    expect(pod.metadata.annotations).not.toHaveProperty(["kubernetes.io/config.mirror"]);
    expect(pod.metadata.deletionTimestamp).toBeUndefined();
    expect(pod.spec.nodeName).toBe("n1");
    expect(pod.status).toBeUndefined();
  });

  test("has the defaults that an API server would give", () => {
    expect(parse(BASE).spec).toEqual({
      nodeName: "n1",
      dnsPolicy: "ClusterFirst",
      enableServiceLinks: true,
      restartPolicy: "Always",
      schedulerName: "default-scheduler",
      securityContext: {},
      terminationGracePeriodSeconds: 30,
      tolerations: [{ operator: "Exists", effect: "NoExecute" }],
      containers: [
        {
          name: "main",
          image: "web:1",
          imagePullPolicy: "IfNotPresent",
          resources: {},
          terminationMessagePath: "/dev/termination-log",
          terminationMessagePolicy: "File",
        },
      ],
    });
  });

  test.each<[string, object, object]>([
    ["an image without a tag", { image: "web" }, { imagePullPolicy: "Always" }],
    ["latest", { image: "h:5000/a/web:latest" }, { imagePullPolicy: "Always" }],
    ["a registry with a port", { image: "h:5000/web" }, { imagePullPolicy: "Always" }],
    ["a tag", { image: "h:5000/web:1" }, { imagePullPolicy: "IfNotPresent" }],
    ["a digest", { image: "web:latest@sha256:a" }, { imagePullPolicy: "IfNotPresent" }],
    ["a digest alone", { image: "web@sha256:a" }, { imagePullPolicy: "IfNotPresent" }],
    [
      "limits",
      { resources: { limits: { cpu: "1", memory: "1Gi" }, requests: { cpu: "2" } } },
      {
        resources: {
          limits: { cpu: "1", memory: "1Gi" },
          requests: { cpu: "2", memory: "1Gi" },
        },
      },
    ],
    [
      "a probe",
      { livenessProbe: { httpGet: { port: 80 } } },
      {
        livenessProbe: {
          httpGet: { port: 80, path: "/", scheme: "HTTP" },
          timeoutSeconds: 1,
          periodSeconds: 10,
          successThreshold: 1,
          failureThreshold: 3,
        },
      },
    ],
    [
      "a grpc probe with numbers of its own",
      { startupProbe: { grpc: { port: 1 }, periodSeconds: 5, failureThreshold: 9 } },
      {
        startupProbe: {
          grpc: { port: 1, service: "" },
          timeoutSeconds: 1,
          periodSeconds: 5,
          successThreshold: 1,
          failureThreshold: 9,
        },
      },
    ],
    [
      "a hook",
      { lifecycle: { preStop: { httpGet: { port: 1 } } } },
      { lifecycle: { preStop: { httpGet: { port: 1, path: "/", scheme: "HTTP" } } } },
    ],
    [
      "a port",
      { ports: [{ containerPort: 80 }] },
      { ports: [{ containerPort: 80, protocol: "TCP" }] },
    ],
    [
      "a field in the environment",
      { env: [{ name: "A", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }] },
      {
        env: [
          {
            name: "A",
            valueFrom: { fieldRef: { apiVersion: "v1", fieldPath: "metadata.name" } },
          },
        ],
      },
    ],
  ])("completes %s", (_what, container, expected) => {
    expect(parse(withContainer(container)).spec.containers[0]).toMatchObject(expected);
  });

  test.each([
    ["system-node-critical", 2_000_001_000],
    ["system-cluster-critical", 2_000_000_000],
    ["other", undefined],
  ])("of priority class %s has priority %s", (priorityClassName, priority) => {
    expect(parse(withSpec({ priorityClassName })).spec.priority).toBe(priority);
  });

  test("completes host ports, volumes and init containers", () => {
    const { spec } = parse({
      ...BASE,
      spec: {
        hostNetwork: true,
        containers: [{ ...BASE.spec.containers[0], ports: [{ containerPort: 80 }] }],
        initContainers: [{ name: "init", image: "x" }],
        volumes: [
          { name: "a" },
          { name: "b", hostPath: { path: "/b" } },
          { name: "c", downwardAPI: { items: [{ path: "p", fieldRef: { fieldPath: "f" } }] } },
        ],
      },
    });
    expect(spec.containers[0]?.ports).toEqual([
      { containerPort: 80, hostPort: 80, protocol: "TCP" },
    ]);
    expect(spec.initContainers?.[0]?.imagePullPolicy).toBe("Always");
    expect(spec.volumes).toEqual([
      { name: "a", emptyDir: {} },
      { name: "b", hostPath: { path: "/b", type: "" } },
      {
        name: "c",
        downwardAPI: {
          defaultMode: 0o644,
          items: [{ path: "p", fieldRef: { apiVersion: "v1", fieldPath: "f" } }],
        },
      },
    ]);
  });
});

describe("no static pod comes of", () => {
  test.each<[string, string, RegExp]>([
    ["nothing", "", /no object/],
    ["a list", "- a", /no object/],
    ["two documents", "a: 1\n---\nb: 2", /one document/],
    ["half a document", '{"kind":', /neither YAML nor JSON/],
    ["a mode that may be two numbers", "a:\n  defaultMode: 0644\n", /0o644/],
    ["an endless list", "a: &a [*a]", /deeper than 100/],
    ["a value that holds itself", "a: &a\n  b: *a", /deeper than 100/],
    ["a value that is huge", bomb(), /more than 100000 values/],
  ])("%s", (_what, text, problem) => {
    expect(() => parseManifest(text, FILE)).toThrow(problem);
  });

  test.each<[string, object, RegExp]>([
    ["another kind", { ...BASE, kind: "Deployment" }, /Deployment of v1/],
    ["a list in a file", { apiVersion: "v1", kind: "PodList", items: [BASE] }, /PodList of v1/],
    ["no metadata", { ...BASE, metadata: 1 }, /metadata is no object/],
    ["a name that is a path", { ...BASE, metadata: { name: "../x" } }, /no DNS name/],
    ["a namespace that is a path", { ...BASE, metadata: { name: "x", namespace: "a/b" } }, /label/],
    ["labels that are no text", { ...BASE, metadata: { name: "x", labels: { a: 1 } } }, /labels.a/],
    [
      "a command that is no list",
      withContainer({ command: "ls" }),
      /containers\[0\].command is no l/,
    ],
    ["an argument that is no text", withContainer({ args: [1] }), /args\[0\] is no text/],
    ["a nothing among the volumes", withSpec({ volumes: [null] }), /volumes\[0\] is no object/],
    ["a port that is a text", withContainer({ ports: [{ containerPort: "80" }] }), /no number/],
    ["a flag that is a text", withSpec({ hostNetwork: "true" }), /hostNetwork is no flag/],
    ["no spec", { ...BASE, spec: null }, /spec is missing/],
    ["a spec that is none", { ...BASE, spec: [] }, /spec is no object/],
    ["no containers", withSpec({ containers: [] }), /empty/],
    ["containers that are no list", withSpec({ containers: {} }), /no list/],
    ["a container whose name is a path", withContainer({ name: "../x" }), /container name/],
    ["no image", withContainer({ image: "" }), /no image/],
    [
      "two containers of one name",
      withSpec({ initContainers: [{ name: "main", image: "x" }] }),
      /not unique/,
    ],
    ["a volume whose name is a path", withSpec({ volumes: [{ name: "../x" }] }), /volume name/],
    [
      "a mount of no volume",
      withContainer({ volumeMounts: [{ name: "v", mountPath: "/v" }] }),
      /mounts v/,
    ],
    ["an unknown restart policy", withSpec({ restartPolicy: "Maybe" }), /restartPolicy/],
    ["grace that is no number", withSpec({ terminationGracePeriodSeconds: "9" }), /no number/],
    ["grace below nothing", withSpec({ terminationGracePeriodSeconds: -1 }), /less than nothing/],
    ["ephemeral containers", withSpec({ ephemeralContainers: [{ name: "e" }] }), /ephemeral/],
  ])("%s", (_what, manifest, problem) => {
    expect(() => parse(manifest)).toThrow(problem);
  });

  test.each<[string, object]>([
    ["serviceaccounts", withSpec({ serviceAccountName: "x" })],
    ["serviceaccounts", withSpec({ serviceAccount: "x" })],
    ["serviceaccounts", withProjection({ serviceAccountToken: { path: "t" } })],
    ["secrets", withSpec({ imagePullSecrets: [{ name: "x" }] })],
    ["secrets", withSpec({ volumes: [{ name: "v", secret: { secretName: "x" } }] })],
    ["secrets", withProjection({ secret: { name: "x" } })],
    ["secrets", withContainer({ envFrom: [{ secretRef: { name: "x" } }] })],
    [
      "secrets",
      withContainer({ env: [{ name: "A", valueFrom: { secretKeyRef: { name: "x", key: "k" } } }] }),
    ],
    ["configmaps", withSpec({ volumes: [{ name: "v", configMap: { name: "x" } }] })],
    ["configmaps", withProjection({ configMap: { name: "x" } })],
    ["configmaps", withContainer({ envFrom: [{ configMapRef: { name: "x" } }] })],
    [
      "persistentvolumeclaims",
      withSpec({ volumes: [{ name: "v", persistentVolumeClaim: { claimName: "x" } }] }),
    ],
    ["clustertrustbundles", withProjection({ clusterTrustBundle: { path: "p" } })],
    ["resourceclaims", withSpec({ resourceClaims: [{ name: "x" }] })],
  ])("a reference to %s", (resource, manifest) => {
    expect(() => parse(manifest)).toThrow(`static pods may not reference ${resource}`);
  });
});

describe("junk in any place of a good manifest", () => {
  const GOOD = {
    ...BASE,
    metadata: { name: "web", namespace: "ns", labels: { a: "b" }, annotations: { c: "d" } },
    spec: {
      hostAliases: [{ ip: "192.0.2.1", hostnames: ["h"] }],
      nodeSelector: { a: "b" },
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [
              { matchExpressions: [{ key: "a", operator: "In", values: ["b"] }] },
            ],
          },
        },
      },
      tolerations: [{ key: "k", operator: "Exists" }],
      dnsConfig: { nameservers: ["192.0.2.1"], searches: ["s"], options: [{ name: "o" }] },
      securityContext: { runAsUser: 1, supplementalGroups: [2], seccompProfile: { type: "x" } },
      os: { name: "linux" },
      initContainers: [{ name: "init", image: "x" }],
      containers: [
        {
          name: "main",
          image: "web:1",
          command: ["a"],
          args: ["b"],
          env: [{ name: "A", value: "b" }],
          envFrom: [],
          ports: [{ containerPort: 80 }],
          resources: { limits: { cpu: 1, memory: "1Mi" }, requests: { cpu: "1m" } },
          livenessProbe: { httpGet: { port: 80, httpHeaders: [{ name: "a", value: "b" }] } },
          readinessProbe: { exec: { command: ["x"] } },
          lifecycle: { preStop: { sleep: { seconds: 1 } } },
          securityContext: { privileged: true, capabilities: { add: ["A"], drop: ["B"] } },
          volumeMounts: [{ name: "v", mountPath: "/v" }],
        },
      ],
      volumes: [
        { name: "v", emptyDir: { medium: "Memory" } },
        { name: "w", downwardAPI: { items: [{ path: "p", fieldRef: { fieldPath: "f" } }] } },
        { name: "x", projected: { sources: [{ downwardAPI: { items: [] } }] } },
      ],
    },
  };
  const JUNK = [null, 7, "x", true, [], {}, [null], ["x"], { a: null }, { a: [] }];

  test.each(placesIn(GOOD).map((place) => [place.join("."), place] as const))(
    "at %s is refused in words, or nobody stumbles over it",
    (_name, place) => {
      for (const junk of JUNK) {
        const text = JSON.stringify(withJunk(GOOD, place, junk));
        try {
          for (const pod of parseManifest(text, FILE)) walk(pod);
        } catch (error) {
          expect(error).toBeInstanceOf(LongshoreError);
        }
      }
    },
  );
});

/** Lets everything pure look at the pod that its worker would. */
function walk(pod: Pod): void {
  const allocatable = { cpu: 1, memory: 1, pods: 1 };
  const node = { name: "n1", labels: {}, taints: [], hasAppArmor: false, allowedUnsafeSysctls: [] };
  computeAdmission({ pod, node: { ...node, allocatable }, active: [] });
  computeResolvConf(pod, { clusterDomain: "c", clusterDns: [], nodeResolvConf: "" });
  for (const container of pod.spec.containers) {
    const volumes = (pod.spec.volumes ?? []).map(
      ({ name }) => [name, { hostPath: "/h", readOnly: false }] as const,
    );
    computeContainerConfig({
      ...{ pod, container, kind: "app", attempt: 0, sandboxId: "s", imageId: "i", imageUser: "" },
      ...{ env: new Map(), command: container.command, args: container.args },
      ...{
        volumes: new Map(volumes),
        subPaths: new Map(),
        extraMounts: [],
        hasRecursiveReadOnly: false,
        memoryCapacity: 1,
      },
    });
  }
}

type Place = readonly (string | number)[];

function placesIn(value: unknown): Place[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [
    [key],
    ...placesIn(inner).map((rest) => [key, ...rest]),
  ]);
}

function withJunk(value: unknown, [key, ...rest]: Place, junk: unknown): unknown {
  if (key === undefined) return junk;
  const copy = structuredClone(value) as Record<string | number, unknown>;
  copy[key] = withJunk(copy[key], rest, junk);
  return copy;
}

function withProjection(source: object): object {
  return withSpec({ volumes: [{ name: "v", projected: { sources: [source] } }] });
}

/** Ten lists, each with ten references to the one before. */
function bomb(): string {
  const line = (name: string, of: string): string =>
    `${name}: &${name} [${Array(10).fill(of).join(", ")}]`;
  const names = [..."abcdefghij"];
  return names.map((name, i) => line(name, i === 0 ? "x" : `*${names[i - 1]}`)).join("\n");
}
