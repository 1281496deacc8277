/** Workers and manager on turned time, with exec probes against a scripted runtime. */

import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Container, Pod } from "../../../src/api/types.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import type { Logger } from "../../../src/core/logger.ts";
import { ProbeManager } from "../../../src/probes/manager.ts";
import type { ExecResult } from "../../../src/runtime/runtime.ts";
import { FakeClock } from "../../fakes/clock.ts";

const quiet: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => quiet,
};
const pod: Pod = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web", namespace: "default", uid: "u-1", resourceVersion: "1" },
  spec: { containers: [{ name: "c", image: "i" }] },
};
const exec = (word: string) => ({ exec: { command: [word] }, periodSeconds: 10 });

let clock: FakeClock;
let runs: string[];
let answers: Map<string, () => ExecResult | Promise<ExecResult>>;
let events: string[];
let changes: number;
let manager: ProbeManager;

beforeEach(() => {
  clock = new FakeClock();
  runs = [];
  answers = new Map();
  events = [];
  changes = 0;
  manager = new ProbeManager({
    clock,
    random: () => 0.5,
    log: quiet,
    events: {
      record: (about, type, reason, message) => {
        events.push(`${type} ${reason} ${about.fieldPath}: ${message}`);
      },
    },
    onChange: () => {
      changes++;
    },
    runtime: {
      async execSync(_id, command) {
        const [word = ""] = command;
        runs.push(`${word}@${clock.monotonic() / 1000}`);
        return (await answers.get(word)?.()) ?? { exitCode: 0, output: "" };
      },
    },
  });
});

afterEach(async () => {
  await manager.stop();
  expect(clock.pendingTimers).toBe(0);
});

const fails = (output: string) => () => ({ exitCode: 1, output });

function sync(probes: Partial<Container>, age = 0, containerId = "id-1"): Container {
  const spec = { name: "c", image: "i", ...probes };
  manager.sync(pod, "10.0.0.1", [{ spec, containerId, startedAt: clock.now() - age * 1000 }]);
  return spec;
}

describe("probes of a container", () => {
  it("that has none are passed", () => {
    const spec = sync({});
    expect(manager.results("u-1", spec, "id-1")).toEqual({ isStarted: true, isReady: true });
  });

  it("begin after the initial delay since the start and go on once per period", async () => {
    const spec = sync({ readinessProbe: { ...exec("ready"), initialDelaySeconds: 15 } });
    await clock.advance(14_000);
    expect(manager.results("u-1", spec, "id-1").isReady).toBe(false);
    await clock.advance(21_000);
    expect(runs).toEqual(["ready@15", "ready@25", "ready@35"]);
    expect(manager.results("u-1", spec, "id-1").isReady).toBe(true);
    expect(changes).toBe(1);
  });

  it.each([0, -5, Number.NaN, "often"])(
    "with a period of %s run once in ten seconds",
    async (odd) => {
      const periodSeconds = odd as number;
      sync({ readinessProbe: { ...exec("ready"), periodSeconds, initialDelaySeconds: -1 } });
      await clock.advance(25_000);
      expect(runs).toEqual(["ready@0", "ready@10", "ready@20"]);
    },
  );

  it("are reported with their last words, also when those change nothing yet", async () => {
    answers.set("ready", fails("not yet"));
    sync({ readinessProbe: exec("ready") });
    expect(manager.report("u-1")).toEqual([
      { containerId: "id-1", kind: "readiness", result: "failure", streak: 0 },
    ]);
    await clock.advance(10_000);
    const last = { at: clock.now(), outcome: "failure", message: "not yet" };
    expect(manager.report("u-1")).toEqual([
      { containerId: "id-1", kind: "readiness", result: "failure", streak: 2, last },
    ]);
    answers.set("ready", () => ({ exitCode: 0, output: "a secret" }));
    await clock.advance(10_000);
    expect(manager.report("u-1")).toMatchObject([
      { result: "success", streak: 1, last: { outcome: "success", message: "" } },
    ]);
    expect(manager.report("nobody")).toEqual([]);
  });

  it("leave a container found running as it was reported until they say otherwise", async () => {
    answers.set("ready", fails("gone"));
    const spec: Container = {
      ...{ name: "c", image: "i", startupProbe: exec("up") },
      readinessProbe: { ...exec("ready"), failureThreshold: 2 },
    };
    const initial = { isReady: true, isStarted: true };
    const startedAt = clock.now() - 3_600_000;
    manager.sync(pod, "10.0.0.1", [{ spec, containerId: "id-1", startedAt, initial }]);
    expect(manager.results("u-1", spec, "id-1")).toEqual(initial);
    await clock.advance(6_000);
    expect(manager.results("u-1", spec, "id-1")).toEqual(initial);
    await clock.advance(10_000);
    expect(runs).toEqual(["ready@5", "ready@15"]);
    expect(manager.results("u-1", spec, "id-1")).toEqual({ isStarted: true, isReady: false });
  });

  it("have nothing to go by when the container was reported as not ready", () => {
    const spec: Container = { name: "c", image: "i", readinessProbe: exec("ready") };
    const initial = { isReady: false, isStarted: true };
    manager.sync(pod, "10.0.0.1", [
      { spec, containerId: "id-1", startedAt: clock.now() - 3_600_000, initial },
    ]);
    expect(manager.results("u-1", spec, "id-1").isReady).toBe(false);
  });

  it.each([
    ["an adopted container are spread over their first period", 3600, true, 0, 5],
    ["a container adopted right after its start too", 1, true, 0, 5],
    ["an adopted container keep to what is left of the initial delay", 2, true, 30, 28],
    ["a new container begin at once, however late they are told of it", 60, false, 0, 0],
    [
      "a container that the clock says starts in an hour wait no longer than they should",
      -3600,
      false,
      5,
      5,
    ],
  ])("of %s", async (_title, age, isAdopted, initialDelaySeconds, first) => {
    const spec = {
      ...{ name: "c", image: "i" },
      livenessProbe: { ...exec("live"), initialDelaySeconds },
    };
    const initial = isAdopted ? { initial: { isReady: true, isStarted: true } } : {};
    manager.sync(pod, "10.0.0.1", [
      { spec, containerId: "id-1", startedAt: clock.now() - age * 1000, ...initial },
    ]);
    await clock.advance(first * 1000);
    expect(runs).toEqual([`live@${first}`]);
  });

  it("of a restartable init container say so in their events", async () => {
    answers.set("live", fails("no heart"));
    const spec: Container = {
      name: "side",
      image: "i",
      restartPolicy: "Always",
      livenessProbe: exec("live"),
    };
    const withSidecar: Pod = { ...pod, spec: { containers: [], initContainers: [spec] } };
    manager.sync(withSidecar, "10.0.0.1", [{ spec, containerId: "s-1", startedAt: clock.now() }]);
    expect(manager.results("u-1", spec, "s-1")).toEqual({ isStarted: true, isReady: true });
    await clock.advance(20_000);
    expect(events[0]).toBe(
      "Warning Unhealthy spec.initContainers{side}: Liveness probe failed: no heart",
    );
    expect(manager.results("u-1", spec, "s-1").failure?.kind).toBe("liveness");
  });

  it("wait for the startup probe, which ends when it passed, and then run at once", async () => {
    let attempts = 0;
    answers.set("up", () => ({ exitCode: ++attempts < 3 ? 1 : 0, output: "not yet" }));
    const spec = sync({
      startupProbe: { ...exec("up"), failureThreshold: 5 },
      livenessProbe: exec("live"),
      readinessProbe: exec("ready"),
    });
    await clock.advance(15_000);
    expect(manager.results("u-1", spec, "id-1")).toEqual({ isStarted: false, isReady: false });
    await clock.advance(6_000);
    expect(runs).toEqual(["up@0", "up@10", "up@20", "live@20", "ready@20"]);
    expect(manager.results("u-1", spec, "id-1")).toEqual({ isStarted: true, isReady: true });
  });

  it("report a liveness failure once for good, and begin anew with the next instance", async () => {
    answers.set("live", fails("no heart"));
    const spec = sync({ livenessProbe: { ...exec("live"), failureThreshold: 2 } });
    await clock.advance(60_000);
    expect(runs).toEqual(["live@0", "live@10"]);
    expect(manager.results("u-1", spec, "id-1").failure).toEqual({
      kind: "liveness",
      message: "no heart",
    });
    expect(events[0]).toBe("Warning Unhealthy spec.containers{c}: Liveness probe failed: no heart");
    sync({ livenessProbe: exec("live") }, 0, "id-2");
    expect(manager.results("u-1", spec, "id-2").failure).toBeUndefined();
    await clock.advance(1_000);
    expect(runs.at(-1)).toBe("live@60");
  });

  it("that time out say so; one that cannot run changes nothing", async () => {
    answers.set("slow", () => {
      throw new LongshoreError("CommandTimeout", "late");
    });
    answers.set("broken", () => {
      throw new LongshoreError("EngineServerError", "engine says no");
    });
    const spec = sync({
      readinessProbe: { ...exec("slow"), timeoutSeconds: 2 },
      livenessProbe: { ...exec("broken"), failureThreshold: 1 },
    });
    await clock.advance(1_000);
    expect(events.sort()).toEqual([
      "Warning Unhealthy spec.containers{c}: Liveness probe errored and resulted in unknown state: engine says no",
      'Warning Unhealthy spec.containers{c}: Readiness probe failed: command timed out: "slow" timed out after 2s',
    ]);
    expect(manager.results("u-1", spec, "id-1").failure).toBeUndefined();
  });

  it("of a terminating pod go on for readiness only, also after another sync", async () => {
    const probes = { livenessProbe: exec("live"), readinessProbe: exec("ready") };
    const spec = sync(probes);
    await clock.advance(1_000);
    manager.stopPod("u-1", "readiness");
    sync(probes);
    await clock.advance(10_000);
    expect(runs).toEqual(["live@0", "ready@0", "ready@10"]);
    expect(manager.results("u-1", spec, "id-1").isReady).toBe(true);
    const before = changes;
    answers.set("ready", fails("draining"));
    await clock.advance(30_000);
    expect(manager.results("u-1", spec, "id-1")).toEqual({ isStarted: true, isReady: false });
    expect(changes).toBe(before + 1);
    manager.stopPod("u-1");
    const stopped = runs.length;
    await clock.advance(20_000);
    expect(runs).toHaveLength(stopped);
  });

  it("never overlap: a run longer than the period is waited for", async () => {
    let finish = (): void => undefined;
    answers.set("slow", () => {
      return new Promise((resolve) => {
        finish = () => resolve({ exitCode: 0, output: "" });
      });
    });
    sync({ livenessProbe: exec("slow") });
    await clock.advance(25_000);
    expect(runs).toEqual(["slow@0"]);
    finish();
    await clock.advance(0);
    await clock.advance(1);
    expect(runs).toHaveLength(2);
    finish();
    await clock.advance(0);
  });
});
