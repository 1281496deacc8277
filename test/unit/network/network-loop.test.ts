import { describe, expect, test } from "vitest";
import { LongshoreError } from "../../../src/core/errors.ts";
import type { Logger } from "../../../src/core/logger.ts";
import type { PodNetwork } from "../../../src/network/network.ts";
import { NetworkLoop } from "../../../src/network/network-loop.ts";
import { FakeClock } from "../../fakes/clock.ts";

type Call = "create" | "start" | "ready" | "repair";

/** A loop over a network that only notes what is asked of it, and fails where told to. */
function rig(failing: Partial<Record<Call, number>> = {}) {
  const clock = new FakeClock();
  const calls: Call[] = [];
  const warnings: string[] = [];
  const node: { podCidr: string | undefined } = { podCidr: undefined };
  const note = async (call: Call): Promise<void> => {
    calls.push(call);
    const left = failing[call] ?? 0;
    failing[call] = left - 1;
    if (left > 0) throw new LongshoreError("NetworkFailed", `${call} failed`);
  };
  const network = { start: () => note("start"), repair: () => note("repair") };
  const log = { warn: (_: object, text: string) => void warnings.push(text) } as unknown as Logger;
  const loop = new NetworkLoop({
    podCidr: () => node.podCidr,
    create: () => {
      calls.push("create");
      return network as unknown as PodNetwork & typeof network;
    },
    onReady: () => note("ready"),
    clock,
    log,
  });
  return { clock, calls, warnings, node, loop };
}

describe("NetworkLoop", () => {
  test("waits for a podCIDR and says so", async () => {
    const { clock, calls, loop } = rig();
    loop.start();
    await clock.advance(1_000);
    expect(calls).toEqual([]);
    expect(loop.problem).toBe("container runtime network not ready: waiting for a podCIDR");
    await loop.stop();
    expect(clock.pendingTimers).toBe(0);
  });

  test("starts the network, then what needs it, once, and repairs it each minute", async () => {
    const { clock, calls, node, loop } = rig();
    node.podCidr = "10.244.0.0/24";
    loop.start();
    await clock.advance(0);
    expect(loop.problem).toBeUndefined();
    await clock.advance(120_000);
    expect(calls).toEqual(["create", "start", "ready", "repair", "repair"]);
    await loop.stop();
  });

  test("tries again after a failure, which it says once", async () => {
    const { clock, calls, warnings, node, loop } = rig({ start: 2, ready: 1 });
    node.podCidr = "10.244.0.0/24";
    loop.start();
    await clock.advance(5_000);
    expect(loop.problem).toBe("container runtime network not ready: start failed");
    await clock.advance(10_000);
    expect(calls).toEqual(["create", "start", "start", "start", "ready", "start", "ready"]);
    expect(loop.problem).toBeUndefined();
    expect(warnings).toHaveLength(1);
    await loop.stop();
  });

  test("the third repair in a row that fails makes the network not ready until one succeeds", async () => {
    const { clock, node, loop } = rig({ repair: 3 });
    node.podCidr = "10.244.0.0/24";
    loop.start();
    await clock.advance(65_000);
    expect(loop.problem).toBeUndefined();
    await clock.advance(5_000);
    expect(loop.problem).toBe("container runtime network not ready: repair failed");
    await clock.advance(5_000);
    expect(loop.problem).toBeUndefined();
    await loop.stop();
  });
});
