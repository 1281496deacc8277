/**
 * A real KubeletServer on the loopback with certificates of its own and a scripted runtime: who gets in, logs, and
 * commands over every WebSocket sub-protocol, through the `ws` client.
 */

import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, stat, symlink, writeFile } from "node:fs/promises";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { request as httpsRequest } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Readable, Writable } from "node:stream";
import { setTimeout as wait } from "node:timers/promises";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import type { Pod, PodStatus } from "../../src/api/types.ts";
import { systemClock } from "../../src/core/clock.ts";
import { LongshoreError } from "../../src/core/errors.ts";
import { createLogger } from "../../src/core/logger.ts";
import type { PodDirectory, PodView } from "../../src/pods/directory.ts";
import type {
  ContainerUsage,
  ExecSession,
  LogOptions,
  LogRecord,
  Runtime,
  RuntimeInfo,
  RuntimeState,
  Sandbox,
} from "../../src/runtime/runtime.ts";
import { KubeletServer } from "../../src/server/kubelet-server.ts";
import { parseRoute, READ_PATHS, type Route } from "../../src/server/routes.ts";
import { AgentMetrics } from "../../src/server/stats/agent-metrics.ts";
import { SERVER_DEFAULTS } from "../support/server-defaults.ts";
import { type Pair, TestCa } from "./server-pki.ts";

const log = createLogger({ level: "silent", pretty: false, write: () => undefined });

const pod = {
  metadata: { name: "web", namespace: "default", uid: "uid-1", resourceVersion: "1" },
  spec: { containers: [{ name: "main" }, { name: "pulling" }] },
} as Pod;
const status: PodStatus = {
  containerStatuses: [
    {
      name: "main",
      image: "i",
      imageID: "",
      ready: true,
      restartCount: 0,
      containerID: "docker://abc",
      state: { running: {} },
    },
    {
      name: "pulling",
      image: "i",
      imageID: "",
      ready: false,
      restartCount: 0,
      state: { waiting: { reason: "ErrImagePull" } },
    },
  ],
};
const view: PodView = { pod, status, containers: [] };
const pods: PodDirectory = {
  find: (namespace, name) => (namespace === "default" && name === "web" ? view : undefined),
  list: () => [view],
};

/** Runs a few commands in memory: echo, cat, big, false, hang. */
class ScriptedRuntime
  implements Pick<Runtime, "logs" | "exec" | "attach" | "list" | "info" | "containerUsage">
{
  readonly logCalls: LogOptions[] = [];
  records: LogRecord[] = [];
  followUntil: Promise<void> | undefined;
  stopped = 0;
  killed = 0;
  producedBytes = 0;
  readonly sizes: string[] = [];

  async *logs(_id: string, options: LogOptions, signal: AbortSignal): AsyncIterable<LogRecord> {
    this.logCalls.push(options);
    try {
      for (const record of this.records) {
        this.producedBytes += record.data.length;
        signal.throwIfAborted();
        yield record;
      }
      if (options.follow) {
        await Promise.race([
          this.followUntil,
          new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
        ]);
      }
    } finally {
      this.stopped += 1;
    }
  }

  /** The container's own program is `cat`. */
  attach(id: string): Promise<ExecSession> {
    return this.exec(id, { command: ["cat"] });
  }

  /** A pod of the host's network, so that forwarded ports are those of the loopback. */
  async list(): Promise<RuntimeState> {
    const sandbox = { state: "ready", hostNetwork: true, ips: [], pid: 1 };
    return { sandboxes: [sandbox as unknown as Sandbox], containers: [] };
  }

  async info(): Promise<RuntimeInfo> {
    return { rootDir: "/" } as RuntimeInfo;
  }

  async containerUsage(): Promise<ContainerUsage> {
    return { writableBytes: 1, logBytes: 2 };
  }

  async exec(_id: string, request: { readonly command: readonly string[] }): Promise<ExecSession> {
    const [program, argument = ""] = request.command;
    if (program === "missing")
      throw new LongshoreError("EngineInvalid", 'exec: "missing": executable file not found');
    const exit = Promise.withResolvers<number>();
    const streams = this.#streams(program ?? "", argument, exit.resolve);
    return {
      ...streams,
      exitCode: exit.promise,
      resize: async (columns, rows) => {
        this.sizes.push(`${columns}x${rows}`);
      },
      kill: async () => {
        this.killed += 1;
        streams.stdout.destroy();
        streams.stderr.destroy();
        exit.resolve(137);
      },
    };
  }

  #streams(
    program: string,
    argument: string,
    exit: (code: number) => void,
  ): Pick<ExecSession, "stdin" | "stdout" | "stderr"> {
    const swallow = (): Writable => new Writable({ write: (_c, _e, done) => done() });
    const finished = (stdout: string[], stderr: string[], code: number) => {
      exit(code);
      return {
        stdin: swallow(),
        stdout: Readable.from(stdout.map((text) => Buffer.from(text))),
        stderr: Readable.from(stderr.map((text) => Buffer.from(text))),
      };
    };
    if (program === "echo") return finished([`${argument}\n`], [], 0);
    if (program === "fail") return finished(["out"], ["err"], 7);
    if (program === "cat") {
      const both = new PassThrough();
      both.on("end", () => exit(0));
      return { stdin: both, stdout: both, stderr: Readable.from([]) };
    }
    if (program === "big") {
      exit(0);
      return {
        stdin: swallow(),
        stdout: Readable.from(this.#blocks(Number(argument))),
        stderr: Readable.from([]),
      };
    }
    return { stdin: swallow(), stdout: new PassThrough(), stderr: new PassThrough() };
  }

  *#blocks(bytes: number): Generator<Buffer> {
    for (let sent = 0; sent < bytes; sent += 65_536) {
      this.producedBytes += 65_536;
      yield Buffer.alloc(65_536, 0x61);
    }
  }
}

const runtime = new ScriptedRuntime();
let dir: string;
let server: KubeletServer;
const certificates: Record<string, Pair> = {};

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "server-test-"));
  const ca = await TestCa.create("test-ca");
  const otherCa = await TestCa.create("other-ca");
  await writeFile(join(dir, "ca.crt"), ca.cert);
  certificates.admin = await ca.issue("CN=admin, O=system:masters");
  certificates.apiserver = await ca.issue("CN=kube-apiserver-kubelet-client");
  certificates.user = await ca.issue("CN=jane, O=dev");
  certificates.foreign = await otherCa.issue("CN=admin, O=system:masters");
  certificates.expired = await ca.issue("CN=admin, O=system:masters", "client", -1);
  certificates.serving = await ca.issue("CN=admin, O=system:masters", "server");
  server = new KubeletServer({ ...options(), runtime });
  await server.start();
});

afterAll(async () => {
  await server.stop();
  await rm(dir, { recursive: true });
});

function options(): Omit<ConstructorParameters<typeof KubeletServer>[0], "runtime"> {
  return {
    config: {
      nodeName: "node-1",
      nodeIps: ["127.0.0.1"],
      rootDir: dir,
      address: "127.0.0.1",
      port: 0,
      clientCaFile: join(dir, "ca.crt"),
      healthzBindAddress: "127.0.0.1",
      healthzPort: 0,
      ...SERVER_DEFAULTS,
    },
    pods,
    metrics: new AgentMetrics(),
    readiness: () => [],
    version: "0.0.0",
    reviews: {
      token: async (token) => (token === "good" ? { name: "prometheus", groups: [] } : undefined),
      access: async (spec) => {
        const { user, resourceAttributes: about } = spec as {
          user: string;
          resourceAttributes: Record<string, string>;
        };
        return (
          user === "kube-apiserver-kubelet-client" ||
          (user === "prometheus" && about.subresource === "metrics")
        );
      },
    },
    configuration: { kind: "KubeletConfiguration" },
    certificates: () => ({ clientRenewErrors: 0, servingRenewErrors: 0 }),
    volumeUsage: async () => [],
    probeTotals: () => [{ labels: { container: "main" }, value: 3 }],
    clock: systemClock,
    log,
  };
}

function open(
  path: string,
  as: string | undefined,
  method = "GET",
  token?: string,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    httpsRequest(
      {
        host: "127.0.0.1",
        port: server.port,
        path,
        method,
        rejectUnauthorized: false,
        agent: false,
        ...(as === undefined ? {} : certificates[as]),
        ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
      },
      resolve,
    )
      .on("error", reject)
      .end();
  });
}

async function fetchText(
  path: string,
  as: string | undefined = "apiserver",
  method = "GET",
): Promise<{ status: number; text: string }> {
  const response = await open(path, as, method);
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() };
}

async function eventually(check: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !check(); i += 1) await wait(10);
  expect(check()).toBe(true);
}

describe("who gets in", () => {
  test.each([
    ["nobody", undefined, "/healthz", 401, "Unauthorized"],
    ["nobody, for an unknown path", undefined, "/x", 401, "Unauthorized"],
    ["a certificate of another CA", "foreign", "/healthz", 401, "Unauthorized"],
    ["a serving certificate", "serving", "/healthz", 401, "Unauthorized"],
    [
      "a user without rights",
      "user",
      "/pods",
      403,
      "Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[pods proxy])\n",
    ],
    ["an administrator", "admin", "/healthz", 200, "ok"],
    ["the API server", "apiserver", "/healthz", 200, "ok"],
    ["the API server, for an unknown path", "apiserver", "/x", 404, "404: Page Not Found"],
    ["the API server, for a path trick", "apiserver", "/pods/../x", 404, "404: Page Not Found"],
  ])("%s", async (_who, as, path, code, text) => {
    // The helper's default would stand in for an explicit undefined.
    const response = await open(path, as);
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    expect(response.statusCode).toBe(code);
    expect(Buffer.concat(chunks).toString()).toBe(text);
  });

  test("an upgrade goes through the same checks", async () => {
    await expect(connect("echo", [], { as: "user" })).rejects.toThrow("403");
    await expect(connect("echo", [], { as: undefined })).rejects.toThrow("401");
  });

  test("the self-signed key is readable by root only", async () => {
    expect((await stat(join(dir, "pki", "kubelet.key"))).mode & 0o777).toBe(0o600);
  });

  test("a taken port is named with its remedy", async () => {
    const { config, ...rest } = options();
    const second = new KubeletServer({
      ...rest,
      runtime,
      config: { ...config, port: server.port },
    });
    await expect(second.start()).rejects.toMatchObject({
      code: "AddressInUse",
      message: expect.stringContaining(`127.0.0.1 port ${server.port}`),
    });
    await second.stop();
  });

  test("healthz answers on plain HTTP too, and nothing else does", async () => {
    const { config, ...rest } = options();
    const healthzPort = 20_000 + (server.port % 10_000);
    // The node's own port can be turned off, this one stays.
    const settings = { ...config, healthzPort, enableServer: false };
    const other = new KubeletServer({ ...rest, runtime, config: settings });
    await other.start();
    expect(other.port).toBe(0);
    const statusOf = (path: string): Promise<number> =>
      new Promise((resolve, reject) => {
        httpRequest({ host: "127.0.0.1", port: healthzPort, path, agent: false }, (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        })
          .on("error", reject)
          .end();
      });
    expect([await statusOf("/healthz"), await statusOf("/pods")]).toEqual([200, 404]);
    await other.stop();
  });

  test("the pods of the node are listed with their status", async () => {
    const { text } = await fetchText("/pods");
    expect(JSON.parse(text)).toMatchObject({ kind: "PodList", items: [{ status }] });
  });
});

function record(second: number, data: string): LogRecord {
  return {
    stream: "stdout",
    time: `2026-01-01T00:00:0${second}.5Z`,
    data: Buffer.from(data),
  };
}

describe("logs", () => {
  const path = "/containerLogs/default/web/main";

  test.each([
    ["everything", "", "a\nb\nc\n"],
    ["a byte limit", "?limitBytes=3", "a\nb"],
    ["a time", "?sinceTime=2026-01-01T00:00:02Z", "b\nc\n"],
    [
      "timestamps",
      "?timestamps=true&sinceTime=2026-01-01T00:00:03Z",
      "2026-01-01T00:00:03.500000000Z c\n",
    ],
  ])("with %s", async (_what, query, text) => {
    runtime.records = [record(1, "a\n"), record(2, "b\n"), record(3, "c\n")];
    expect(await fetchText(`${path}${query}`)).toEqual({ status: 200, text });
  });

  test("the tail is the runtime's part", async () => {
    await fetchText(`${path}?tailLines=1`);
    expect(runtime.logCalls.at(-1)).toEqual({ follow: false, tail: 1 });
  });

  test.each([
    ["/containerLogs/default/nope/main", 404, 'pod "nope" does not exist'],
    ["/containerLogs/default/web/nope", 404, 'container "nope" not found in pod "web"'],
    [
      "/containerLogs/default/web/pulling",
      400,
      'container "pulling" in pod "web" is waiting to start: image can\'t be pulled',
    ],
    [`${path}?tailLines=-1`, 422, '{"message": "Invalid request."}'],
    [`${path}?tailLines=x`, 400, '{"message": "Unable to decode query."}'],
  ])("%s is refused with %i", async (url, code, text) => {
    expect(await fetchText(url)).toEqual({ status: code, text });
  });

  test("a followed log ends when the container does", async () => {
    const ended = Promise.withResolvers<void>();
    runtime.followUntil = ended.promise;
    const response = await open(`${path}?follow=true`, "apiserver");
    const first = await new Promise<Buffer>((resolve) => response.once("data", resolve));
    expect(first.toString()).toContain("a\n");
    const end = new Promise((resolve) => response.once("end", resolve));
    response.resume();
    ended.resolve();
    await end;
  });

  test("a client that goes away stops the reading", async () => {
    runtime.followUntil = new Promise(() => undefined);
    const before = runtime.stopped;
    const response = await open(`${path}?follow=true`, "apiserver");
    response.destroy();
    await eventually(() => runtime.stopped === before + 1);
  });

  test("a client that does not read holds the reading up", async () => {
    runtime.records = Array.from({ length: 1024 }, () => record(1, `${"x".repeat(65_535)}\n`));
    runtime.producedBytes = 0;
    const response = await open(path, "apiserver");
    response.pause();
    await wait(500);
    expect(runtime.producedBytes).toBeLessThan(32 * 1024 * 1024);
    response.destroy();
  });
});

interface ExecClient {
  readonly socket: WebSocket;
  readonly messages: Buffer[];
  readonly closed: Promise<number>;
}

interface ConnectOptions {
  readonly as?: string | undefined;
  readonly query?: string;
  readonly quiet?: boolean;
}

function connect(
  command: string,
  protocols: string[],
  given: ConnectOptions = {},
): Promise<ExecClient> {
  const as = "as" in given ? given.as : "apiserver";
  const query = given.query ?? "&output=1&error=1";
  const socket = new WebSocket(
    `wss://127.0.0.1:${server.port}/exec/default/web/main?${command
      .split(" ")
      .map((word) => `command=${word}`)
      .join("&")}${query}`,
    protocols,
    {
      rejectUnauthorized: false,
      perMessageDeflate: false,
      ...(as === undefined ? {} : certificates[as]),
    },
  );
  const messages: Buffer[] = [];
  if (given.quiet !== true) socket.on("message", (data) => messages.push(data as Buffer));
  const closed = new Promise<number>((resolve) => socket.on("close", resolve));
  return new Promise((resolve, reject) => {
    socket.on("open", () => resolve({ socket, messages, closed }));
    socket.on("error", reject);
  });
}

/** What came on a channel, put together. */
function received({ messages }: ExecClient, channel: number, isBase64 = false): string {
  return messages
    .filter((message) => (message[0] ?? 0) - (isBase64 ? 0x30 : 0) === channel)
    .map((message) =>
      isBase64
        ? Buffer.from(message.subarray(1).toString(), "base64").toString()
        : message.subarray(1).toString(),
    )
    .join("");
}

/** What a request of each kind of route looks like; a new kind without one does not compile. */
const SAMPLES: Readonly<Record<Route["kind"], readonly (readonly [string, string, number])[]>> = {
  healthz: ["", "/ping", "/log", "/syncloop", "?verbose"].map((rest) => [
    "GET",
    `/healthz${rest}`,
    200,
  ]),
  read: READ_PATHS.map((path) => ["GET", path === "/runningpods" ? "/runningpods/" : path, 200]),
  "system-logs": [["GET", "/logs/", 200]],
  logs: [["GET", "/containerLogs/default/web/main?tailLines=0", 200]],
  run: ["", "/uid-1"].map((uid) => ["POST", `/run/default/web${uid}/main?cmd=echo`, 200]),
  exec: ["", "/uid-1"].map((uid) => ["POST", `/exec/default/web${uid}/main`, 400]),
  attach: ["", "/uid-1"].map((uid) => ["POST", `/attach/default/web${uid}/main`, 400]),
  "port-forward": ["", "/uid-1"].map((uid) => ["POST", `/portForward/default/web${uid}`, 400]),
  "method-not-allowed": [
    ["POST", "/pods", 405],
    ["DELETE", "/containerLogs/default/web/main", 405],
    ["GET", "/run/default/web/main", 405],
    ["PUT", "/exec/default/web/main", 405],
  ],
  "not-found": [
    ["GET", "/", 404],
    ["GET", "/debug/pprof/", 404],
    ["POST", "/exec/default/web", 404],
    // Other spellings of paths that are served.
    ...[
      "//metrics",
      "/stats/../metrics",
      "/./metrics",
      "/metrics/",
      "/METRICS",
      "/metrics%2fresource",
    ],
    ...["/healthz/../pods", "//pods", "/pods%2f", "/Pods", "/pods;x", "/pods%00", "/%2e%2e/pods"],
    ...["/containerLogs/default%2fweb/main/x", "/containerLogs/default/../default/web/main"],
    ...["/exec//default/web/main", "/EXEC/default/web/main", "/exec/default/web%2fmain/x"],
    ...["/logs/%2e%2e/%2e%2e/etc/passwd", "/logs/..%5cx", "/%zz"],
  ].map((sample) => (typeof sample === "string" ? ["GET", sample, 404] : sample)) as [
    string,
    string,
    number,
  ][],
};

const CREDENTIALS: readonly {
  readonly who: string;
  readonly as?: string;
  readonly token?: string;
  /** Who it is may not matter to a path that nobody may use. */
  readonly codeOf: (path: string, code: number) => number;
}[] = [
  { who: "nobody", codeOf: () => 401 },
  { who: "a foreign certificate", as: "foreign", codeOf: () => 401 },
  { who: "a server's certificate", as: "serving", codeOf: () => 401 },
  { who: "an expired certificate", as: "expired", codeOf: () => 401 },
  { who: "an expired or unknown token", token: "expired", codeOf: () => 401 },
  { who: "a user without a right", as: "user", codeOf: () => 403 },
  { who: "the API server", as: "apiserver", codeOf: (_path, code) => code },
  { who: "an administrator", as: "admin", codeOf: (_path, code) => code },
  {
    who: "a token for metrics",
    token: "good",
    codeOf: (path, code) =>
      (READ_PATHS as readonly string[]).includes(path) && path.startsWith("/metrics") ? code : 403,
  },
];

describe("every path and every credential", () => {
  test("there is a sample of each path that is read", () => {
    for (const [kind, samples] of Object.entries(SAMPLES))
      for (const [method, path] of samples)
        expect([path, parseRoute(method, path).kind]).toEqual([path, kind]);
  });

  const table = Object.values(SAMPLES)
    .flat()
    .flatMap(([method, path, code]) =>
      CREDENTIALS.map(
        ({ who, as, token, codeOf }) =>
          [method, path, who, { as, token }, codeOf(path, code)] as const,
      ),
    );

  test.each(table)("%s %s by %s", async (method, path, _who, { as, token }, code) => {
    const response = await open(path, as, method, token);
    response.destroy();
    expect(response.statusCode).toBe(code);
  });

  const upgrades = [...SAMPLES.exec, ...SAMPLES.attach, ...SAMPLES["port-forward"]].flatMap(
    ([, path]) =>
      CREDENTIALS.flatMap((credential) =>
        ["websocket", "SPDY/3.1"].map((protocol) => [protocol, path, credential] as const),
      ),
  );

  test.each(upgrades)("an upgrade to %s of %s", async (protocol, path, { as, token, codeOf }) => {
    // What is asked for names no stream or protocol, so that who may ask is told so.
    expect(await upgradeStatus(path, protocol, { as, token })).toBe(codeOf(path, 400));
  });
});

function upgradeStatus(
  path: string,
  protocol: string,
  { as, token }: { readonly as: string | undefined; readonly token: string | undefined },
): Promise<number> {
  return new Promise((resolve, reject) => {
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const options = {
      ...{ host: "127.0.0.1", port: server.port, path, rejectUnauthorized: false, agent: false },
      ...(as === undefined ? {} : certificates[as]),
      headers: { connection: "Upgrade", upgrade: protocol, ...authorization },
    } as const;
    httpsRequest(options)
      .on("response", (response) => resolve(response.resume().statusCode ?? 0))
      .on("upgrade", (response, socket) => {
        socket.destroy();
        resolve(response.statusCode ?? 0);
      })
      .on("error", reject)
      .end();
  });
}

describe("what is read in one piece", () => {
  test.each([
    ["/configz", '{"kubeletconfig":{"kind":"KubeletConfiguration"}}'],
    ["/runningpods/", '{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}'],
    ["/stats/summary", '"podRef":{"name":"web","namespace":"default","uid":"uid-1"}'],
    ["/metrics", 'kubelet_node_name{node="node-1"} 1'],
    ["/metrics", "kubelet_certificate_manager_server_ttl_seconds 31"],
    ["/metrics/resource", "node_cpu_usage_seconds_total "],
    ["/metrics/cadvisor", "machine_cpu_cores "],
    ["/metrics/probes", 'prober_probe_total{container="main"} 3'],
    ["/metrics/slis", 'kubernetes_healthcheck{name="syncloop",type="healthz"} 1'],
  ])("%s", async (path, part) => {
    const { status: code, text } = await fetchText(path);
    expect(code).toBe(200);
    expect(text).toContain(part);
  });
});

describe("the node's log files", () => {
  const get = (path: string): Promise<{ status: number; text: string }> =>
    fetchText(`/logs/${path}`, "admin");
  const folder = "/var/log/h-server-test";

  beforeAll(async () => {
    await mkdir(`${folder}/sub`, { recursive: true });
    await writeFile(`${folder}/a&b.log`, "line\n");
    await symlink("/etc", `${folder}/out`);
    await symlink("a&b.log", `${folder}/in`);
    await promisify(execFile)("mkfifo", [`${folder}/pipe`]);
  });
  afterAll(() => rm(folder, { recursive: true }));

  test.each([
    ["h-server-test/a%26b.log", 200, "line\n"],
    ["h-server-test/in", 200, "line\n"],
    ["h-server-test/", 200, '<a href="a&b.log">a&#38;b.log</a>'],
    ["h-server-test", 301, ""],
    ["h-server-test/out/passwd", 404, "404: Page Not Found"],
    ["h-server-test/pipe", 404, "404: Page Not Found"],
    ["h-server-test/none", 404, "404: Page Not Found"],
    ["h-server-test/a%26b.log/", 404, "404: Page Not Found"],
    ["%2e%2e/%2e%2e/etc/passwd", 404, "404: Page Not Found"],
  ])("%s is %i", async (path, code, part) => {
    const { status: found, text } = await get(path);
    expect(found).toBe(code);
    expect(text).toContain(part);
  });
});

describe("run", () => {
  test.each([
    ["echo hi", 200, "hi\n"],
    ["fail", 500, "command 'fail' exited with 7: outerr"],
    ["missing", 500, 'exec: "missing": executable file not found'],
  ])("%s", async (cmd, code, text) => {
    const url = `/run/default/web/main?cmd=${encodeURIComponent(cmd)}`;
    expect(await fetchText(url, "admin", "POST")).toEqual({ status: code, text });
  });
});

describe("exec over WebSocket", () => {
  test.each([
    ["v5.channel.k8s.io", false, true],
    ["v4.channel.k8s.io", false, true],
    ["v4.base64.channel.k8s.io", true, true],
    ["channel.k8s.io", false, false],
    ["base64.channel.k8s.io", true, false],
  ])("%s brings output, errors and the exit code", async (protocol, isBase64, hasJson) => {
    const client = await connect("fail", [protocol]);
    expect(await client.closed).toBe(1000);
    expect(client.socket.protocol).toBe(protocol);
    expect(received(client, 1, isBase64)).toBe("out");
    expect(received(client, 2, isBase64)).toBe("err");
    const end = received(client, 3, isBase64);
    if (!hasJson) expect(end).toContain("command terminated with non-zero exit code");
    else
      expect(JSON.parse(end)).toMatchObject({
        reason: "NonZeroExitCode",
        details: { causes: [{ reason: "ExitCode", message: "7" }] },
      });
  });

  test("no sub-protocol means the first one", async () => {
    const client = await connect("echo hi", []);
    expect(await client.closed).toBe(1000);
    expect(client.messages[0]).toEqual(Buffer.of(1));
    expect(received(client, 1)).toBe("hi\n");
    expect(received(client, 3)).toBe("");
  });

  test("only unknown sub-protocols are refused", async () => {
    await expect(connect("echo", ["v9.channel.k8s.io"])).rejects.toThrow("403");
  });

  test("v5 closes stdin without closing the connection", async () => {
    const client = await connect("cat", ["v5.channel.k8s.io"], {
      query: "&input=1&output=1&error=1",
    });
    client.socket.send(Buffer.from("\0hello"));
    client.socket.send(Buffer.of(255, 0));
    expect(await client.closed).toBe(1000);
    expect(received(client, 1)).toBe("hello");
    expect(JSON.parse(received(client, 3))).toEqual({ metadata: {}, status: "Success" });
  });

  test("16 MiB go through cat and back", async () => {
    const client = await connect("cat", ["v5.channel.k8s.io"], { query: "&input=1&output=1" });
    for (let i = 0; i < 512; i += 1)
      client.socket.send(Buffer.concat([Buffer.of(0), Buffer.alloc(32_768, i)]));
    client.socket.send(Buffer.of(255, 0));
    expect(await client.closed).toBe(1000);
    expect(received(client, 1).length).toBeGreaterThan(0);
    const bytes = client.messages
      .filter((message) => message[0] === 1)
      .reduce((sum, message) => sum + message.length - 1, 0);
    expect(bytes).toBe(16 * 1024 * 1024);
  });

  test("a terminal is resized", async () => {
    const client = await connect("hang", ["v5.channel.k8s.io"], { query: "&output=1&tty=1" });
    client.socket.send(Buffer.from('\x04{"Width":101,"Height":33}'));
    await eventually(() => runtime.sizes.includes("101x33"));
    client.socket.terminate();
  });

  test("a command that cannot start is told on the error channel", async () => {
    const client = await connect("missing", ["v5.channel.k8s.io"]);
    expect(await client.closed).toBe(1000);
    expect(JSON.parse(received(client, 3))).toMatchObject({
      status: "Failure",
      code: 500,
      message: expect.stringContaining("executable file not found"),
    });
  });

  test("64 MiB of output leave the memory flat", async () => {
    const before = process.memoryUsage().rss;
    const client = await connect(`big ${64 * 1024 * 1024}`, ["v5.channel.k8s.io"], { quiet: true });
    let bytes = 0;
    client.socket.on("message", (data) => {
      bytes += (data as Buffer)[0] === 1 ? (data as Buffer).length - 1 : 0;
    });
    expect(await client.closed).toBe(1000);
    expect(bytes).toBe(64 * 1024 * 1024);
    expect(process.memoryUsage().rss - before).toBeLessThan(64 * 1024 * 1024);
  });

  test("a client that does not read holds the command up", async () => {
    runtime.producedBytes = 0;
    const client = await connect(`big ${64 * 1024 * 1024}`, ["v5.channel.k8s.io"]);
    client.socket.pause();
    await wait(500);
    expect(runtime.producedBytes).toBeLessThan(32 * 1024 * 1024);
    client.socket.terminate();
  });

  test.each(["hang", `big ${1024 * 1024 * 1024}`])("a lost client kills `%s`", async (command) => {
    const client = await connect(command, ["v5.channel.k8s.io"]);
    const before = runtime.killed;
    client.socket.terminate();
    await eventually(() => runtime.killed > before);
  });

  test.each([
    ["base64.channel.k8s.io", "0not base64!"],
    ["v4.base64.channel.k8s.io", "xAAAA"],
    ["v5.channel.k8s.io", Buffer.of(255)],
  ])("a malformed message of %s ends the connection and the command", async (protocol, message) => {
    const client = await connect("hang", [protocol], { query: "&input=1&output=1" });
    const before = runtime.killed;
    client.socket.send(message);
    expect(await client.closed).toBe(1007);
    await eventually(() => runtime.killed > before);
  });

  test("unknown channels and data nobody asked for are ignored", async () => {
    const client = await connect("cat", ["v5.channel.k8s.io"], { query: "&input=1&output=1" });
    client.socket.send(Buffer.from("\x09nonsense"));
    client.socket.send(Buffer.from("\x01nonsense"));
    client.socket.send(Buffer.alloc(0));
    client.socket.send(Buffer.from("\x00x"));
    client.socket.send(Buffer.of(255, 0));
    expect(await client.closed).toBe(1000);
    expect(received(client, 1)).toBe("x");
  });

  test.each([
    ["/exec/default/web/main?command=x", 400, "you must specify at least 1 of"],
    ["/exec/default/nope/main?output=1", 404, "pod does not exist"],
    ["/exec/default/web/other-uid/main?output=1", 404, "pod not found"],
    ["/exec/default/web/pulling?output=1", 500, 'container not found ("pulling")'],
  ])("%s is refused before the upgrade with %i", async (url, code, text) => {
    const socket = new WebSocket(`wss://127.0.0.1:${server.port}${url}`, ["v5.channel.k8s.io"], {
      rejectUnauthorized: false,
      ...certificates.apiserver,
    });
    const response = await new Promise<IncomingMessage>((resolve) =>
      socket.on("unexpected-response", (_request, answer) => resolve(answer)),
    );
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk as Buffer);
    expect(response.statusCode).toBe(code);
    expect(Buffer.concat(chunks).toString()).toContain(text);
  });

  test("a request without an upgrade is told so", async () => {
    expect(await fetchText("/exec/default/web/main?output=1")).toEqual({
      status: 400,
      text: "Upgrade request required",
    });
  });
});
