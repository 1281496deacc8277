/** One suite for the fake and the real Engine (busybox:latest must be present), so that the fake stays honest. */

import { text } from "node:stream/consumers";
import { afterAll, describe, expect, it } from "vitest";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { containerOf, IMAGE, makePod, sandboxOf } from "../builders/runtime.ts";
import { FakeRuntime } from "../fakes/runtime.ts";
import { createReal, removePod } from "../support/runtime.ts";

const { signal } = new AbortController();

describe.each([
  {
    title: "fake",
    runtime: new FakeRuntime({ now: () => Date.now(), images: [IMAGE] }) as Runtime,
  },
  { title: "Engine", runtime: createReal() },
])("Runtime: $title", ({ runtime }) => {
  const pod = makePod("contract");
  const imageId = async () => (await runtime.inspectImage(IMAGE, signal))?.id ?? "";

  afterAll(() => removePod(runtime, pod));

  it("runs a pod from sandbox to removal", async () => {
    await runtime.prepare(signal);
    const sandbox = await runtime.runSandbox(sandboxOf(pod), signal);
    expect(sandbox).toMatchObject({
      state: "ready",
      ips: ["10.1.2.3"],
      annotations: { grace: "30" },
    });
    const command = ["sh", "-c", "trap '' TERM; while sleep 1; do :; done"];
    const config = containerOf(pod, sandbox.id, { imageId: await imageId(), command });
    const left = await runtime.createContainer(config, signal);
    const id = await runtime.createContainer(config, signal);
    expect(id, "a half-made leftover gives way").not.toBe(left);
    await runtime.startContainer(id, signal);
    await runtime.startContainer(id, signal);
    const state = await runtime.list(signal, pod.uid);
    expect(state.containers).toMatchObject([{ id, state: "running", annotations: { a: "b" } }]);
    await runtime.stopContainer(id, 1, signal);
    await runtime.stopContainer(id, 1, signal);
    const [stopped] = (await runtime.list(signal, pod.uid)).containers;
    expect(stopped).toMatchObject({ state: "exited", exitCode: 137, pid: 0 });
    await runtime.removeContainer(id, signal);
    await runtime.removeContainer(id, signal);
    await runtime.stopSandbox(sandbox.id, signal);
    await runtime.stopSandbox(sandbox.id, signal);
    expect((await runtime.list(signal, pod.uid)).sandboxes[0]?.state).toBe("exited");
    await runtime.removeSandbox(sandbox.id, signal);
    await runtime.removeSandbox(sandbox.id, signal);
    await runtime.stopSandbox(sandbox.id, signal);
    expect(await runtime.list(signal, pod.uid)).toEqual({ sandboxes: [], containers: [] });
  });

  it("does not put a second container in the place of one that runs", async () => {
    const sandbox = await runtime.runSandbox(sandboxOf(pod, { attempt: 1 }), signal);
    const config = containerOf(pod, sandbox.id, { name: "busy", imageId: await imageId() });
    const id = await runtime.createContainer(config, signal);
    await runtime.startContainer(id, signal);
    await expect(runtime.createContainer(config, signal)).rejects.toMatchObject({
      code: "EngineConflict",
    });
    await expect(runtime.runSandbox(sandboxOf(pod, { attempt: 1 }), signal)).rejects.toMatchObject({
      code: "EngineConflict",
    });
    const { containers, sandboxes } = await runtime.list(signal, pod.uid);
    expect(containers.find((one) => one.id === id)?.state).toBe("running");
    expect(sandboxes).toMatchObject([{ id: sandbox.id, state: "ready" }]);
  });

  it("gives a running container other resources, and keeps the limits it is not told of", async () => {
    const sandbox = await runtime.runSandbox(sandboxOf(pod, { attempt: 4 }), signal);
    const config = containerOf(pod, sandbox.id, { name: "resized", imageId: await imageId() });
    const id = await runtime.createContainer(config, signal);
    await runtime.startContainer(id, signal);
    const resourcesOf = async () =>
      (await runtime.list(signal, pod.uid)).containers.find((one) => one.id === id)?.resources;
    expect(await resourcesOf()).toEqual({ cpuShares: 2 });
    const limits = { cpuQuotaMicros: 5000, cpuPeriodMicros: 100_000, memoryBytes: 2 ** 26 };
    for (const memoryBytes of [2 ** 26, 2 ** 27, 2 ** 25]) {
      const wanted = { ...limits, cpuShares: 20, memoryBytes };
      await runtime.updateResources(id, wanted, signal);
      expect(await resourcesOf()).toEqual(wanted);
    }
    await runtime.updateResources(id, { cpuShares: 30 }, signal);
    expect(await resourcesOf()).toEqual({ ...limits, cpuShares: 30, memoryBytes: 2 ** 25 });
    const missing = runtime.updateResources("f".repeat(64), { cpuShares: 2 }, signal);
    await expect(missing).rejects.toMatchObject({ code: "EngineNotFound" });
    await expect(runtime.containerUsage("f".repeat(64), signal)).rejects.toMatchObject({
      code: "EngineNotFound",
    });
  });

  it("refuses a container whose sandbox is missing", async () => {
    const config = containerOf(pod, "0".repeat(64), { name: "lost", imageId: await imageId() });
    const attempt = runtime
      .createContainer(config, signal)
      .then((id) => runtime.startContainer(id, signal));
    await expect(attempt).rejects.toThrow();
  });

  it("knows what it can do to a container that does not run, or is not there", async () => {
    const sandbox = await runtime.runSandbox(sandboxOf(pod, { attempt: 2 }), signal);
    const config = containerOf(pod, sandbox.id, { name: "idle", imageId: await imageId() });
    const id = await runtime.createContainer(config, signal);
    const request = { command: ["true"], tty: false, stdin: false };
    const read = (container: string) =>
      runtime.logs(container, { follow: true }, signal)[Symbol.asyncIterator]().next();
    const conflict = { code: "EngineConflict" };
    await expect(runtime.exec(id, request, signal)).rejects.toMatchObject(conflict);
    await expect(runtime.attach(id, { stdin: true }, signal)).rejects.toMatchObject(conflict);
    await expect(runtime.execSync(id, ["true"], 1000, signal)).rejects.toMatchObject(conflict);
    await runtime.stopContainer(id, 1, signal);
    const gone = "f".repeat(64);
    const missing = { code: "EngineNotFound" };
    await expect(runtime.exec(gone, request, signal)).rejects.toMatchObject(missing);
    await expect(runtime.attach(gone, { stdin: true }, signal)).rejects.toMatchObject(missing);
    await expect(read(gone)).rejects.toMatchObject(missing);
    await expect(runtime.startContainer(gone, signal)).rejects.toMatchObject({
      code: "ContainerStartFailed",
    });
    await runtime.stopContainer(gone, 1, signal);
    await runtime.removeContainer(gone, signal);
  });

  it("joins a container's program until it ends; one that lets go ends nothing", async () => {
    const sandbox = await runtime.runSandbox(sandboxOf(pod, { attempt: 5 }), signal);
    const config = containerOf(pod, sandbox.id, { name: "joined", imageId: await imageId() });
    const id = await runtime.createContainer(config, signal);
    await runtime.startContainer(id, signal);
    const [first, second] = [
      await runtime.attach(id, { stdin: true }, signal),
      await runtime.attach(id, { stdin: false }, signal),
    ];
    await first.kill();
    expect(await first.exitCode).toBe(0);
    const { containers } = await runtime.list(signal, pod.uid);
    expect(containers.find((one) => one.id === id)?.state).toBe("running");
    await runtime.stopContainer(id, 0, signal);
    expect(await second.exitCode).toBe(0);
    expect(await Promise.all([text(second.stdout), text(second.stderr)])).toEqual(["", ""]);
  });

  it("does not start a container whose sandbox has ended", async () => {
    const sandbox = await runtime.runSandbox(sandboxOf(pod, { attempt: 3 }), signal);
    const config = containerOf(pod, sandbox.id, { name: "late", imageId: await imageId() });
    const id = await runtime.createContainer(config, signal);
    await runtime.stopSandbox(sandbox.id, signal);
    await expect(runtime.startContainer(id, signal)).rejects.toMatchObject({
      code: "ContainerStartFailed",
    });
    const { containers } = await runtime.list(signal, pod.uid);
    expect(containers.find((one) => one.id === id)?.state).not.toBe("running");
  });

  it("says why a pull failed, and checks names first", async () => {
    await expect(runtime.pullImage("runtime-missing:1", undefined, signal)).rejects.toMatchObject({
      code: "ImagePullFailed",
    });
    await expect(runtime.inspectImage("Not A Name", signal)).rejects.toMatchObject({
      code: "ImageInvalidName",
    });
    expect(await runtime.inspectImage("runtime-missing:1", signal)).toBeUndefined();
  });

  it("gives up at once with a signal that has fired", async () => {
    const fired = AbortSignal.abort();
    const attempt = runtime.runSandbox(sandboxOf(makePod("aborted")), fired);
    await expect(attempt).rejects.toMatchObject({ code: "Aborted" });
    await expect(runtime.list(fired)).rejects.toMatchObject({ code: "Aborted" });
  });

  it("says resync when it listens, and names the pod that changed", async () => {
    const watched = makePod("events");
    const seen: string[] = [];
    const watching = new AbortController();
    const heard = Promise.withResolvers<void>();
    const connected = Promise.withResolvers<void>();
    const watch = runtime.watchEvents((event) => {
      seen.push(event.kind === "resync" ? "resync" : event.podUid);
      if (event.kind === "resync") connected.resolve();
      else if (event.podUid === watched.uid) heard.resolve();
    }, watching.signal);
    await connected.promise;
    await runtime.runSandbox(sandboxOf(watched), signal);
    await heard.promise;
    await removePod(runtime, watched);
    watching.abort();
    await watch;
    expect(seen[0]).toBe("resync");
  });
});
