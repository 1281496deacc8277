/** What conformance asks of the files in volumes, sub-section by sub-section, seen from inside containers. */

import { describe, expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();

const object = (kind: "ConfigMap" | "Secret", name: string, data: object, more: object = {}) => ({
  ...{ apiVersion: "v1", kind, metadata: { name, ...more } },
  [kind === "Secret" ? "stringData" : "data"]: data,
});
const mountsOf = (volumes: readonly { readonly name: string }[]) =>
  volumes.map(({ name }) => ({ name, mountPath: `/v/${name}` }));
const sh = (pod: string, container: string, script: string) =>
  cluster.kubectl("exec", pod, "-c", container, "--", "sh", "-c", script);
/** Mode, owner and content of files, a line each. */
const look = (...files: readonly string[]) =>
  files.map((file) => `echo "$(stat -L -c '%a %u:%g' /v/${file}) $(cat /v/${file})"`).join("; ");
const lines = (text: string): readonly string[] => text.split("\n").slice(0, -1);

describe.concurrent("files of objects", () => {
  test("are all keys or the items, with their modes, however often and beside what they are mounted", async () => {
    const binary = Buffer.from([0, 255, 254, 10, 13, 128, 0]);
    await cluster.apply(
      {
        ...object("ConfigMap", "files", { "data-1": "one", "data-2": "two", "with.dots_-": "odd" }),
        binaryData: { bin: binary.toString("base64") },
      },
      object("Secret", "files", { key: "of this namespace" }),
      object("Secret", "files", { key: "of another" }, { namespace: "default" }),
    );
    const items = [{ key: "data-2", path: "path/to/data-2", mode: 0o400 }];
    const volumes = [
      { name: "all", configMap: { name: "files" } },
      { name: "again", configMap: { name: "files", defaultMode: 0o400 } },
      { name: "items", configMap: { name: "files", items } },
      { name: "secret", secret: { secretName: "files" } },
      { name: "private", secret: { secretName: "files", defaultMode: 0o440 } },
      {
        name: "projected",
        projected: {
          sources: [
            { configMap: { name: "files", items } },
            { secret: { name: "files", items: [{ key: "key", path: "s/key" }] } },
            {
              downwardAPI: { items: [{ path: "name", fieldRef: { fieldPath: "metadata.name" } }] },
            },
          ],
        },
      },
    ];
    const volumeMounts = mountsOf(volumes);
    await cluster.apply(
      podManifest("files", {
        containers: [shell("root", IDLE, { volumeMounts })],
        volumes,
      }),
      podManifest("files-of-user", {
        securityContext: { runAsUser: 1000, fsGroup: 1001 },
        containers: [shell("user", IDLE, { volumeMounts })],
        volumes,
      }),
    );
    await cluster.ready("files");
    const seen = look(
      ...["all/data-1", "all/with.dots_-", "again/data-1", "items/path/to/data-2", "secret/key"],
      ...["private/key", "projected/path/to/data-2", "projected/s/key", "projected/name"],
    );
    expect(lines(await sh("files", "root", seen))).toEqual([
      "644 0:0 one",
      "644 0:0 odd",
      "400 0:0 one",
      "400 0:0 two",
      "644 0:0 of this namespace",
      "440 0:0 of this namespace",
      "400 0:0 two",
      "644 0:0 of this namespace",
      "644 0:0 files",
    ]);
    expect(await sh("files", "root", "ls /v/items/path/to; od -An -tu1 /v/all/bin")).toBe(
      `data-2\n ${[...binary].map((byte) => String(byte).padStart(3)).join(" ")}\n`,
    );
    await cluster.ready("files-of-user");
    expect(lines(await sh("files-of-user", "user", look("all/data-1", "private/key")))).toEqual([
      "644 0:1001 one",
      "440 0:1001 of this namespace",
    ]);
    await cluster.node.kubectl("-n", "default", "delete", "secret", "files");
  });

  test("that are optional come, change and go, while the pod runs and its volume stays the same", async () => {
    const kinds = ["configMap", "secret", "projected-configMap", "projected-secret"] as const;
    const roles = ["deleted", "updated", "created"] as const;
    const kindOf = (kind: (typeof kinds)[number]) =>
      kind.toLowerCase().endsWith("secret") ? "Secret" : "ConfigMap";
    const make = (role: string, key: string) =>
      (["ConfigMap", "Secret"] as const).map((kind) => object(kind, `optional-${role}`, { key }));
    const volumes = kinds.flatMap((kind) =>
      roles.map((role) => {
        const name = `optional-${role}`;
        const of = kindOf(kind) === "Secret" ? "secret" : "configMap";
        const source = { projected: { sources: [{ [of]: { name, optional: true } }] } };
        const plain = { [of]: { [of === "secret" ? "secretName" : "name"]: name, optional: true } };
        return {
          name: `${kind.toLowerCase()}-${role}`,
          ...(kind.startsWith("projected") ? source : plain),
        };
      }),
    );
    await cluster.apply(...make("deleted", "old"), ...make("updated", "old"));
    await cluster.apply(
      podManifest("optional", {
        containers: [shell("main", IDLE, { volumeMounts: mountsOf(volumes) })],
        volumes,
      }),
    );
    await cluster.ready("optional");
    const places = "for v in /v/*; do echo $(stat -c %i $v); done";
    const before = await sh("optional", "main", places);
    for (const kind of ["configmap", "secret"])
      await cluster.kubectl("delete", kind, "optional-deleted");
    await cluster.apply(...make("updated", "new"), ...make("created", "new"));
    const all = "for v in /v/*; do echo $(basename $v) $(cat $v/key 2>/dev/null); done";
    const wanted = volumes
      .map(({ name }) => (name.endsWith("-deleted") ? name : `${name} new`))
      .sort();
    await eventually(
      "the files follow",
      async () => {
        const seen = lines(await sh("optional", "main", all)).map((line) => line.trim());
        if (JSON.stringify(seen.toSorted()) === JSON.stringify(wanted)) return true;
        throw new Error(seen.join("\n"));
      },
      100_000,
    );
    expect(await sh("optional", "main", places)).toBe(before);
  });
});

describe.concurrent("files about the pod", () => {
  const field = (path: string, fieldPath: string, more: object = {}) => ({
    ...{ path, fieldRef: { fieldPath } },
    ...more,
  });
  const resource = (path: string, containerName: string, name: string) => ({
    ...{ path, resourceFieldRef: { containerName, resource: name } },
  });
  const items = [
    field("name", "metadata.name"),
    field("private", "metadata.name", { mode: 0o400 }),
    field("labels", "metadata.labels"),
    field("annotations", "metadata.annotations"),
    ...["limits", "requests"].flatMap((what) =>
      ["cpu", "memory"].map((name) =>
        resource(`limited/${what}-${name}`, "limited", `${what}.${name}`),
      ),
    ),
    resource("free/cpu", "free", "limits.cpu"),
    resource("free/memory", "free", "limits.memory"),
  ];
  const volumes = [
    { name: "downward", downwardAPI: { items, defaultMode: 0o440 } },
    { name: "projected", projected: { sources: [{ downwardAPI: { items } }], defaultMode: 0o440 } },
  ];

  test("tell its name, modes, resources and what the node has, and follow its labels and annotations", async () => {
    const resources = {
      limits: { cpu: "1250m", memory: "128Mi" },
      requests: { cpu: "250m", memory: "32Mi" },
    };
    const volumeMounts = mountsOf(volumes);
    const manifest = podManifest(
      "downward",
      {
        containers: [
          shell("limited", IDLE, { resources, volumeMounts }),
          shell("free", IDLE, { volumeMounts }),
        ],
        volumes,
      },
      { b: "2", a: "1" },
    ) as { metadata: object };
    const annotations = { note: 'a "quoted"\nline' };
    await cluster.apply({ ...manifest, metadata: { ...manifest.metadata, annotations } });
    const pod = await cluster.ready("downward");
    const { status } = await cluster.node.json<{
      status: { allocatable: { cpu: string; memory: string } };
    }>("get", "node", pod.spec.nodeName ?? "");
    for (const { name } of volumes) {
      const files = ["name", "private", "limited/limits-cpu", "limited/limits-memory"];
      const more = ["limited/requests-cpu", "limited/requests-memory"];
      const seen = look(...[...files, ...more].map((file) => `${name}/${file}`));
      expect(lines(await sh("downward", "free", seen)), name).toEqual([
        "440 0:0 downward",
        "400 0:0 downward",
        "440 0:0 2",
        "440 0:0 134217728",
        "440 0:0 1",
        "440 0:0 33554432",
      ]);
      const [cpu, memory] = lines(
        await sh("downward", "free", `cd /v/${name}/free; echo $(cat cpu); echo $(cat memory)`),
      );
      expect(cpu).toBe(String(Math.ceil(Number(status.allocatable.cpu.replace("m", "e-3")))));
      expect(memory).toBe(String(Number(status.allocatable.memory.replace("Ki", "")) * 1024));
      expect(
        await sh("downward", "free", `cd /v/${name}; cat labels; echo; cat annotations`),
      ).toMatch(/^a="1"\nb="2"\n?\n.*note="a \\"quoted\\"\\nline"/s);
    }
    await cluster.kubectl("label", "pod", "downward", "c=3");
    await cluster.kubectl("annotate", "pod", "downward", "builder=bar");
    for (const { name } of volumes)
      await eventually(
        "they follow",
        async () => {
          const text = await sh("downward", "free", `cat /v/${name}/labels /v/${name}/annotations`);
          return text.includes('c="3"') && text.includes('builder="bar"');
        },
        100_000,
      );
  });
});

test("an emptyDir on disk or in memory is everybody's, and keeps what root and others write with its mode and owner", async () => {
  const volumes = [
    { name: "disk", emptyDir: {} },
    { name: "memory", emptyDir: { medium: "Memory" } },
  ];
  const write = (who: string) =>
    volumes.flatMap(({ name }) =>
      [644, 666, 777].map((mode) => {
        const file = `/v/${name}/${who}-${mode}`;
        return `echo ${who} >${file}; chmod ${mode} ${file}`;
      }),
    );
  const container = (name: string, runAsUser: number) =>
    shell(name, `umask 0; ${write(name).join("; ")}; touch /tmp/${name}; ${IDLE}`, {
      ...{ volumeMounts: mountsOf(volumes), securityContext: { runAsUser } },
      readinessProbe: { exec: { command: ["test", "-e", `/tmp/${name}`] }, periodSeconds: 1 },
    });
  await cluster.apply(
    podManifest("empty", {
      securityContext: { seLinuxOptions: { level: "s0" } },
      containers: [container("root", 0), container("user", 1001)],
      volumes,
    }),
  );
  await cluster.ready("empty");
  for (const { name } of volumes) {
    const script = `cd /v/${name}; stat -c '%a %u' .; for f in *; do echo "$f $(stat -c '%a %u' $f) $(cat $f)"; done`;
    expect(lines(await sh("empty", "user", script))).toEqual([
      "777 0",
      ...[644, 666, 777].map((mode) => `root-${mode} ${mode} 0 root`),
      ...[644, 666, 777].map((mode) => `user-${mode} ${mode} 1001 user`),
    ]);
  }
  expect(
    await sh(
      "empty",
      "root",
      "stat -f -c %t /v/memory; grep -c ' /v/disk tmpfs ' /proc/mounts; true",
    ),
  ).toBe("1021994\n0\n");
});
