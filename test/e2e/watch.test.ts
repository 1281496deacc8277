/**
 * What a watcher sees: every update of pods that start, fail, restart and die is recorded, and none may show a phase or
 * a reason that does not belong there. A path lists the views allowed, in order; those marked `!` must be seen.
 */

import { describe, expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();
/** Where NodeContainer.background puts what the command called `watch` writes. */
const FILE = "/var/log/watch.out";

interface Seen {
  readonly type: string;
  readonly object: {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly status: {
      readonly phase: string;
      readonly [list: string]: unknown;
    };
  };
}

interface Scenario {
  readonly name: string;
  readonly spec: object;
  /** jsonpath condition at which the pod is deleted. */
  readonly until: string;
  readonly path: readonly string[];
  /** What comes round again as long as the pod lives; the deletion may come at any point of it. */
  readonly loops?: true;
}

const LISTS = ["initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"];

/** `Running main=running`, `Pending main=waiting/ContainerCreating`; a star when it is being deleted. */
function viewOf({ object }: Seen): string {
  const { metadata, status } = object;
  const containers = LISTS.flatMap((list) =>
    ((status[list] ?? []) as { name: string; state: Record<string, { reason?: string }> }[]).map(
      ({ name, state }) => {
        const [kind = "", detail] = Object.entries(state)[0] ?? [];
        return ` ${name}=${kind}${detail?.reason === undefined ? "" : `/${detail.reason}`}`;
      },
    ),
  );
  return `${status.phase}${metadata.deletionTimestamp === undefined ? "" : "*"}${containers.join("")}`;
}

const SCENARIOS: readonly Scenario[] = [
  {
    name: "plain",
    spec: { containers: [shell("main", IDLE)] },
    until: "Ready",
    path: [
      "Pending",
      "!Pending main=waiting/ContainerCreating",
      "!Running main=running",
      "!Running* main=running",
      "!Succeeded* main=terminated/Completed",
    ],
  },
  {
    name: "two",
    spec: { containers: [shell("a", IDLE), shell("b", IDLE)] },
    until: "Ready",
    path: [
      "Pending",
      "!Pending a=waiting/ContainerCreating b=waiting/ContainerCreating",
      "Pending a=running b=waiting/ContainerCreating",
      "!Running a=running b=running",
      "!Running* a=running b=running",
      "Running* a=terminated/Completed b=running",
      "Running* a=running b=terminated/Completed",
      "!Succeeded* a=terminated/Completed b=terminated/Completed",
    ],
  },
  {
    name: "job",
    spec: { restartPolicy: "Never", containers: [shell("main", "exit 0")] },
    until: "Succeeded",
    path: [
      "Pending",
      "!Pending main=waiting/ContainerCreating",
      "Running main=running",
      "!Succeeded main=terminated/Completed",
      "!Succeeded* main=terminated/Completed",
    ],
  },
  {
    name: "killed",
    spec: { containers: [shell("main", "trap '' TERM; while true; do sleep 0.2; done")] },
    until: "Ready",
    path: [
      "Pending",
      "!Pending main=waiting/ContainerCreating",
      "!Running main=running",
      "!Running* main=running",
      "!Failed* main=terminated/Error",
    ],
  },
  {
    name: "retry",
    spec: {
      restartPolicy: "OnFailure",
      volumes: [{ name: "v", emptyDir: {} }],
      containers: [
        shell("main", "[ -e /v/x ] && exit 0; touch /v/x; exit 3", {
          volumeMounts: [{ name: "v", mountPath: "/v" }],
        }),
      ],
    },
    until: "Succeeded",
    path: [
      "Pending",
      "!Pending main=waiting/ContainerCreating",
      "Running main=running",
      "Running main=terminated/Error",
      "Running main=running",
      "!Succeeded main=terminated/Completed",
      "!Succeeded* main=terminated/Completed",
    ],
  },
  {
    name: "crash",
    loops: true,
    spec: { containers: [shell("main", "exit 1")] },
    until: "CrashLoopBackOff",
    path: [
      "Pending",
      "!Pending main=waiting/ContainerCreating",
      "Running main=running",
      "Running main=terminated/Error",
      "Running main=running",
      "Running main=terminated/Error",
      "!Running main=waiting/CrashLoopBackOff",
      "Running* main=waiting/CrashLoopBackOff",
      "Running* main=running",
      "!Failed* main=terminated/Error",
    ],
  },
  {
    name: "init",
    spec: {
      initContainers: [shell("one", "sleep 0.5"), shell("two", "true")],
      containers: [shell("main", IDLE)],
    },
    until: "Ready",
    path: [
      "Pending",
      "!Pending one=waiting/PodInitializing two=waiting/PodInitializing main=waiting/PodInitializing",
      "!Pending one=running two=waiting/PodInitializing main=waiting/PodInitializing",
      "!Pending one=terminated/Completed two=waiting/PodInitializing main=waiting/PodInitializing",
      "Pending one=terminated/Completed two=running main=waiting/PodInitializing",
      "Pending one=terminated/Completed two=terminated/Completed main=waiting/PodInitializing",
      "!Running one=terminated/Completed two=terminated/Completed main=running",
      "!Running* one=terminated/Completed two=terminated/Completed main=running",
      "!Succeeded* one=terminated/Completed two=terminated/Completed main=terminated/Completed",
    ],
  },
  {
    name: "init-fails",
    spec: {
      restartPolicy: "Never",
      initContainers: [shell("one", "exit 1")],
      containers: [shell("main", IDLE)],
    },
    until: "Failed",
    path: [
      "Pending",
      "!Pending one=waiting/PodInitializing main=waiting/PodInitializing",
      "Pending one=running main=waiting/PodInitializing",
      "!Failed one=terminated/Error main=waiting/PodInitializing",
      "!Failed* one=terminated/Error main=waiting/PodInitializing",
    ],
  },
  {
    name: "sidecar",
    spec: {
      restartPolicy: "Never",
      initContainers: [shell("side", IDLE, { restartPolicy: "Always" })],
      containers: [shell("main", "sleep 0.5")],
    },
    until: "Succeeded",
    path: [
      "Pending",
      "!Pending side=waiting/PodInitializing main=waiting/PodInitializing",
      "Pending side=running main=waiting/PodInitializing",
      "!Running side=running main=running",
      "!Running side=running main=terminated/Completed",
      "!Succeeded side=terminated/Completed main=terminated/Completed",
      "!Succeeded* side=terminated/Completed main=terminated/Completed",
    ],
  },
  {
    name: "hooks",
    spec: {
      containers: [
        shell("main", IDLE, {
          lifecycle: {
            postStart: { exec: { command: ["sleep", "0.5"] } },
            preStop: { exec: { command: ["sleep", "0.3"] } },
          },
        }),
        shell("next", IDLE),
      ],
    },
    until: "Ready",
    path: [
      "Pending",
      "!Pending main=waiting/ContainerCreating next=waiting/ContainerCreating",
      "Pending main=running next=waiting/ContainerCreating",
      "!Running main=running next=running",
      "!Running* main=running next=running",
      "Running* main=running next=terminated/Completed",
      "Running* main=terminated/Completed next=running",
      "!Succeeded* main=terminated/Completed next=terminated/Completed",
    ],
  },
  {
    name: "typo",
    loops: true,
    spec: { containers: [{ ...shell("main", IDLE), image: "no-such-image:1" }] },
    until: "ImagePullBackOff",
    path: [
      "Pending",
      "!Pending main=waiting/ContainerCreating",
      "!Pending main=waiting/ErrImagePull",
      "!Pending main=waiting/ImagePullBackOff",
      "Pending* main=waiting/ImagePullBackOff",
      "Pending* main=waiting/ErrImagePull",
      "Pending* main=waiting/ContainerCreating",
      "!Failed* main=terminated/ContainerStatusUnknown",
    ],
  },
];

/** The views of one pod without repetitions. */
function historyOf(events: readonly Seen[], name: string): readonly string[] {
  const views = events.filter(({ object }) => object.metadata.name === name).map(viewOf);
  return views.filter((view, index) => view !== views[index - 1]);
}

/** What of the history is not on the path from where the one before it was. */
function strayOf(history: readonly string[], { path, loops }: Scenario): readonly string[] {
  const allowed = path.map((view) => view.replace(/^!/, ""));
  let at = 0;
  return history.filter((view) => {
    const again = loops === true && !view.includes("*") ? allowed.indexOf(view) : -1;
    const found = Math.max(allowed.indexOf(view, at), again);
    if (found >= 0) at = found;
    return found < 0;
  });
}

/** One update a line; the last may still be in the writing. */
function parse(text: string): readonly Seen[] {
  const lines = text.slice(0, text.lastIndexOf("\n") + 1).split("\n");
  return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as Seen);
}

describe("the updates of a pod", () => {
  test("show no phase and no reason that does not belong there", async () => {
    const { node, namespace } = cluster;
    await node.background(
      "watch",
      `kubectl -n ${namespace} get pods --watch --output-watch-events -o json`,
    );
    await cluster.apply(...SCENARIOS.map(({ name, spec }) => podManifest(name, spec)));
    const read = async (): Promise<readonly Seen[]> =>
      parse((await node.exec(["cat", FILE])).stdout);
    for (const { name, until } of SCENARIOS) {
      await cluster.until(name, until, (pod) => {
        const waiting = pod.status.containerStatuses?.[0]?.state.waiting?.reason;
        const isReady = pod.status.conditions.some(
          ({ type, status }) => type === "Ready" && status === "True",
        );
        return pod.status.phase === until || waiting === until || (until === "Ready" && isReady);
      });
    }
    await cluster.kubectl("delete", "pods", "--all", "--wait=false");
    for (const { name } of SCENARIOS) await cluster.gone(name);
    const events = await eventually("the watch has seen the last pod go", async () => {
      const seen = await read();
      const deleted = seen.filter(({ type }) => type === "DELETED");
      return deleted.length === SCENARIOS.length && seen;
    });
    await node.kill("watch");
    const problems = SCENARIOS.flatMap((scenario) => {
      const { name, path } = scenario;
      const history = historyOf(events, name);
      const stray = strayOf(history, scenario);
      const required = path.filter((view) => view.startsWith("!")).map((view) => view.slice(1));
      const missing = required.filter((view) => !history.includes(view));
      return stray.length + missing.length === 0 ? [] : [{ name, stray, missing, history }];
    });
    expect(problems).toEqual([]);
  }, 120_000);
});
