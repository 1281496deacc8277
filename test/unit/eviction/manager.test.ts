import { expect, test } from "vitest";
import type { Pod, PodStatus } from "../../../src/api/types.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import type { Exec } from "../../../src/core/exec.ts";
import { EvictionManager } from "../../../src/eviction/manager.ts";
import type { Container, ContainerUsage } from "../../../src/runtime/runtime.ts";
import { FakeClock, settle } from "../../fakes/clock.ts";
import { makeContainer, makePod } from "../pods/support.ts";

const LIMITED = { resources: { limits: { "ephemeral-storage": "1Ki" } } };
const TOO_BIG = 'Usage of EmptyDir volume "x" exceeds the limit "1Ki". ';

interface Seen {
  readonly pod: Pod;
  readonly status: PodStatus;
  readonly containers: readonly Container[];
}

function seen(uid: string, spec: Partial<Pod["spec"]>, more: Partial<Seen> = {}): Seen {
  return { pod: makePod(spec, { uid }), status: {}, containers: [], ...more };
}

const full = (uid: string, more: Partial<Seen> = {}): Seen =>
  seen(uid, { volumes: [{ name: "x", emptyDir: { sizeLimit: "1Ki" } }] }, more);

function start(pods: readonly Seen[], answers: { exec?: Exec; usage?: ContainerUsage } = {}) {
  const clock = new FakeClock();
  const calls: string[] = [];
  const evictions = new EvictionManager({
    clock,
    log: { warn: (fields: object) => calls.push(`warned ${JSON.stringify(fields)}`) } as never,
    emptyDirPath: (uid, name) => `/${uid}/${name}`,
    exec: async (command, signal) => {
      calls.push(`du ${command.args.at(-1)}`);
      return (await answers.exec?.(command, signal)) ?? { code: 1, stdout: "2\t/x\n", stderr: "" };
    },
    runtime: {
      containerUsage: async (id) => {
        calls.push(`measure ${id}`);
        if (answers.usage === undefined) throw new LongshoreError("EngineNotFound", "gone");
        return answers.usage;
      },
    },
    pods: { list: () => pods, evict: (uid, { message }) => calls.push(`evict ${uid}: ${message}`) },
  });
  evictions.start();
  const turn = async (): Promise<readonly string[]> => {
    clock.advance(10_000);
    for (let i = 0; i < 20; i++) await settle();
    return calls.splice(0);
  };
  return { turn, evictions };
}

test("only pods with a limit that still run are measured, again each time", async () => {
  const deleted = full("d");
  const { turn, evictions } = start([
    seen("free", { volumes: [{ name: "x", emptyDir: {} }] }),
    full("over", { status: { phase: "Failed" } }),
    { ...deleted, pod: makePod(deleted.pod.spec, { uid: "d", deletionTimestamp: "t" }) },
    full("big"),
  ]);
  expect(await turn()).toEqual(["du /big/x", `evict big: ${TOO_BIG}`]);
  expect(await turn()).toEqual(["du /big/x", `evict big: ${TOO_BIG}`]);
  await evictions.stop();
  expect(await turn()).toEqual([]);
});

test("of a container the newest instance counts, with layer and logs", async () => {
  const containers = [
    makeContainer({ id: "new", name: "c" }),
    makeContainer({ id: "old", name: "c" }),
  ];
  const pods = [seen("u", { containers: [{ name: "c", ...LIMITED }] }, { containers })];
  const { turn, evictions } = start(pods, { usage: { writableBytes: 1000, logBytes: 25 } });
  expect(await turn()).toEqual([
    "measure new",
    "evict u: Pod ephemeral local storage usage exceeds the total limit of containers 1Ki. ",
  ]);
  await evictions.stop();
});

test("what cannot be measured is no reason, and holds up nobody else", async () => {
  const containers = [makeContainer({ id: "gone", name: "c" })];
  const rubbish = { volumes: [{ name: "x", emptyDir: { sizeLimit: "many" } }] };
  const pods = [
    full("slow"),
    seen("rubbish", rubbish),
    seen("u", { containers: [{ name: "c", ...LIMITED }] }, { containers }),
    full("last"),
  ];
  const { turn, evictions } = start(pods, {
    exec: async ({ args }) => {
      if (args.at(-1) === "/slow/x") throw new LongshoreError("CommandTimeout", "slow");
      return { code: 0, stdout: args.at(-1) === "/last/x" ? "2 /x" : "?", stderr: "" };
    },
  });
  expect(await turn()).toEqual([
    "du /slow/x",
    expect.stringContaining('warned {"podUid":"rubbish"'),
    "measure gone",
    "du /last/x",
    `evict last: ${TOO_BIG}`,
  ]);
  await evictions.stop();
});
