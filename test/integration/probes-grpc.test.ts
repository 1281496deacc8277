/** grpc probes against the servers of the common gRPC library, and against what is no gRPC server. */

import { createServer as createHttpServer } from "node:http";
import { createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Socket,
  type Server as TcpServer,
} from "node:net";
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { runProbe } from "../../src/probes/handlers/run-probe.ts";
import type { ProbeOutcome } from "../../src/probes/verdict.ts";

type Call = ServerUnaryCall<Buffer, Buffer>;
type Handler = (call: Call, answer: sendUnaryData<Buffer>) => void;

const closing: (() => void)[] = [];

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

function probe(port: number, more: object = {}, signal?: AbortSignal): Promise<ProbeOutcome> {
  const context = {
    runtime: { execSync: () => expect.unreachable() },
    ...{ clock: systemClock, podIp: "127.0.0.1", containerId: "id" },
    spec: { name: "c", image: "i" },
  };
  const { timeoutSeconds = 5, ...grpc } = more as { timeoutSeconds?: number };
  const given = signal ?? new AbortController().signal;
  return runProbe({ grpc: { port, ...grpc }, timeoutSeconds }, context, given);
}

const same = (message: Buffer): Buffer => message;

/** A server of the library with one method of a service. */
async function serve(handler: Handler, service = "grpc.health.v1.Health"): Promise<number> {
  const server = new Server();
  const codec = {
    ...{ requestSerialize: same, requestDeserialize: same },
    ...{ responseSerialize: same, responseDeserialize: same },
  };
  const path = `/${service}/Check`;
  server.addService(
    { Check: { path, requestStream: false, responseStream: false, ...codec } },
    { Check: handler },
  );
  closing.push(() => server.forceShutdown());
  return new Promise((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
}

/** What is not a gRPC server, and its open connections. */
async function listen(server: TcpServer): Promise<{ port: number; sockets: Set<Socket> }> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket: Socket) => {
    sockets.add(socket.on("error", () => undefined).on("close", () => sockets.delete(socket)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  closing.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: (server.address() as AddressInfo).port, sockets };
}

async function eventually(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await new Promise((resolve) => setImmediate(resolve));
}

describe("a health server", () => {
  it("is asked for the service as the kubelet asks", async () => {
    const seen: unknown[] = [];
    const port = await serve((call, answer) => {
      seen.push(call.request.toString("latin1"), call.metadata.get("user-agent")[0]);
      answer(null, Buffer.from([8, 1]));
    });
    const healthy = { kind: "success", message: "service healthy" };
    expect(await probe(port, { service: "liveness" })).toEqual(healthy);
    expect(await probe(port)).toEqual(healthy);
    expect(seen).toEqual(["\n\u0008liveness", "kube-probe/1.36", "", "kube-probe/1.36"]);
  });

  it.each<[string, Handler, string]>([
    [
      "is not serving",
      (_, answer) => answer(null, Buffer.from([8, 2])),
      'service unhealthy (responded with "NOT_SERVING")',
    ],
    [
      "does not know the service",
      (_, answer) => answer({ code: status.NOT_FOUND, details: "unknown sérvice, 100%" }),
      "error: health rpc probe failed: rpc error: code = NotFound desc = unknown sérvice, 100%",
    ],
    [
      "does not implement the method",
      (_, answer) => answer({ code: status.UNIMPLEMENTED, details: "no" }),
      "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): no",
    ],
    [
      "runs out of time of its own",
      (_, answer) => answer({ code: status.DEADLINE_EXCEEDED, details: "late" }),
      "timeout: health rpc did not complete within 5s",
    ],
    [
      "answers with rubbish",
      (_, answer) => answer(null, Buffer.from("rubbish")),
      "error: health rpc probe failed: rpc error: code = Internal desc = cannot parse the health check's response",
    ],
    [
      "answers with too much",
      (_, answer) => answer(null, Buffer.alloc(1_000_000)),
      "error: health rpc probe failed: rpc error: code = Unavailable desc = response larger than 10 KiB",
    ],
  ])("that %s fails", async (_title, handler, message) => {
    const port = await serve(handler);
    expect(await probe(port)).toEqual({ kind: "failure", message });
  });

  it("that has other services only fails", async () => {
    const port = await serve(() => undefined, "other.Service");
    expect((await probe(port)).message).toMatch(
      /^error: this server does not implement the grpc health protocol \(grpc.health.v1.Health\): ./,
    );
  });

  it("that does not answer fails when the time is up", async () => {
    const port = await serve(() => undefined);
    expect(await probe(port, { timeoutSeconds: 1 })).toEqual({
      kind: "failure",
      message: "timeout: health rpc did not complete within 1s",
    });
  });

  it("is let go of when the probe is given up", async () => {
    const giving = new AbortController();
    let isCancelled = false;
    const port = await serve((call) => {
      call.on("cancelled", () => {
        isCancelled = true;
      });
      giving.abort();
    });
    await expect(probe(port, {}, giving.signal)).rejects.toMatchObject({ code: "Aborted" });
    await eventually(() => isCancelled);
  });
});

describe("a port without a gRPC server", () => {
  const failedToConnect = (port: number) => ({
    kind: "failure",
    message: `timeout: failed to connect service "127.0.0.1:${port}" within 1s: context deadline exceeded`,
  });

  it("where nobody listens is tried until the time is up", async () => {
    expect(await probe(1, { timeoutSeconds: 1 })).toEqual(failedToConnect(1));
  });

  it.each<[string, TcpServer]>([
    ["that hangs", createTcpServer((socket) => socket.resume())],
    ["that hangs up", createTcpServer((socket) => socket.destroy())],
    ["that speaks HTTP/1", createHttpServer((_request, response) => response.end("hi"))],
    ["that speaks first", createTcpServer((socket) => socket.resume().end("220 hello\r\n"))],
  ])("%s fails when the time is up, and no connection is left", async (_title, server) => {
    const { port, sockets } = await listen(server);
    expect(await probe(port, { timeoutSeconds: 1 })).toEqual(failedToConnect(port));
    await eventually(() => sockets.size === 0);
  });

  it("is connected to once it listens, if that is in time", async () => {
    const { port } = await listen(createTcpServer());
    for (const close of closing.splice(0)) close();
    const probing = probe(port, { timeoutSeconds: 30 });
    const server = createHttp2Server();
    server.on("stream", answerServing);
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    closing.push(() => server.close());
    expect(await probing).toEqual({ kind: "success", message: "service healthy" });
  });

  it.each<[string, (stream: ServerHttp2Stream) => void, string]>([
    [
      "but an HTTP/2 server without the path",
      (stream) => stream.respond({ ":status": 404 }, { endStream: true }),
      "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unexpected HTTP status code received from server: 404 (Not Found)",
    ],
    [
      "but an HTTP/2 server in trouble",
      (stream) => stream.respond({ ":status": 503 }, { endStream: true }),
      "error: health rpc probe failed: rpc error: code = Unavailable desc = unexpected HTTP status code received from server: 503 (Service Unavailable)",
    ],
    [
      "but an HTTP/2 server that answers without trailers",
      (stream) => {
        stream.respond({ ":status": 200 });
        stream.end("hi");
      },
      "error: health rpc probe failed: rpc error: code = Internal desc = server closed the stream without sending trailers",
    ],
    [
      "but one that goes away",
      (stream) => stream.session?.destroy(),
      "error: health rpc probe failed: rpc error: code = Unavailable desc = error reading from server: EOF",
    ],
  ])("%s fails", async (_title, answer, message) => {
    const server = createHttp2Server();
    server.on("stream", answer);
    server.on("sessionError", () => undefined);
    const { port, sockets } = await listen(server);
    expect(await probe(port)).toEqual({ kind: "failure", message });
    await eventually(() => sockets.size === 0);
  });
});

function answerServing(stream: ServerHttp2Stream): void {
  stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
  stream.end(Buffer.from([0, 0, 0, 0, 2, 8, 1]));
}
