import { expect, test } from "vitest";
import type { PodStatus } from "../../../src/api/types.ts";
import { type PodObserver, StartTimes } from "../../../src/pods/observer.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { makePod } from "./support.ts";

const container = (state: object) => ({
  ...{ name: "web", ready: false, restartCount: 0, image: "", imageID: "", state },
});

test.each<readonly [string, PodStatus, number]>([
  ["runs", { phase: "Running", containerStatuses: [container({ running: {} })] }, 1],
  ["runs in part", { phase: "Running", containerStatuses: [container({ waiting: {} })] }, 0],
  ["was refused", { phase: "Failed" }, 0],
  ["is over", { phase: "Succeeded", containerStatuses: [container({ terminated: {} })] }, 0],
])("a pod that %s has started or not, once", (_what, status, starts) => {
  const told: number[] = [];
  const observer = { podStarted: (seconds: number) => told.push(seconds) };
  const times = new StartTimes(new FakeClock(), observer as unknown as PodObserver);
  const pod = makePod({ containers: [{ name: "web" }] });
  times.seen(pod);
  times.look(pod.metadata.uid, status);
  times.look(pod.metadata.uid, status);
  expect(told).toHaveLength(starts);
});
