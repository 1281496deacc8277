/** Steps that need no mount, on a temporary directory. */

import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { applyStep } from "../../../src/volumes/apply.ts";
import { FakeClock } from "../../fakes/clock.ts";

const context = {
  syscalls: { mount: refuse, unmount: refuse, notify: refuse },
  remote: { mount: refuse, unmount: refuse },
  clock: new FakeClock(),
  signal: new AbortController().signal,
};

async function refuse(): Promise<never> {
  throw new Error("not expected");
}

describe("make-host-directory", () => {
  let root: string;

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), "longshore-apply-"));
  });

  afterEach(() => rm(root, { recursive: true }));

  test("makes the directory and its parents, and may be repeated", async () => {
    const path = join(root, "a", "b", "c");
    for (let turn = 0; turn < 2; turn++) {
      await applyStep({ kind: "make-host-directory", path }, context);
      expect((await stat(path)).mode & 0o777).toBe(0o755);
    }
  });

  test("fails, and does not try for ever, where the kernel lets nobody make one", async () => {
    const step = { kind: "make-host-directory", path: "/proc/self/a/b" } as const;
    await expect(applyStep(step, context)).rejects.toThrow(/ENOENT|EACCES|EPERM/);
  });
});
