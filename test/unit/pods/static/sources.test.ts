import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Pod } from "../../../../src/api/types.ts";
import type { Logger } from "../../../../src/core/logger.ts";
import { FileSource } from "../../../../src/pods/static/file-source.ts";
import { UrlSource } from "../../../../src/pods/static/url-source.ts";
import { FakeClock } from "../../../fakes/clock.ts";

const PERIOD_MS = 20_000;

/** Files and sockets take real time, but never as long. */
function until(test: () => boolean): Promise<boolean> {
  return vi.waitUntil(test, { timeout: 4_500, interval: 5 });
}

function manifest(name: string): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name },
    spec: { containers: [{ name: "main", image: "web:1" }] },
  };
}

/** What a source told, and how often it spoke; `warnings` are the problems it logged. */
class Listener {
  readonly clock = new FakeClock();
  readonly warnings: unknown[] = [];
  readonly log: Logger = {
    debug() {},
    info() {},
    warn: (fields) => void this.warnings.push(fields),
    error() {},
    child: () => this.log,
  };
  told: readonly string[] | undefined;
  #count = 0;

  readonly onPods = (pods: readonly Pod[]): void => {
    this.told = pods.map(({ metadata }) => metadata.name);
    this.#count += 1;
  };

  /** Lets time pass until the source has looked once more. */
  async again(): Promise<void> {
    const before = this.#count;
    await this.clock.advance(PERIOD_MS);
    await until(() => this.#count > before);
  }
}

describe("a directory of manifests", () => {
  let dir: string;
  let source: FileSource;
  let heard: Listener;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "longshore-static-"));
    heard = new Listener();
  });
  afterEach(async () => {
    await source.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  function write(name: string, content: unknown): void {
    // Not watched by name: a file comes whole.
    writeFileSync(join(dir, ".draft"), JSON.stringify(content));
    renameSync(join(dir, ".draft"), join(dir, name));
  }

  async function start(path = dir): Promise<void> {
    const { clock, log, onPods } = heard;
    source = new FileSource({ path, nodeName: "n", periodMs: PERIOD_MS, clock, log, onPods });
    source.start();
    await heard.clock.advance(0);
    await until(() => heard.told !== undefined);
  }

  test("gives the pod of each file, and follows additions and removals", async () => {
    write("b.json", manifest("b"));
    write("a.json", manifest("a"));
    await start();
    expect(heard.told).toEqual(["a-n", "b-n"]);
    write("c.json", manifest("c"));
    rmSync(join(dir, "a.json"));
    await heard.again();
    expect(heard.told).toEqual(["b-n", "c-n"]);
    expect(heard.warnings).toEqual([]);
  });

  test("sees a change at once, without waiting for its next look", async () => {
    await start();
    write("a.json", manifest("a"));
    await until(() => (heard.clock.nextTimerInMs ?? PERIOD_MS) < 1_000);
    await heard.clock.advance(1_000);
    await until(() => heard.told?.length === 1);
  });

  test("keeps a pod while its file is half written, and ends it when the file stays broken", async () => {
    write("a.json", manifest("a"));
    await start();
    write("a.json", { apiVersion: "v1" });
    await until(() => (heard.clock.nextTimerInMs ?? PERIOD_MS) < 1_000);
    await heard.clock.advance(1_000);
    await until(() => heard.warnings.length === 1);
    expect(heard.told).toEqual(["a-n"]);
    await heard.again();
    expect(heard.told).toEqual([]);
    expect(heard.warnings).toHaveLength(1);
  });

  test("passes over what is no manifest, with one line for each", async () => {
    write("good.json", manifest("good"));
    write(".hidden.json", manifest("hidden"));
    mkdirSync(join(dir, "directory"));
    symlinkSync("loop", join(dir, "loop"));
    symlinkSync("directory", join(dir, "to-directory"));
    symlinkSync("/nowhere", join(dir, "dangling"));
    execFileSync("mkfifo", [join(dir, "fifo")]);
    writeFileSync(join(dir, "big"), "");
    truncateSync(join(dir, "big"), 11 * 1024 * 1024);
    await start();
    await heard.again();
    expect(heard.told).toEqual(["good-n"]);
    expect(
      heard.warnings.map((fields) => (fields as { path: string }).path.split("/").at(-1)),
    ).toEqual(["big", "fifo", "loop", "to-directory"]);
  });

  test("may be one file", async () => {
    write("a.json", manifest("a"));
    write("b.json", manifest("b"));
    await start(join(dir, "a.json"));
    expect(heard.told).toEqual(["a-n"]);
    rmSync(join(dir, "a.json"));
    await heard.again();
    expect(heard.told).toEqual([]);
  });

  test("may not be there yet, and come later", async () => {
    const later = join(dir, "later");
    await start(later);
    expect(heard.told).toEqual([]);
    expect(heard.warnings).toHaveLength(1);
    mkdirSync(later);
    writeFileSync(join(later, "a.json"), JSON.stringify(manifest("a")));
    await heard.again();
    expect(heard.told).toEqual(["a-n"]);
  });

  test("that cannot be read takes no pod away", async () => {
    const path = join(dir, "pods");
    mkdirSync(path);
    writeFileSync(join(path, "a.json"), JSON.stringify(manifest("a")));
    await start(path);
    rmSync(path, { recursive: true });
    symlinkSync("pods", path);
    heard.told = undefined;
    await heard.clock.advance(PERIOD_MS);
    await until(() => heard.warnings.length === 1);
    expect(heard.told).toBeUndefined();
  });
});

describe("a URL of manifests", () => {
  let server: Server;
  let source: UrlSource;
  let heard: Listener;
  let answer: { status: number; body: string };

  beforeEach(async () => {
    heard = new Listener();
    server = createServer((request, response) => {
      response.statusCode = request.headers["x-key"] === "k, l" ? answer.status : 403;
      response.end(answer.body);
    });
    await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  });
  afterEach(async () => {
    await source.stop();
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  });

  async function start(): Promise<void> {
    const { clock, log, onPods } = heard;
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    const headers = { "X-Key": ["k", "l"] };
    source = new UrlSource({
      ...{ url, headers, nodeName: "n", periodMs: PERIOD_MS, clock, log, onPods },
    });
    source.start();
    await clock.advance(0);
  }

  function list(...names: readonly string[]): string {
    return JSON.stringify({ apiVersion: "v1", kind: "PodList", items: names.map(manifest) });
  }

  test("gives its pods, and follows what it answers", async () => {
    answer = { status: 200, body: list("a", "b") };
    await start();
    await until(() => heard.told !== undefined);
    expect(heard.told).toEqual(["a-n", "b-n"]);
    answer = { status: 200, body: JSON.stringify(manifest("c")) };
    await heard.again();
    expect(heard.told).toEqual(["c-n"]);
    answer = { status: 200, body: list() };
    await heard.again();
    expect(heard.told).toEqual([]);
  });

  test.each([
    ["an error", { status: 500, body: list() }],
    ["nothing", { status: 200, body: "" }],
    ["rubbish", { status: 200, body: "<html>" }],
    ["a list with one bad pod", { status: 200, body: list("a", "../b") }],
    ["too much", { status: 200, body: " ".repeat(11 * 1024 * 1024) }],
  ])("that answers %s takes no pod away, and is told of once", async (_what, bad) => {
    answer = { status: 200, body: list("a") };
    await start();
    await until(() => heard.told !== undefined);
    heard.told = undefined;
    answer = bad;
    await heard.clock.advance(PERIOD_MS);
    await until(() => heard.warnings.length === 1 && heard.clock.nextTimerInMs === PERIOD_MS);
    expect(heard.told).toBeUndefined();
    answer = { status: 200, body: list("a", "c") };
    await heard.again();
    expect(heard.told).toEqual(["a-n", "c-n"]);
    expect(heard.warnings).toHaveLength(1);
  });

  test("that never answered well says nothing", async () => {
    answer = { status: 500, body: "" };
    await start();
    await until(() => heard.warnings.length === 1);
    expect(heard.told).toBeUndefined();
  });
});
