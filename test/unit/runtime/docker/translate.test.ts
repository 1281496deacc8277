import { readFileSync } from "node:fs";
import type { ContainerInspectInfo } from "dockerode";
import { describe, expect, it } from "vitest";
import {
  parseEngineTime,
  translateImageInfo,
  translateImageInspect,
  translateInspect,
} from "../../../../src/runtime/docker/translate.ts";

/** Written by an Engine 20.10. */
function load<T>(name: string): T {
  const path = `${import.meta.dirname}/../../../fixtures/engine/${name}.json`;
  return JSON.parse(readFileSync(path, "utf8")) as T;
}

describe("translateInspect", () => {
  it.each([
    ["container-created", { state: "created", pid: 0, startedAt: 0, finishedAt: 0, exitCode: 0 }],
    ["container-running", { state: "running", pid: 21281, finishedAt: 0, kind: "app" }],
    ["container-exited", { state: "exited", pid: 0, exitCode: 7, kind: "init", attempt: 2 }],
    ["container-oom", { state: "exited", exitCode: 137, oomKilled: true }],
    [
      "container-start-failed",
      { state: "created", exitCode: 127, error: expect.stringContaining('exec: "/missing"') },
    ],
  ])("reads %s", (name, expected) => {
    expect(translateInspect(load(name))).toMatchObject({ role: "container", container: expected });
  });

  it.each([
    ["sandbox-ready", { state: "ready", pid: 21234, ips: ["10.1.2.3"], hostNetwork: false }],
    ["sandbox-exited", { state: "exited", pid: 0, annotations: { grace: "30" } }],
  ])("reads %s", (name, expected) => {
    expect(translateInspect(load(name))).toMatchObject({ role: "sandbox", sandbox: expected });
  });

  it("leaves out what is not ours", () => {
    expect(translateInspect(load("container-foreign")).role).toBe("foreign");
  });

  it("lets nothing end before it began, as the Engine does", () => {
    const raw = load<ContainerInspectInfo>("container-exited");
    expect(Date.parse(raw.State.FinishedAt)).toBeLessThanOrEqual(Date.parse(raw.State.StartedAt));
    const seen = translateInspect({
      ...raw,
      State: { ...raw.State, FinishedAt: "2026-11-21T10:58:52.500Z" },
    });
    const at = Date.parse("2026-11-21T10:58:52.606Z");
    expect(seen).toMatchObject({ container: { startedAt: at, finishedAt: at } });
  });

  it.each([
    ["paused", "running"],
    ["restarting", "running"],
    ["dead", "exited"],
    ["removing", "exited"],
  ])("takes %s for %s", (Status, state) => {
    const raw = load<ContainerInspectInfo>("container-running");
    const seen = translateInspect({ ...raw, State: { ...raw.State, Status } });
    expect(seen).toMatchObject({ container: { state } });
  });
});

it("the Engine's zero time is none", () => {
  expect(parseEngineTime("0001-01-01T00:00:00Z")).toBe(0);
  expect(parseEngineTime("")).toBe(0);
  expect(parseEngineTime("2026-11-21T10:58:52.402703843Z")).toBe(1_795_258_732_402);
});

describe("images", () => {
  it("are read from an inspection", () => {
    expect(translateImageInspect(load("image-inspect"))).toEqual({
      id: "sha256:daabab23f477a58e2d864b772cafe2e039b7563eaad33ebfe41c9cfd6fa701b0",
      ...{ tags: ["busybox:latest"], digests: [], sizeBytes: 1_984_203, user: "" },
    });
  });

  it("are read from a listing, without what has no name", () => {
    const [first] = load<Parameters<typeof translateImageInfo>[0][]>("image-list");
    const raw = first as Parameters<typeof translateImageInfo>[0];
    expect(translateImageInfo(raw)).toMatchObject({ digests: [], sizeBytes: 320 });
    const unnamed = { ...raw, RepoTags: ["<none>:<none>"], RepoDigests: ["<none>@<none>"] };
    expect(translateImageInfo(unnamed)).toMatchObject({ tags: [], digests: [] });
  });
});
