import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { killTree, parseParent } from "../../../../src/runtime/docker/process-tree.ts";

const proc = mkdtempSync(join(tmpdir(), "runtime2-proc-"));
const containerId = "c".repeat(64);

function addProcess(pid: number, parent: number, cgroup: string): void {
  mkdirSync(join(proc, String(pid)));
  writeFileSync(join(proc, String(pid), "stat"), `${pid} (a) (b c) S ${parent} 1 1 0\n`);
  writeFileSync(join(proc, String(pid), "cgroup"), `0::/docker/${cgroup}\n`);
}

for (const [pid, parent] of [
  [5, 40],
  [10, 1],
  [20, 10],
  [30, 20],
  [40, 10],
  [50, 1],
] as const)
  addProcess(pid, parent, pid === 50 ? "other" : containerId);
afterAll(() => rmSync(proc, { recursive: true, force: true }));

async function kill(pid: number) {
  const killed: number[] = [];
  const outcome = await killTree(
    { pid, containerId },
    (one) => {
      killed.push(one);
      return true;
    },
    proc,
  );
  return { outcome, killed };
}

describe("killTree", () => {
  it("kills a command with all that came from it, parents first", async () => {
    const { outcome, killed } = await kill(10);
    expect(outcome).toBe("killed");
    expect(killed[0]).toBe(10);
    expect([...killed].sort((a, b) => a - b)).toEqual([5, 10, 20, 30, 40]);
  });

  it.each([
    ["not there", 99],
    ["another container's", 50],
  ])("touches nothing when the process is %s", async (_why, pid) => {
    expect(await kill(pid)).toEqual({ outcome: "not-visible", killed: [] });
  });

  it("finds the parent behind any name", () => {
    expect(parseParent("7 (x) S 1 ) R 42 7 7 0")).toBe(42);
  });
});
