import { describe, expect, test } from "vitest";
import { Operations } from "../../../src/pods/operations.ts";

const HOOK = { podUid: "p", containerId: "c", kind: "pre-stop", now: 1, graceSeconds: 5 } as const;

/** Waits for the signal, as a hook that never ends does. */
function forever(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(new Error("given up")));
  });
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe("an operation", () => {
  test("that is given up counts as failed, so that it is not begun again", async () => {
    const operations = new Operations(() => undefined);
    operations.begin({ ...HOOK, run: forever });
    operations.cancel("p", "c", "pre-stop");
    await settled();
    expect(operations.of("p", "c")["pre-stop"]).toEqual({
      ...{ status: "failed", since: 1, graceSeconds: 5 },
    });
    expect(operations.takeError("p")).toBeUndefined();
  });

  test("that ends with an error is forgotten, and the error told once", async () => {
    const done: string[] = [];
    const operations = new Operations((podUid) => void done.push(podUid));
    const busy = new Error("busy");
    operations.begin({ ...HOOK, kind: "stop", run: () => Promise.reject(busy) });
    await settled();
    expect(operations.of("p", "c")).toEqual({});
    expect([operations.takeError("p"), operations.takeError("p")]).toEqual([busy, undefined]);
    expect(done).toEqual(["p"]);
  });

  test("gives way to a new one of its kind", async () => {
    const operations = new Operations(() => undefined);
    operations.begin({ ...HOOK, kind: "stop", run: forever });
    operations.begin({ ...HOOK, kind: "stop", now: 2, run: async () => "done" });
    await settled();
    expect(operations.of("p", "c").stop).toMatchObject({ status: "done", since: 2 });
  });
});
