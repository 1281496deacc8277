/** What `longshore status` and `longshore explain` are answered, and the text of the former. */

import { describe, expect, test } from "vitest";
import { formatStatus } from "../../../src/cli/status.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import { createLocalRoutes, type LocalSources } from "../../../src/local/routes.ts";
import { type AgentStatus, computeAgentStatus } from "../../../src/local/status.ts";
import type { RuntimeInfo } from "../../../src/runtime/runtime.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { type Change, makeFacts, RUNNING, waiting } from "../pods/facts.ts";
import { makePod, NOW } from "../pods/support.ts";

const WELL = {
  ...{ nodeName: "n1", version: "0.1.0", now: NOW, problems: [] },
  watches: [{ name: "pods", isConnected: true }],
  engine: { isConnected: true, name: "docker", version: "26.1.5" },
  certificates: { clientEndsAt: NOW, servingEndsAt: NOW + 1000, problems: [] },
};
const named = (name: string, record: Change["record"], more: Change = {}) => {
  const pod = makePod({}, { name, uid: name });
  return makeFacts({ ...more, record: { pod, uid: name, ...record } });
};
const text = (changes: Partial<Parameters<typeof computeAgentStatus>[0]>): string =>
  formatStatus(computeAgentStatus({ ...WELL, pods: [], ...changes }));

describe("the status of the agent", () => {
  test("is seven lines when all is well", () => {
    expect(text({ pods: [makeFacts()] })).toBe(`Node         n1: Ready (0.1.0)
API server   connected
Engine       docker 26.1.5
Certificates client until 2026-01-01T00:10:00Z; serving until 2026-01-01T00:10:01Z
Pods         1: 1 Running
Containers   1: 1 running, 1 ready
Status       written
`);
  });

  test("names what is away and why the node is not ready", () => {
    const engine = { isConnected: false, message: "no such\nsocket" };
    const watches = [...WELL.watches, { name: "services", isConnected: false }];
    const certificates = { problems: ["client: it waits"] };
    const seen = { problems: ["no podCIDR", "no Engine"], engine, watches, certificates };
    expect(text(seen).split("\n").slice(0, 5)).toEqual([
      "Node         n1: no podCIDR; no Engine (0.1.0)",
      "API server   away: services",
      "Engine       away: no such socket",
      "Certificates no client certificate; client: it waits",
      "Pods         0",
    ]);
  });

  test("has a row for each pod that is not as it should be, and for no other", () => {
    const done = { ...RUNNING, ready: false, state: { terminated: { exitCode: 0 } } };
    const pods = [
      named("well", {}),
      named("done", { status: { phase: "Succeeded", containerStatuses: [done] } }),
      named("pulling", { status: waiting("ErrImagePull") }, { statusWrite: { state: "pending" } }),
      named("refused", { status: { phase: "Failed", reason: "NodeAffinity" } }),
      named("stuck", {}, { failure: { count: 1, at: NOW, message: "the Engine is away" } }),
      named("ending", { phase: "terminating", status: waiting("x") }),
    ];
    const lines = text({ pods }).split("\n");
    expect(lines.slice(4)).toEqual([
      "Pods         6: 2 Running, 1 Succeeded, 2 Pending, 1 Failed",
      "Containers   5: 2 running, 2 ready",
      "Status       1 pods not yet written to the API server",
      "",
      "NAMESPACE  NAME     READY  STATUS        RESTARTS  WHY",
      "ns         pulling  0/1    ErrImagePull  0         web runs",
      "ns         refused  0/0    NodeAffinity  0         web runs",
      "ns         stuck    1/1    Running       0         the Engine is away",
      "ns         ending   0/1    Terminating   0         web runs",
      "",
    ]);
  });

  test("fits one screen", () => {
    const pods = Array.from({ length: 90 }, (_, i) => named(`p${i}`, { status: waiting("x") }));
    const lines = text({ pods }).split("\n");
    expect(lines.length).toBeLessThan(32);
    expect(lines.at(-2)).toBe("and 70 more");
  });
});

describe("the routes of the local socket", () => {
  const sources = (changes: Partial<LocalSources> = {}): LocalSources => ({
    ...{ ...WELL, clock: new FakeClock(), signal: new AbortController().signal },
    pods: () => [makeFacts()],
    problems: () => [],
    watches: () => WELL.watches,
    certificates: () => WELL.certificates,
    engine: async () => ({ name: "docker", version: "26" }) as RuntimeInfo,
    ...changes,
  });
  const ask = async (path: string, changes?: Partial<LocalSources>) => {
    const route = createLocalRoutes(sources(changes))[path] ?? expect.fail("no route");
    return route(new URLSearchParams("name=ns/p"));
  };

  test("explain a pod", async () => {
    expect(await ask("/explain/pod")).toMatchObject({ status: 200, body: { name: "p" } });
    const early = { pods: () => undefined, problems: () => ["no podCIDR"] };
    expect(await ask("/explain/pod", early)).toMatchObject({ status: 503 });
  });

  test("tell the status also without pods and without an Engine", async () => {
    const away = async () => Promise.reject(new LongshoreError("EngineUnreachable", "away"));
    const { status, body } = await ask("/status", { pods: () => undefined, engine: away });
    expect(status).toBe(200);
    expect(body as AgentStatus).toMatchObject({
      pods: [],
      engine: { isConnected: false, message: "away" },
    });
  });

  test("do not wait for an Engine that hangs", async () => {
    const clock = new FakeClock();
    const asked = ask("/status", { clock, engine: () => new Promise(() => undefined) });
    await clock.advance(3_000);
    expect((await asked).body).toMatchObject({
      engine: { isConnected: false, message: "the Engine did not answer within 3 s" },
    });
  });
});
