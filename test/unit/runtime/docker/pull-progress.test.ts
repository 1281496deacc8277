import { afterEach, expect, test } from "vitest";
import { PullWatch } from "../../../../src/runtime/docker/pull-progress.ts";
import { FakeClock } from "../../../fakes/clock.ts";

const SECOND = 1000;
let clock = new FakeClock();
const reports: string[] = [];
let silences = 0;

function watch(silenceMs = 60 * SECOND): PullWatch {
  clock = new FakeClock();
  reports.length = 0;
  silences = 0;
  return new PullWatch({
    ...{ clock, silenceMs },
    onReport: (summary) => void reports.push(summary),
    onSilence: () => {
      silences += 1;
    },
  });
}

afterEach(() => expect(clock.pendingTimers).toBe(0));

test("a pull says every ten seconds how far it is", async () => {
  const pull = watch();
  await clock.advance(10 * SECOND);
  pull.onMessage({ id: "1.2", status: "Pulling from team/app" });
  for (const id of ["a", "b", "c"]) pull.onMessage({ id, status: "Pulling fs layer" });
  pull.onMessage({ id: "a", status: "Already exists" });
  const half = { current: 5_000_000, total: 10_000_000 };
  pull.onMessage({ id: "b", status: "Downloading", progressDetail: half });
  await clock.advance(10 * SECOND);
  pull.onMessage({ id: "b", status: "Extracting", progressDetail: { current: 1, total: 2 } });
  pull.onMessage({ id: "b", status: "Pull complete" });
  pull.onMessage({ status: "Digest: sha256:0a" });
  await clock.advance(9 * SECOND);
  expect(reports).toEqual(["waiting for the registry", "1 of 3 layers, 5.0 of 10.0 MB downloaded"]);
  await clock.advance(1 * SECOND);
  expect(reports[2]).toBe("2 of 3 layers, 5.0 of 10.0 MB downloaded");
  pull.stop();
});

test("silence for as long as is allowed ends it, once, and each message begins the time anew", async () => {
  const pull = watch();
  await clock.advance(59 * SECOND);
  pull.onMessage({ id: "a", status: "Waiting" });
  await clock.advance(59 * SECOND);
  expect(silences).toBe(0);
  await clock.advance(1 * SECOND);
  expect(silences).toBe(1);
  await clock.advance(600 * SECOND);
  expect(silences).toBe(1);
  pull.stop();
});

test("a pull that ended says nothing more", async () => {
  watch(SECOND).stop();
  await clock.advance(60 * SECOND);
  expect({ reports, silences }).toEqual({ reports: [], silences: 0 });
});
