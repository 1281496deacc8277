import { expect, test } from "vitest";
import { LongshoreError } from "../../../src/core/errors.ts";
import { ImageManager } from "../../../src/pods/images.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { makePod } from "./support.ts";

test("a pod that went leaves no back-off behind", async () => {
  const clock = new FakeClock();
  const images = new ImageManager({
    runtime: {
      inspectImage: async () => undefined,
      pullImage: async () => {
        throw new LongshoreError("ImagePullFailed", "no such image");
      },
    },
    events: { record: () => undefined },
    clock,
    maxParallel: 1,
    credentials: async () => undefined,
    onDone: () => undefined,
  });
  const spec = { name: "web", image: "web:1" };
  const { signal } = new AbortController();
  const waits: unknown[] = [];
  for (let round = 0; round < 3; round++) {
    await images.ensure(makePod(), spec, signal);
    await clock.advance(5_000);
    waits.push(images.state("u1", spec));
    if (round === 1) images.forgetPod("u1");
  }
  // Five seconds of each delay of 10, 20 and again 10 s are over.
  expect(waits).toMatchObject([{ waitMs: 5_000 }, { waitMs: 15_000 }, { waitMs: 5_000 }]);
  await images.stop();
});
