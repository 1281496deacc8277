import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  NO_OOM_KILLS,
  needsCount,
  noteOomKills,
  type OomRecord,
  withOomKills,
} from "../../../src/pods/oom-kills.ts";
import type { Container } from "../../../src/runtime/runtime.ts";
import { FakeNode } from "./fake-node.ts";
import { makeContainer, makePod } from "./support.ts";

const ended = (name: string, exitCode: number): Container =>
  makeContainer({ name, state: "exited", exitCode });
const live = (name: string): Container => makeContainer({ name });
const listed = (...containers: readonly Container[]) => ({ sandboxes: [], containers });
/** After a first look at what runs. */
const COUNTED: OomRecord = { ...NO_OOM_KILLS, counted: 1 };

describe("the kills of ended containers", () => {
  test.each<readonly [string, number | undefined, readonly Container[], readonly string[]]>([
    ["are of the one that ended, whatever its exit code", 2, [ended("a", 3), live("b")], ["a-0"]],
    ["are of none when there are no more than before", 1, [ended("a", 137)], []],
    ["are of those of several that were killed", 2, [ended("a", 0), ended("b", 137)], ["b-0"]],
    [
      "are of all that ended at once when none was",
      2,
      [ended("a", 0), ended("b", 1)],
      ["a-0", "b-0"],
    ],
    ["are not known where nobody counts", undefined, [ended("a", 137)], []],
  ])("%s", (_what, kills, containers, killed) => {
    const record = noteOomKills(COUNTED, listed(...containers), kills, {});
    expect([...record.killed]).toEqual(killed);
    const { containers: seen } = withOomKills(listed(...containers), record);
    expect(seen.filter(({ oomKilled }) => oomKilled).map(({ id }) => id)).toEqual(killed);
  });

  test("are asked for when something ends, and at the first look at what there is", () => {
    const state = listed(ended("a", 1), live("b"));
    expect(needsCount(NO_OOM_KILLS, listed())).toBe(false);
    expect(needsCount(NO_OOM_KILLS, listed(live("b")))).toBe(true);
    expect(needsCount(COUNTED, listed(live("b")))).toBe(false);
    expect(needsCount(COUNTED, state)).toBe(true);
    expect(needsCount(noteOomKills(COUNTED, state, 1, {}), state)).toBe(false);
  });

  test("that could not be counted are those of who had ended by then, not of the next", () => {
    const first = noteOomKills(COUNTED, listed(ended("a", 137)), undefined, {});
    const both = listed(ended("a", 137), ended("b", 0));
    expect(needsCount(first, both)).toBe(true);
    expect([...noteOomKills(first, both, 2, {}).killed]).toEqual(["a-0"]);
  });

  test("that an agent before this one told of stay told, and older ones blame nobody new", () => {
    const state = { terminated: { exitCode: 3, reason: "OOMKilled", containerID: "docker://a-0" } };
    const status = { name: "a", ready: false, restartCount: 1, image: "", imageID: "" };
    const before = { containerStatuses: [{ ...status, lastState: state }] };
    const containers = [ended("a", 3), ended("b", 137)];
    const record = noteOomKills(NO_OOM_KILLS, listed(...containers), 4, before);
    expect([...record.killed]).toEqual(["a-0"]);
    expect(record.counted).toBe(4);
  });
});

describe("a pod", () => {
  let node: FakeNode;
  beforeEach(() => {
    node = new FakeNode();
    node.runtime.images.set("web:1", "sha256:web");
    node.pods.replace([]);
  });
  afterEach(() => node.manager.stop());

  test("tells of a kill in a container that ended before anybody looked", async () => {
    node.oomKills = 1;
    node.runtime.disturb = (what) => {
      if (what === "start web")
        queueMicrotask(() => node.runtime.exit(node.runtime.byName("web")?.id ?? "", 137));
    };
    await node.start();
    node.apply(makePod({ restartPolicy: "Never", containers: [{ name: "web", image: "web:1" }] }));
    await node.run();
    const [status] = node.pods.get("ns/p")?.status?.containerStatuses ?? [];
    expect(status?.state?.terminated).toMatchObject({ reason: "OOMKilled", exitCode: 137 });
  });

  test("tells of a kill that the runtime does not know of, also after a restart of the agent", async () => {
    node.oomKills = 0;
    await node.start();
    node.apply(makePod({ restartPolicy: "Never", containers: [{ name: "web", image: "web:1" }] }));
    await node.run();
    node.oomKills = 1;
    node.runtime.exit(node.runtime.byName("web")?.id ?? "", 3);
    await node.run();
    const told = () => node.pods.get("ns/p")?.status?.containerStatuses?.[0]?.state?.terminated;
    expect(told()).toMatchObject({ reason: "OOMKilled", exitCode: 3 });
    await node.restart();
    await node.run();
    expect(told()).toMatchObject({ reason: "OOMKilled" });
  });
});
