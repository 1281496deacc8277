/** When a claim or a volume is held, by table. */

import { expect, test } from "vitest";
import { computeFinalizers } from "../../../src/controlplane/controllers/volume-protection.ts";

const OURS = "kubernetes.io/pvc-protection";
const deletionTimestamp = "2026-01-01T00:00:00Z";

test.each<readonly [string, object, boolean, readonly string[] | undefined]>([
  ["what is new is held", {}, false, [OURS]],
  ["what others hold is held by them too", { finalizers: ["x"] }, true, ["x", OURS]],
  ["what is held stays so", { finalizers: [OURS] }, false, undefined],
  [
    "what is deleted while it is used stays",
    { finalizers: [OURS], deletionTimestamp },
    true,
    undefined,
  ],
  ["what is used no longer goes", { finalizers: ["x", OURS], deletionTimestamp }, false, ["x"]],
  ["what goes is not held anew", { finalizers: ["x"], deletionTimestamp }, true, undefined],
])("%s", (_sentence, change, isUsed, expected) => {
  const metadata = { name: "c", namespace: "d", uid: "u", resourceVersion: "1", ...change };
  expect(computeFinalizers({ metadata }, OURS, isUsed)).toEqual(expected);
});
