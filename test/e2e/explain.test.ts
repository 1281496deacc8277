/** `longshore explain pod` on a node: for each way not to run, the text names the reason that `kubectl` shows too. */

import { expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";
import { eventually, type Result } from "../support/node-container.ts";

const cluster = useCluster();

function explain(name: string, ...flags: readonly string[]): Promise<Result> {
  return cluster.node.exec(["longshore", "explain", "pod", name, ...flags]);
}

/** The lines of the explanation, once it has all of these. */
async function explained(name: string, says: readonly RegExp[]): Promise<readonly string[]> {
  return eventually(`${name} is explained`, async () => {
    const { code, stdout, stderr } = await explain(`${cluster.namespace}/${name}`);
    const isComplete = code === 0 && says.every((pattern) => pattern.test(stdout));
    if (!isComplete) throw new Error(`${code} ${stdout}${stderr}`);
    return stdout.split("\n");
  });
}

const configMapVolume = [{ name: "v", configMap: { name: "nowhere" } }];
const SECRET = "do-not-show-me";

const reasons = [
  {
    sentence: "a healthy pod",
    name: "healthy",
    spec: {
      containers: [
        shell("web", IDLE, {
          readinessProbe: { exec: { command: ["true"] }, periodSeconds: 1 },
          env: [{ name: "PASSWORD", value: SECRET }],
        }),
      ],
    },
    says: [
      /^Phase +Running; worker: sync$/m,
      /^Why +web runs$/m,
      /^Sandbox +ready \(attempt 0, [0-9a-f]{12}\), 10\.244\.\d+\.\d+, made /m,
      /^Volumes +ready$/m,
      /^ {2}State +running, .*, ready, restarts: 0$/m,
      /^ {2}Image +busybox: present, [0-9a-f]{12}$/m,
      /^ {2}Readiness +success; last success /m,
      /^Status +written$/m,
    ],
  },
  {
    sentence: "an image that is not there",
    name: "no-image",
    spec: { containers: [shell("web", IDLE, { image: "nowhere.invalid/x:1" })] },
    says: [
      /^Phase +Pending; /m,
      /^Why +web: .*nowhere\.invalid/m,
      /^ {2}State +waiting, not ready, restarts: 0; (ErrImagePull|ImagePullBackOff)/m,
      /^ {2}Image +nowhere\.invalid\/x:1: failed, .*, again in \d+ s$/m,
      /^Next +nothing to do; looks again in \d+ s, or at an event$/m,
    ],
  },
  {
    sentence: "a crash loop",
    name: "crashing",
    spec: { containers: [shell("web", "exit 7")] },
    says: [
      /^Why +back-off of web$/m,
      /^ {2}State +waiting, not ready, restarts: [1-9]\d*; CrashLoopBackOff/m,
      /^ {2}Back-off +in \d+ s of \d+ s$/m,
      /^ {2}Last exit +code 7, Error, /m,
    ],
  },
  {
    sentence: "a readiness probe that fails",
    name: "unready",
    spec: {
      containers: [
        shell("web", IDLE, {
          readinessProbe: { exec: { command: ["sh", "-c", "echo no; exit 3"] }, periodSeconds: 1 },
        }),
      ],
    },
    says: [
      /^ {2}State +running, .*, not ready, restarts: 0$/m,
      /^ {2}Readiness +failure; last failure (now|\d+ s ago), \d+ in a row of 3: no/m,
      /^Condition +Ready is False: ContainersNotReady/m,
    ],
  },
  {
    sentence: "a ConfigMap that is not there",
    name: "no-config",
    spec: {
      containers: [shell("web", IDLE, { volumeMounts: [{ name: "v", mountPath: "/v" }] })],
      volumes: configMapVolume,
    },
    says: [
      /^Why +.*configmap "nowhere" not found/m,
      /^Sandbox +none$/m,
      /^Volumes +waiting: .*configmap "nowhere" not found/m,
      /^ {2}State +waiting, not ready, restarts: 0; ContainerCreating/m,
    ],
  },
] as const;

for (const { sentence, name, spec, says } of reasons) {
  test(`explains ${sentence}`, async () => {
    await cluster.apply(podManifest(name, spec));
    const lines = await explained(name, says);
    expect(lines.join("\n")).not.toContain(SECRET);
    expect(lines.length).toBeLessThan(20);
  });
}

test("gives the same as JSON, which kubectl's view agrees with", async () => {
  await cluster.apply(podManifest("agreed", { containers: [shell("web", IDLE)] }));
  const pod = await cluster.ready("agreed");
  const { code, stdout } = await explain(`${cluster.namespace}/agreed`, "-o", "json");
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    ...{ namespace: cluster.namespace, name: "agreed", uid: pod.metadata.uid },
    ...{ phase: "Running", workerPhase: "sync", next: { actions: [], why: "web runs" } },
    sandboxes: [{ state: "ready", ips: [pod.status.podIP] }],
    containers: [{ name: "web", state: "running", ready: true, restartCount: 0 }],
  });
});

test("a pod that is not on this node, a name of two, and no agent have an exit code each", async () => {
  const missing = await explain(`${cluster.namespace}/nowhere`);
  expect([missing.code, missing.stdout]).toEqual([3, ""]);
  expect(missing.stderr).toMatch(/^longshore: pod .*\/nowhere is not on this node, which has \d+ /);
  const other = `${cluster.namespace}-other`;
  const twin = podManifest("twin", { containers: [shell("web", IDLE)] });
  await cluster.node.kubectl("create", "namespace", other);
  try {
    await cluster.apply(twin, { ...twin, metadata: { name: "twin", namespace: other } });
    await cluster.ready("twin");
    await cluster.node.kubectl("-n", other, "wait", "--for=condition=Ready", "pod/twin");
    const two = await explain("twin");
    expect([two.code, two.stdout]).toEqual([4, ""]);
    expect(two.stderr).toContain(`${other}/twin`);
    expect((await explain(`${other}/twin`)).code).toBe(0);
  } finally {
    await cluster.node.kubectl("delete", "namespace", other, "--wait=false");
  }
  const away = await explain("twin", "--root-dir", "/nowhere");
  expect([away.code, away.stdout]).toEqual([2, ""]);
  expect(away.stderr).toContain("/nowhere/longshore.sock");
});

test("longshore status tells of node, connections and the pods that are not as they should be", async () => {
  await cluster.apply(podManifest("well", { containers: [shell("web", IDLE)] }));
  await cluster.apply(podManifest("unwell", { containers: [shell("web", "exit 7")] }));
  await cluster.ready("well");
  const text = await eventually("status names the pod", async () => {
    const { code, stdout } = await cluster.node.exec(["longshore", "status"]);
    return code === 0 && /unwell +0\/1 +CrashLoopBackOff +[1-9]/.test(stdout) && stdout;
  });
  expect(text).toMatch(/^Node +node1: Ready \(.+\)\nAPI server +connected\nEngine +docker \d+\./);
  expect(text).not.toMatch(/ well /);
  const { stdout } = await cluster.node.exec(["longshore", "status", "-o", "json"]);
  const { pods } = JSON.parse(stdout) as { pods: readonly { name: string; ready: number }[] };
  expect(pods.find(({ name }) => name === "well")).toMatchObject({ ready: 1, phase: "Running" });
});
