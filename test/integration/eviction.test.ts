/** What the eviction measures: directories by the real du(1), containers by a real Engine. */

import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { createExec } from "../../src/core/exec.ts";
import { measurePod } from "../../src/eviction/measure.ts";
import type { Container } from "../../src/runtime/runtime.ts";
import { pod as makeObject } from "../builders/objects.ts";
import { containerOf, makePod, sandboxOf } from "../builders/runtime.ts";
import { createReal, never, removePod } from "../support/runtime.ts";

const MI = 1024 ** 2;
const runtime = createReal();
const identity = makePod("eviction");
let dir = "";

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "h-eviction-"));
});

afterAll(async () => {
  await removePod(runtime, identity);
  await rm(dir, { recursive: true, force: true });
});

const options = {
  exec: createExec(systemClock),
  runtime,
  emptyDirPath: (_podUid: string, volume: string) => join(dir, volume),
};

test("an emptyDir is what its files take, at any depth, without what links lead to", async () => {
  const deep = join(dir, "x", ...Array.from({ length: 60 }, () => "d"));
  await mkdir(deep, { recursive: true });
  await mkdir(join(dir, "elsewhere"));
  await writeFile(join(dir, "elsewhere", "f"), Buffer.alloc(8 * MI, 1));
  await writeFile(join(deep, "a\nname"), Buffer.alloc(2 * MI, 1));
  await symlink(join(dir, "elsewhere"), join(dir, "x", "link"));
  const object = makeObject((made) => {
    made.spec.volumes = [
      { name: "x", emptyDir: {} },
      { name: "absent", emptyDir: {} },
    ];
  });
  const { emptyDirs } = await measurePod(options, { pod: object, containers: [] }, never());
  expect(emptyDirs.get("x")).toBeGreaterThanOrEqual(2 * MI);
  expect(emptyDirs.get("x")).toBeLessThan(4 * MI);
  expect(emptyDirs.get("absent")).toBe(0);
});

test("a container is its writable layer and its logs, without mounts; one that is gone is nothing", async () => {
  await mkdir(join(dir, "mounted"));
  const sandboxId = (await runtime.runSandbox(sandboxOf(identity), never())).id;
  const script = `dd if=/dev/zero of=/f bs=1M count=3; dd if=/dev/zero of=/m/f bs=1M count=9; yes | head -c 20000`;
  const id = await runtime.createContainer(
    containerOf(identity, sandboxId, {
      command: ["sh", "-c", script],
      mounts: [
        {
          ...{ hostPath: join(dir, "mounted"), containerPath: "/m" },
          ...{ readOnly: false, propagation: "private" },
        },
      ],
    }),
    never(),
  );
  await runtime.startContainer(id, never());
  for await (const _ of runtime.logs(id, { follow: true }, never()));
  const { writableBytes, logBytes } = await runtime.containerUsage(id, never());
  expect(writableBytes).toBeGreaterThanOrEqual(3 * MI);
  expect(writableBytes).toBeLessThan(4 * MI);
  expect(logBytes).toBeGreaterThan(20_000);
  const object = makeObject((made) => {
    made.spec.containers = [
      { name: "c", image: "i", resources: { limits: { "ephemeral-storage": "1Mi" } } },
    ];
  });
  const containers = [
    { id, name: "c" },
    { id: "0".repeat(64), name: "gone" },
  ] as unknown as readonly Container[];
  const usage = await measurePod(options, { pod: object, containers }, never());
  expect([...usage.containers]).toEqual([
    ["c", writableBytes + logBytes],
    ["gone", 0],
  ]);
});
