import { expect, test } from "vitest";
import type { ClaimedVolume } from "../../../src/volumes/claims.ts";
import { measurableOf } from "../../../src/volumes/usage.ts";

test.each([
  [false, "file-system"],
  [true, "remote"],
])("a local volume on a file server's mount (%s) is asked as a %s", (isRemote, how) => {
  const desired = { kind: "host-path", name: "v", path: "/mnt/v", type: "Directory" } as const;
  const claimed: ClaimedVolume = {
    ...({ kind: "host", source: { path: "/mnt/v" }, isOwned: true } as const),
    ...{ name: "pv", claim: "c", readOnly: false, isForOnePod: false },
  };
  const measurable = measurableOf(desired, claimed, isRemote);
  expect(measurable).toEqual({ name: "v", path: "/mnt/v", how, claim: "c" });
});
