import { expect, test } from "vitest";
import { MemoryKeeper, OWN_MEMORY } from "../../../src/core/release-memory.ts";
import { FakeClock } from "../../fakes/clock.ts";

test("the heap is compacted when it has grown, looked at ever more seldom, and no more after the end", async () => {
  const clock = new FakeClock();
  const memory = { heap: 150, compacted: 0, released: 0 };
  const keeper = new MemoryKeeper({
    clock,
    heap: () => memory.heap,
    compactHeap: () => {
      memory.compacted++;
      memory.heap = 100;
    },
    releasePages: () => void memory.released++,
  });
  keeper.start();
  await clock.advance(29_000);
  expect(memory).toMatchObject({ compacted: 0, released: 0 });
  await clock.advance(1000);
  expect(memory).toMatchObject({ compacted: 1, released: 1 });
  memory.heap = 110;
  await clock.advance(60_000);
  expect(memory.compacted).toBe(1);
  memory.heap = 120;
  await clock.advance(120_000);
  expect(memory.compacted).toBe(2);
  const { released } = memory;
  await clock.advance(3_600_000);
  expect(memory.released - released).toBeLessThan(9);
  await keeper.stop();
  memory.heap = 1000;
  await clock.advance(3_600_000);
  expect(memory.compacted).toBe(2);
});

test("it works in any process, whatever that offers", () => {
  expect(OWN_MEMORY.compactHeap).not.toThrow();
  expect(OWN_MEMORY.releasePages).not.toThrow();
  expect(OWN_MEMORY.heap()).toBeGreaterThan(0);
});
