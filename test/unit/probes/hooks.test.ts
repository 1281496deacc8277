/** Lifecycle hooks against a scripted runtime and on turned time; those over the network are in test/integration. */

import { beforeEach, describe, expect, it } from "vitest";
import type { LifecycleHandler, Pod } from "../../../src/api/types.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import { createHookRunner } from "../../../src/probes/hooks.ts";
import type { ExecResult } from "../../../src/runtime/runtime.ts";
import { FakeClock } from "../../fakes/clock.ts";

const container = { name: "c", image: "i" };
const pod: Pod = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "web", namespace: "default", uid: "u-1", resourceVersion: "1" },
  spec: { containers: [container] },
};
const WHOSE = 'for Container "c" in Pod "web_default(u-1)" failed - error:';

let clock: FakeClock;
let answer: () => Promise<ExecResult>;
let commands: string[];

beforeEach(() => {
  clock = new FakeClock();
  commands = [];
  answer = async () => ({ exitCode: 0, output: "" });
});

function run(handler: LifecycleHandler, signal = new AbortController().signal, podIp = "10.0.0.1") {
  const runner = createHookRunner({
    clock,
    runtime: {
      execSync: (id, command, timeoutMs) => {
        commands.push(`${id} ${command.join(" ")} ${timeoutMs}`);
        return answer();
      },
    },
    events: { record: () => expect.unreachable() },
  });
  return runner.run(handler, { pod, container, containerId: "id-1", podIp }, signal);
}

describe("a hook", () => {
  it("runs its command in the container without a time-out of its own", async () => {
    await run({ exec: { command: ["echo", "hi"] } });
    expect(commands).toEqual(["id-1 echo hi Infinity"]);
  });

  it.each<{ title: string; handler: LifecycleHandler; message: string; podIp?: string }>([
    {
      title: "whose command fails",
      handler: { exec: { command: ["sh", "-c", "x"] } },
      message: `Exec lifecycle hook ([sh -c x]) ${WHOSE} command 'sh -c x' exited with 3: no "x"\n, message: "no \\"x\\"\\n"`,
    },
    {
      title: "whose port has no number",
      handler: { httpGet: { port: "web", path: "/p" } },
      message: `HTTP lifecycle hook (/p) ${WHOSE} couldn't find port: web in container c`,
    },
    {
      title: "that has nobody to ask",
      handler: { httpGet: { port: 80 } },
      podIp: "",
      message: `HTTP lifecycle hook () ${WHOSE} failed to find networking container`,
    },
    {
      title: "of the kind that nobody runs",
      handler: { tcpSocket: { port: 80 } },
      message: 'Cannot run handler: invalid handler: {"tcpSocket":{"port":80}}',
    },
    { title: "of no kind", handler: {}, message: "Cannot run handler: invalid handler: {}" },
  ])("$title fails in the kubelet's words", async ({ handler, message, podIp }) => {
    answer = async () => ({ exitCode: 3, output: 'no "x"\n' });
    const outcome = run(handler, undefined, podIp);
    await expect(outcome).rejects.toMatchObject({ code: "HookFailed", message });
  });

  it("whose command the Engine cannot run says why", async () => {
    answer = () => Promise.reject(new LongshoreError("EngineConflict", "is not running"));
    await expect(run({ exec: { command: ["a"] } })).rejects.toMatchObject({
      code: "HookFailed",
      message: `Exec lifecycle hook ([a]) ${WHOSE} is not running`,
    });
  });

  it("does not hide a bug", async () => {
    answer = () => Promise.reject(new TypeError("bug"));
    await expect(run({ exec: { command: ["a"] } })).rejects.toThrow(TypeError);
  });

  it("that sleeps does so for its seconds", async () => {
    let isOver = false;
    const sleeping = run({ sleep: { seconds: 3 } }).then(() => {
      isOver = true;
    });
    await clock.advance(2_999);
    expect(isOver).toBe(false);
    await clock.advance(1);
    await sleeping;
  });

  it.each<{ title: string; handler: LifecycleHandler }>([
    { title: "a sleep", handler: { sleep: { seconds: 3 } } },
    { title: "a command", handler: { exec: { command: ["a"] } } },
  ])("$title that is given up is Aborted, before and while it runs", async ({ handler }) => {
    const giving = new AbortController();
    answer = () =>
      new Promise((_, reject) => {
        giving.signal.addEventListener("abort", () => reject(giving.signal.reason));
      });
    const outcome = expect(run(handler, giving.signal)).rejects.toMatchObject({ code: "Aborted" });
    await clock.advance(1);
    giving.abort();
    await outcome;
    commands = [];
    await expect(run(handler, giving.signal)).rejects.toMatchObject({ code: "Aborted" });
    expect(commands).toEqual([]);
    expect(clock.pendingTimers).toBe(0);
  });
});
