import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Logger } from "../../../src/core/logger.ts";
import { Checkpoint, EMPTY_CHECKPOINT } from "../../../src/pods/checkpoint.ts";
import { isAtLeast } from "../../../src/pods/record.ts";
import { nextBackoff, remainingBackoff } from "../../../src/pods/restart.ts";
import { computeStatusPatch } from "../../../src/pods/status-patch.ts";
import { makePod } from "./support.ts";

const MINUTE = 60_000;

describe("restart back-off", () => {
  test.each([
    [300, [10, 20, 40, 80, 160, 300, 300]],
    [60, [10, 20, 40, 60, 60, 60, 60]],
    [1, [1, 1, 1, 1, 1, 1, 1]],
  ])("doubles from ten seconds to the longest, %s s", (longest, expected) => {
    const delays: number[] = [];
    const maxMs = longest * 1000;
    let entry = nextBackoff(undefined, { ended: 0, now: 0, maxMs });
    for (let i = 0; i < 7; i++) {
      delays.push(entry.delayMs / 1000);
      const ended = entry.since + 1000;
      const now = ended + remainingBackoff(entry, ended, ended);
      entry = nextBackoff(entry, { ended, now, maxMs });
    }
    expect(delays).toEqual(expected);
  });

  test("ends at once when the clock was set back to before the container ended", () => {
    expect(remainingBackoff({ delayMs: 10_000, since: 900_000 }, 1_000_000, 1_000)).toBe(0);
  });

  test("is forgotten after ten minutes of running, not before", () => {
    const entry = { delayMs: 40_000, since: 0 };
    expect(remainingBackoff(entry, 10 * MINUTE, 10 * MINUTE)).toBe(40_000);
    expect(remainingBackoff(entry, 10 * MINUTE + 1, 10 * MINUTE + 1)).toBe(0);
    const times = { ended: 10 * MINUTE + 1, now: 11 * MINUTE, maxMs: 5 * MINUTE };
    expect(nextBackoff(entry, times).delayMs).toBe(10_000);
  });
});

describe("the checkpoint", () => {
  const warnings: string[] = [];
  const log: Logger = {
    debug() {},
    info() {},
    warn: (_fields, message) => void warnings.push(message),
    error() {},
    child: () => log,
  };
  const data = {
    backoff: { u1: { web: { delayMs: 10_000, since: 5 } } },
    replaced: { u2: ["c1"] },
    allocated: {
      u3: { containers: { web: { limits: { cpu: "1" } } }, generation: 2, isDone: false },
    },
  };
  let dir: string;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "longshore-pods-"));
    warnings.length = 0;
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  test("comes back as it was saved, readable by its owner only", async () => {
    await new Checkpoint(dir, log).save(data);
    expect(await new Checkpoint(dir, log).load()).toEqual(data);
    expect(statSync(join(dir, "checkpoint.json")).mode & 0o777).toBe(0o600);
    expect(warnings).toEqual([]);
  });

  test("is empty when there is none", async () => {
    expect(await new Checkpoint(dir, log).load()).toEqual(EMPTY_CHECKPOINT);
    expect(warnings).toEqual([]);
  });

  test.each([
    ["cut off"],
    ['{"version":9}'],
    ['{"version":1,"backoff":{"u":{"c":{}}}}'],
    ["{}"],
    ["null"],
    ['{"version":1,"backoff":{},"replaced":{"u":7}}'],
    ['{"version":1,"backoff":{},"allocated":{"u":{"containers":{"web":7},"generation":1}}}'],
    [
      '{"version":1,"backoff":{},"allocated":{"u":{"containers":{"web":{"limits":{"cpu":"x"}}},"generation":1,"isDone":true}}}',
    ],
  ])("that says %s costs a warning and is begun anew", async (text) => {
    writeFileSync(join(dir, "checkpoint.json"), text);
    const checkpoint = new Checkpoint(dir, log);
    expect(await checkpoint.load()).toEqual(EMPTY_CHECKPOINT);
    expect(warnings).toHaveLength(1);
    await checkpoint.save(data);
    expect(await new Checkpoint(dir, log).load()).toEqual(data);
  });
});

describe("the status patch", () => {
  const pod = makePod();
  const ready = { type: "Ready", status: "True", lastTransitionTime: "2026-01-01T00:00:00Z" };

  test("is absent when nothing differs", () => {
    const status = { phase: "Running", conditions: [ready] } as const;
    expect(
      computeStatusPatch(
        pod,
        { ...status, conditions: [...status.conditions] },
        { phase: "Running", conditions: [ready] },
      ),
    ).toBeUndefined();
  });

  test("names only what changed, and the UID", () => {
    const patch = computeStatusPatch(
      pod,
      { phase: "Pending", hostIP: "a" },
      { phase: "Running", hostIP: "a" },
    );
    expect(patch).toEqual({ metadata: { uid: "u1" }, status: { phase: "Running" } });
  });

  test("never names the conditions of others", () => {
    const foreign = { type: "DisruptionTarget", status: "True" };
    const patch = computeStatusPatch(pod, {}, { conditions: [foreign, ready] });
    expect(patch).toMatchObject({ status: { conditions: [ready] } });
  });

  test("takes away a condition of ours that no longer holds", () => {
    const resizing = { type: "PodResizeInProgress", status: "True" };
    const foreign = { type: "DisruptionTarget", status: "True" };
    const patch = computeStatusPatch(
      pod,
      { conditions: [resizing, foreign], observedGeneration: 1 },
      { conditions: [foreign], observedGeneration: 2 },
    );
    const conditions = [{ type: "PodResizeInProgress", $patch: "delete" }];
    expect(patch).toMatchObject({ status: { observedGeneration: 2, conditions } });
  });

  test("takes away a reason that no longer holds", () => {
    const unready = { ...ready, status: "False", reason: "ContainersNotReady", message: "m" };
    const patch = computeStatusPatch(pod, { conditions: [unready] }, { conditions: [ready] });
    expect(patch).toMatchObject({
      status: { conditions: [{ ...ready, reason: null, message: null }] },
    });
  });

  test.each(["podIPs", "hostIPs"])("names an address of %s that went", (field) => {
    const patch = computeStatusPatch(pod, { [field]: [{ ip: "a" }] }, { [field]: [{ ip: "b" }] });
    expect(patch).toMatchObject({
      status: { [field]: [{ ip: "a", $patch: "delete" }, { ip: "b" }] },
    });
  });
});

test.each([
  ["10", "9", true],
  ["9", "10", false],
  ["10", "10", true],
])("version %s is at least %s: %s", (a, b, expected) => {
  expect(isAtLeast(a, b)).toBe(expected);
});
