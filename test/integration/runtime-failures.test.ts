/** An Engine that fails, and callers that give up in the middle: nothing hangs, and nothing is left behind. */

import { readlinkSync } from "node:fs";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { createLogger } from "../../src/core/logger.ts";
import type { PodIdentity } from "../../src/runtime/runtime.ts";
import { containerOf, makePod, sandboxOf } from "../builders/runtime.ts";
import { EngineProxy } from "../support/engine-proxy.ts";
import { createReal, never, removePod } from "../support/runtime.ts";

const runtime = createReal();
const pods: PodIdentity[] = [];
const proxies: EngineProxy[] = [];

afterEach(async () => {
  for (const proxy of proxies.splice(0)) proxy.close();
  for (const pod of pods.splice(0)) await removePod(runtime, pod);
});

function track(name: string): PodIdentity {
  const pod = makePod(name);
  pods.push(pod);
  return pod;
}

async function openProxy(): Promise<EngineProxy> {
  const proxy = new EngineProxy();
  proxies.push(proxy);
  await proxy.open();
  return proxy;
}

async function timed<T>(work: Promise<T>): Promise<number> {
  const start = performance.now();
  await work;
  return performance.now() - start;
}

const unreachable = { code: "EngineUnreachable" };

describe("an Engine that goes away", () => {
  it("is told at once, whether asked or waited for", async () => {
    const proxy = await openProxy();
    const through = createReal(proxy.endpoint);
    const pod = track("gone");
    const sandbox = await through.runSandbox(sandboxOf(pod), never());
    const command = ["sh", "-c", "trap '' TERM; echo up; while sleep 1; do :; done"];
    const id = await through.createContainer(containerOf(pod, sandbox.id, { command }), never());
    await through.startContainer(id, never());
    const waiting = expect(through.stopContainer(id, 30, never())).rejects.toMatchObject(
      unreachable,
    );
    const logs = through.logs(id, { follow: true }, never())[Symbol.asyncIterator]();
    await logs.next();
    const reading = expect(logs.next()).rejects.toMatchObject(unreachable);
    const running = expect(
      through.execSync(id, ["sleep", "7781"], 60_000, never()),
    ).rejects.toMatchObject(unreachable);
    await wait(300);
    proxy.close();
    const asking = expect(through.list(never())).rejects.toMatchObject(unreachable);
    expect(await timed(Promise.all([waiting, reading, running, asking]))).toBeLessThan(1000);
    const first = createReal(proxy.endpoint).info(never());
    await expect(first).rejects.toMatchObject(unreachable);
  });

  it("and comes back is heard again, beginning with resync", async () => {
    const proxy = await openProxy();
    const seen: string[] = [];
    const listening = new AbortController();
    const watch = createReal(proxy.endpoint).watchEvents(
      (event) => seen.push(event.kind === "resync" ? "resync" : event.podUid),
      listening.signal,
    );
    for (let connections = 1; connections <= 3; connections++) {
      while (seen.filter((kind) => kind === "resync").length < connections) await wait(10);
      proxy.cut();
    }
    while (seen.filter((kind) => kind === "resync").length < 4) await wait(10);
    const pod = track("heard");
    await runtime.runSandbox(sandboxOf(pod), never());
    while (!seen.includes(pod.uid)) await wait(10);
    listening.abort();
    await watch;
  });

  it("or never answers holds nobody who gives up", async () => {
    const proxy = await openProxy();
    const through = createReal(proxy.endpoint);
    await through.info(never());
    proxy.silence();
    proxy.cut();
    // Until the pooled connections are seen to be closed.
    await wait(50);
    const giving = new AbortController();
    const calls = [
      through.list(giving.signal),
      through.runSandbox(sandboxOf(track("silent")), giving.signal),
      through.execSync("0".repeat(64), ["true"], 1000, giving.signal),
      through.logs("0".repeat(64), { follow: true }, giving.signal)[Symbol.asyncIterator]().next(),
    ].map((call) => expect(call).rejects.toMatchObject({ code: "Aborted" }));
    // The time of a command counts from the call.
    const late = through.execSync("0".repeat(64), ["true"], 100, never());
    await expect(late).rejects.toMatchObject({ code: "CommandTimeout" });
    giving.abort();
    expect(await timed(Promise.all(calls))).toBeLessThan(500);
  });
});

describe("giving up in the middle", () => {
  it.each([1, 4, 8, 15, 30, 50, 80, 110])("%d ms into a sandbox leaves none", async (ms) => {
    const pod = track(`abort-${ms}`);
    const giving = new AbortController();
    const outcome = runtime.runSandbox(sandboxOf(pod), giving.signal).then(
      () => "ready",
      (error) => error.code,
    );
    await wait(ms);
    giving.abort();
    const expected = (await outcome) === "ready" ? 1 : 0;
    expect((await runtime.list(never(), pod.uid)).sandboxes.length).toBe(expected);
    if (expected === 0) await runtime.runSandbox(sandboxOf(pod), never());
  });

  it.each([0, 1, 2, 4, 6, 8])("%d ms into a create leaves no container", async (ms) => {
    const pod = track(`create-${ms}`);
    const sandbox = await runtime.runSandbox(sandboxOf(pod), never());
    const giving = new AbortController();
    const outcome = runtime.createContainer(containerOf(pod, sandbox.id), giving.signal).then(
      () => 1,
      () => 0,
    );
    if (ms > 0) await wait(ms);
    giving.abort();
    const expected = await outcome;
    expect((await runtime.list(never(), pod.uid)).containers.length).toBe(expected);
  });
});

it("an Engine that refuses SYS_ADMIN makes the namespaces itself", async () => {
  const proxy = await openProxy();
  // Keeps the length, and does not help to unshare.
  proxy.rewrite = (text) => text.replaceAll('"SYS_ADMIN"', '"NET_ADMIN"');
  const lines: string[] = [];
  const log = createLogger({ level: "warn", pretty: false, write: (line) => lines.push(line) });
  const through = createReal(proxy.endpoint, log);
  for (const name of ["first", "second"]) {
    const sandbox = await through.runSandbox(sandboxOf(track(`refused-${name}`)), never());
    expect(readlinkSync(`/proc/${sandbox.pid}/ns/net`)).not.toBe(readlinkSync("/proc/self/ns/net"));
  }
  expect(lines.map((line) => JSON.parse(line).msg)).toEqual([
    "sandboxes use network mode none, which starts slower",
  ]);
});
