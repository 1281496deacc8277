/**
 * Pods come, change and go while the agent is killed with SIGKILL at random moments. Afterwards nothing that ran was
 * restarted, nothing is left of what went, and the API tells what the Engine tells. CHAOS_SEED and CHAOS_KILLS make
 * another run or a longer one.
 */

import { afterAll, beforeAll, expect, test } from "vitest";
import { type Cluster, IDLE, podManifest, shell } from "../support/cluster.ts";
import {
  createRandom,
  startAgent,
  startLoneAgent,
  untilNothingIsLeft,
} from "../support/lone-agent.ts";
import { eventually, type NodeContainer } from "../support/node-container.ts";

const SEED = Number(process.env.CHAOS_SEED ?? 7);
const KILLS = Number(process.env.CHAOS_KILLS ?? 12);
const LAST_LONG_MS = KILLS * 4_000 + 60_000;
const NAMES = ["c0", "c1", "c2", "c3", "c4", "c5"] as const;

let node: NodeContainer;
let cluster: Cluster;

const random = createRandom(SEED);

const VOLUMES = {
  volumes: [
    { name: "memory", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
    { name: "disk", emptyDir: {} },
    { name: "secret", secret: { secretName: "chaos" } },
  ],
};
const MOUNTS = {
  volumeMounts: [
    { name: "memory", mountPath: "/memory" },
    { name: "disk", mountPath: "/disk" },
    { name: "secret", mountPath: "/secret" },
  ],
};
const PROBES = {
  readinessProbe: { exec: { command: ["test", "-e", "/secret/key"] }, periodSeconds: 1 },
  livenessProbe: { exec: { command: ["true"] }, periodSeconds: 1 },
};

const SPECS = [
  { ...VOLUMES, containers: [shell("main", IDLE, { ...MOUNTS, ...PROBES }), shell("side", IDLE)] },
  {
    ...VOLUMES,
    initContainers: [
      shell("one", "sleep 0.3; echo made >/disk/made", MOUNTS),
      shell("two", "true"),
    ],
    containers: [shell("main", `cat /disk/made && ${IDLE}`, MOUNTS)],
  },
  { restartPolicy: "OnFailure", containers: [shell("main", "sleep 1; exit 1")] },
  { restartPolicy: "Never", ...VOLUMES, containers: [shell("main", "sleep 0.5", MOUNTS)] },
  { containers: [shell("main", "sleep 60"), shell("crash", "exit 3")] },
  {
    initContainers: [shell("side", IDLE, { restartPolicy: "Always" })],
    containers: [
      shell("main", IDLE, {
        lifecycle: {
          postStart: { exec: { command: ["sleep", "0.3"] } },
          preStop: { exec: { command: ["sleep", "0.3"] } },
        },
      }),
    ],
  },
] as const;

/** One change to the churning pods; what it meets (already there, not there) does not matter. */
async function churn(): Promise<void> {
  const name = NAMES[random(NAMES.length)] as string;
  const spec = SPECS[random(SPECS.length)] as object;
  switch (random(6)) {
    case 0:
      await cluster.tryKubectl("delete", "pod", name, "--wait=false");
      return;
    case 1:
      await cluster.tryKubectl(
        "delete",
        "pod",
        name,
        "--force",
        "--grace-period=0",
        "--wait=false",
      );
      return;
    case 2:
      await cluster.tryKubectl("annotate", "pod", name, "--overwrite", `at=${random(1e6)}`);
      return;
    case 3:
      await cluster.tryKubectl(
        "patch",
        "secret",
        "chaos",
        "-p",
        `{"stringData":{"key":"${random(1e6)}"}}`,
      );
      return;
    default: {
      const manifest = { ...podManifest(name, spec), metadata: { name, namespace: "default" } };
      await cluster.node.exec(["kubectl", "create", "-f", "-"], {
        input: JSON.stringify(manifest),
      });
    }
  }
}

beforeAll(async () => {
  cluster = await startLoneAgent();
  node = cluster.node;
  await cluster.kubectl("create", "secret", "generic", "chaos", "--from-literal=key=value");
});

afterAll(() => node.stop());

test(`${KILLS} kills under churn (seed ${SEED})`, { timeout: LAST_LONG_MS }, async () => {
  const lasting = ["l0", "l1", "l2"] as const;
  await cluster.apply(
    podManifest("l0", SPECS[0]),
    podManifest("l1", { ...SPECS[1], restartPolicy: "Never" }),
    podManifest("l2", SPECS[5]),
  );
  for (const name of lasting) await cluster.ready(name);
  const before = await node.containerIds();

  for (let kill = 0; kill < KILLS; kill++) {
    const changes = 1 + random(3);
    const waitMs = random(1_500);
    await Promise.all([
      new Promise((wake) => setTimeout(wake, waitMs)),
      (async () => {
        for (let change = 0; change < changes; change++) await churn();
      })(),
    ]);
    await node.kill("agent");
    // A change that the agent is not there to see.
    if (random(2) === 0) await churn();
    await startAgent(node);
  }

  for (const name of lasting) await cluster.ready(name);
  const after = await node.containerIds();
  for (const [name, id] of before) expect(after.get(name), name).toBe(id);
  for (const name of lasting) {
    const { status } = await cluster.pod(name);
    expect(status.containerStatuses?.map(({ restartCount }) => restartCount)).toSatisfy(
      (counts: number[]) => counts.every((count) => count === 0),
    );
  }

  // Every pod that is still wanted is somewhere: none stays Pending, none has a container the Engine does not know.
  await eventually("the API tells what the Engine tells", async () => {
    const pods = await node.json<{ items: SeenList }>("-n", "default", "get", "pods");
    const running = new Set(
      pods.items.flatMap(({ status }) =>
        [...(status.initContainerStatuses ?? []), ...(status.containerStatuses ?? [])]
          .filter(({ state }) => state.running !== undefined)
          .map(({ containerID }) => containerID?.replace("docker://", "") ?? ""),
      ),
    );
    const engine = [...(await node.containerIds())].filter(([name]) => !name.endsWith("/POD"));
    const pending = pods.items.filter(({ status }) => status.phase === "Pending");
    const stray = engine.filter(([, id]) => !running.has(id));
    if (pending.length === 0 && stray.length === 0 && engine.length === running.size) return true;
    throw new Error(
      JSON.stringify({ pending: pending.map((p) => p.status), stray, running: [...running] }),
    );
  });

  await cluster.kubectl("delete", "pods", "--all", "--wait=false");
  await eventually(
    "all pods are gone",
    async () => (await cluster.kubectl("get", "pods", "-o", "name")) === "",
  );
  await untilNothingIsLeft(node);
  const log = await node.sh("cat /var/log/agent.log");
  expect(log).not.toContain("(bug)");
});

test("an agent whose log cannot be written goes on, also on a host path nobody can make", async () => {
  await node.kill("agent");
  await node.sh("ln -sf /dev/full /var/log/agent.log");
  await startAgent(node);
  const path = { hostPath: { path: "/proc/self/none", type: "DirectoryOrCreate" } };
  const root = { hostPath: { path: "/" } };
  const at = { mountPath: "/v", name: "v" };
  await cluster.apply(
    podManifest("stuck", {
      volumes: [{ name: "v", ...path }],
      containers: [shell("main", IDLE, { volumeMounts: [at] })],
    }),
    podManifest("root", {
      volumes: [{ name: "v", ...root }],
      containers: [shell("main", IDLE, { volumeMounts: [{ ...at, readOnly: true }] })],
    }),
  );
  await cluster.ready("root");
  await eventually("its reason is told", async () =>
    (await cluster.eventReasons("stuck")).includes("FailedMount"),
  );
  await cluster.kubectl("delete", "pod", "stuck", "root", "--wait=false");
  await cluster.gone("stuck");
  await cluster.gone("root");
});

type SeenList = readonly Awaited<ReturnType<Cluster["pod"]>>[];
