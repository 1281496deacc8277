import { expect, test } from "vitest";
import { requireHost } from "../../../src/node/host-requirements.ts";

const NO_SWAP = "Filename\tType\tSize\tUsed\tPriority\n";
const SWAP = `${NO_SWAP}/dev/sda2 partition 1 0 -2\n`;

test.each([
  [{ failSwapOn: true, failCgroupV1: true }, NO_SWAP, 2, undefined],
  [{ failSwapOn: false, failCgroupV1: false }, SWAP, 1, undefined],
  [{ failSwapOn: true, failCgroupV1: false }, SWAP, 2, "/dev/sda2"],
  [{ failSwapOn: false, failCgroupV1: true }, NO_SWAP, 1, "cgroup version 1"],
] as const)(
  "%j on a host with %j and cgroup version %s: %s",
  async (wanted, swaps, version, says) => {
    const host = { readText: async () => swaps };
    const asked = requireHost(wanted, {
      host,
      runtime: { cgroupVersion: version, mapsUsers: false },
    });
    if (says === undefined) await asked;
    else await expect(asked).rejects.toThrow(says);
  },
);
