/** The HTTP client against a server on loopback that answers what each test tells it to. */

import "reflect-metadata";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { text as readText } from "node:stream/consumers";
import * as x509 from "@peculiar/x509";
import { afterEach, describe, expect, test } from "vitest";
import type { ApiClient, WatchEvent } from "../../../src/api/client.ts";
import type { ClusterCredentials, TlsMaterial } from "../../../src/api/credentials.ts";
import { createApiClient } from "../../../src/api/http-client.ts";
import { ENDPOINT_SLICES, NODES, PODS, SECRETS } from "../../../src/api/resources.ts";
import type { Pod } from "../../../src/api/types.ts";
import { createLogger } from "../../../src/core/logger.ts";
import { pod } from "../../builders/objects.ts";
import { FakeClock } from "../../fakes/clock.ts";

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

type Answer = (response: ServerResponse, seen: Seen) => void;

const WEB = { namespace: "default", name: "web" };
const signal = new AbortController().signal;
const ends: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

function json(status: number, body: object, headers: Record<string, string> = {}): Answer {
  return (response) => {
    response.writeHead(status, { "content-type": "application/json", ...headers });
    response.end(JSON.stringify(body));
  };
}

function status(code: number, reason: string, message = "the server's words"): Answer {
  return json(code, { kind: "Status", code, reason, message });
}

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  ends.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(() => resolve()));
  });
  return (server.address() as AddressInfo).port;
}

function clientOf(server: string, tls: TlsMaterial = { rejectUnauthorized: true }) {
  const clock = new FakeClock();
  const expired: number[] = [];
  const lines: string[] = [];
  const credentials: ClusterCredentials = {
    server: new URL(server),
    current: async () => ({ tls, authorization: "Bearer hunter2" }),
    expire: () => void expired.push(1),
    close: () => undefined,
  };
  const log = createLogger({ level: "debug", pretty: false, write: (line) => lines.push(line) });
  const random = (): number => 0.5;
  const client = createApiClient({ credentials, clock, random, log, userAgent: "longshore/test" });
  ends.push(() => client.close());
  return { client, clock, expired, lines };
}

/** A server that gives `answers` one after the other. */
async function setUp(...answers: readonly Answer[]) {
  const seen: Seen[] = [];
  const sockets = new Set<unknown>();
  const server = createServer(async (request, response) => {
    sockets.add(request.socket);
    const { method = "", url = "", headers } = request;
    const entry = { method, url, headers, body: await readText(request) };
    const answer = answers[seen.length];
    seen.push(entry);
    if (answer === undefined) response.destroy();
    else answer(response, entry);
  });
  const port = await listen(server);
  return { ...clientOf(`http://127.0.0.1:${port}/prefix/`), seen, sockets, port };
}

test("calls have the right path, method, headers and body, over one kept connection", async () => {
  const ok = json(200, pod());
  const { client, seen, sockets } = await setUp(...Array<Answer>(7).fill(ok));
  await expect(client.get(PODS, WEB, signal)).resolves.toEqual(pod());
  await client.get(NODES, { name: "node-1" }, signal);
  await client.create(PODS, "default", { a: "ä" }, signal);
  await client.update(PODS, { ...WEB, subresource: "status" }, { b: 1 }, signal);
  await client.patch(PODS, { ...WEB, type: "strategic" }, { c: 1 }, signal);
  await client.delete(PODS, { ...WEB, gracePeriodSeconds: 0, uid: "u" }, signal);
  await client.createSubresource(PODS, { ...WEB, subresource: "binding" }, {}, signal);
  const pods = "/prefix/api/v1/namespaces/default/pods";
  expect(seen.map(({ method, url, body }) => [method, url, body])).toEqual([
    ["GET", `${pods}/web`, ""],
    ["GET", "/prefix/api/v1/nodes/node-1", ""],
    ["POST", pods, '{"a":"ä"}'],
    ["PUT", `${pods}/web/status`, '{"b":1}'],
    ["PATCH", `${pods}/web`, '{"c":1}'],
    [
      "DELETE",
      `${pods}/web`,
      '{"apiVersion":"v1","kind":"DeleteOptions","gracePeriodSeconds":0,"preconditions":{"uid":"u"}}',
    ],
    ["POST", `${pods}/web/binding`, "{}"],
  ]);
  expect(seen[0]?.headers).toMatchObject({
    authorization: "Bearer hunter2",
    "user-agent": "longshore/test",
    accept: "application/json",
  });
  expect(seen[4]?.headers["content-type"]).toBe("application/strategic-merge-patch+json");
  expect(sockets.size).toBe(1);
});

test.each([
  ["json", "application/json-patch+json"],
  ["merge", "application/merge-patch+json"],
] as const)("a %s patch is sent as %s", async (type, contentType) => {
  const { client, seen } = await setUp(json(200, pod()));
  await client.patch(PODS, { ...WEB, type }, {}, signal);
  expect(seen[0]?.headers["content-type"]).toBe(contentType);
});

test.each([
  [400, "BadRequest", "ApiInvalid"],
  [401, "Unauthorized", "ApiUnauthorized"],
  [403, "Forbidden", "ApiForbidden"],
  [404, "NotFound", "ApiNotFound"],
  [409, "AlreadyExists", "ApiAlreadyExists"],
  [409, "Conflict", "ApiConflict"],
  [410, "Expired", "ApiExpired"],
  [422, "Invalid", "ApiInvalid"],
  [429, "TooManyRequests", "ApiServerError"],
  [500, "InternalError", "ApiServerError"],
])("%i %s is %s with the server's message", async (code, reason, expected) => {
  const { client, expired } = await setUp(status(code, reason));
  await expect(client.get(PODS, WEB, signal)).rejects.toMatchObject({
    code: expected,
    status: code,
    message: expect.stringMatching(/^GET .*\/pods\/web: the server's words$/),
  });
  expect(expired).toHaveLength(code === 401 ? 1 : 0);
});

test("an error page that is no Status is still an error with its number", async () => {
  const { client } = await setUp((response) => response.writeHead(502).end("<html>"));
  await expect(client.get(PODS, WEB, signal)).rejects.toMatchObject({
    code: "ApiServerError",
    message: expect.stringContaining("HTTP status 502"),
  });
});

test("an answer cut short or not JSON is an error, and no secret gets into it or the log", async () => {
  const { client, lines } = await setUp(
    (response) => response.end('{"data":{"password":"aHVudGVyMg=='),
    (response) => {
      response.writeHead(200, { "content-length": "1000" }).write("{");
      response.destroy();
    },
  );
  const notJson = await client.get(SECRETS, WEB, signal).catch((e: unknown) => e as Error);
  expect(notJson).toMatchObject({ code: "ApiServerError" });
  expect(String(notJson) + String((notJson as Error).cause)).not.toContain("aHVudGVy");
  await expect(client.get(SECRETS, WEB, signal)).rejects.toMatchObject({ code: "ApiUnreachable" });
  expect(lines.join("")).not.toMatch(/hunter2|aHVudGVy/);
});

test("Retry-After is honoured when it is short, and twice at most", async () => {
  const busy = json(429, {}, { "retry-after": "1" });
  const patient = await setUp(busy, json(200, pod()));
  const call = patient.client.get(PODS, WEB, signal);
  await expect.poll(() => patient.clock.pendingTimers).toBe(2);
  await patient.clock.advance(1_000);
  await expect(call).resolves.toBeDefined();
  const { client } = await setUp(json(503, {}, { "retry-after": "600" }));
  await expect(client.get(PODS, WEB, signal)).rejects.toMatchObject({ status: 503 });
});

test("a server that does not answer is ApiTimeout, one that is not there ApiUnreachable", async () => {
  const { client, clock, seen } = await setUp(() => undefined);
  const call = expect(client.get(PODS, WEB, signal)).rejects.toMatchObject({ code: "ApiTimeout" });
  await expect.poll(() => seen.length).toBe(1);
  await clock.advance(15_000);
  await call;
  expect(clock.pendingTimers).toBe(0);
  const nobody = clientOf("http://127.0.0.1:1");
  await expect(nobody.client.get(PODS, WEB, signal)).rejects.toMatchObject({
    code: "ApiUnreachable",
    message: expect.stringContaining("http://127.0.0.1:1"),
  });
});

test("a call that is given up is Aborted", async () => {
  const { client, seen } = await setUp(() => undefined);
  const controller = new AbortController();
  const call = client.get(PODS, WEB, controller.signal);
  const outcome = expect(call).rejects.toMatchObject({ code: "Aborted" });
  await expect.poll(() => seen.length).toBe(1);
  controller.abort();
  await outcome;
});

describe("list", () => {
  const item = { metadata: { name: "a", uid: "u", resourceVersion: "3" } };

  test("pages are followed and items get their type", async () => {
    const { client, seen } = await setUp(
      json(200, { metadata: { resourceVersion: "9", continue: "c/1" }, items: [item] }),
      json(200, { metadata: { resourceVersion: "9" }, items: [item] }),
    );
    const list = await client.list(ENDPOINT_SLICES, { labelSelector: "a=b,!c" }, signal);
    const whole = { apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", ...item };
    expect(list).toEqual({ resourceVersion: "9", items: [whole, whole] });
    const path = "/prefix/apis/discovery.k8s.io/v1/endpointslices?labelSelector=a%3Db%2C%21c";
    expect(seen.map((s) => s.url)).toEqual([
      `${path}&limit=500`,
      `${path}&limit=500&continue=c%2F1`,
    ]);
  });

  test("pages that expire half-way are replaced by one whole list", async () => {
    const { client, seen } = await setUp(
      json(200, { metadata: { continue: "c" }, items: [item] }),
      status(410, "Expired"),
      json(200, { metadata: { resourceVersion: "10" }, items: null }),
    );
    await expect(client.list(PODS, { namespace: "default" }, signal)).resolves.toEqual({
      resourceVersion: "10",
      items: [],
    });
    expect(seen[2]?.url).toBe("/prefix/api/v1/namespaces/default/pods");
  });
});

describe("watch", () => {
  const options = { resourceVersion: "5", fieldSelector: "spec.nodeName=node-1" };

  async function collect(client: ApiClient): Promise<WatchEvent<Pod>[]> {
    const events: WatchEvent<Pod>[] = [];
    for await (const event of client.watch(PODS, options, signal)) events.push(event);
    return events;
  }

  test("events come in order and the server's end is a normal end", async () => {
    const { client, clock, seen } = await setUp((response) => {
      response.write(`${JSON.stringify({ type: "ADDED", object: pod() })}\n{"type":"BOOKM`);
      response.end('ARK","object":{"metadata":{"resourceVersion":"8"}}}\n');
    });
    await expect(collect(client)).resolves.toEqual([
      { kind: "bookmark", resourceVersion: "5" },
      { kind: "applied", object: pod() },
      { kind: "bookmark", resourceVersion: "8" },
    ]);
    expect(Object.fromEntries(new URL(`http://x${seen[0]?.url}`).searchParams)).toEqual({
      watch: "true",
      allowWatchBookmarks: "true",
      timeoutSeconds: "450",
      resourceVersion: "5",
      fieldSelector: "spec.nodeName=node-1",
    });
    expect(clock.pendingTimers).toBe(0);
  });

  test("410 is ApiExpired, as a status and as an event", async () => {
    const { client } = await setUp(status(410, "Expired"), (response) =>
      response.end(`${JSON.stringify({ type: "ERROR", object: { code: 410 } })}\n`),
    );
    await expect(collect(client)).rejects.toMatchObject({ code: "ApiExpired" });
    await expect(collect(client)).rejects.toMatchObject({ code: "ApiExpired" });
  });

  test("a connection that breaks is ApiUnreachable", async () => {
    const { client, clock } = await setUp((response) => {
      response.write("\n");
      setImmediate(() => response.destroy());
    });
    await expect(collect(client)).rejects.toMatchObject({ code: "ApiUnreachable" });
    expect(clock.pendingTimers).toBe(0);
  });

  test("a stream that stays silent beyond its time is ApiTimeout", async () => {
    const { client, clock } = await setUp((response) => response.write("\n"));
    const stream = client.watch(PODS, options, signal)[Symbol.asyncIterator]();
    await stream.next();
    const outcome = expect(stream.next()).rejects.toMatchObject({ code: "ApiTimeout" });
    await clock.advance(480_000);
    await outcome;
  });

  test("calls go on beside an open watch, and giving up ends it", async () => {
    const { client, sockets } = await setUp((response) => response.write("\n"), json(200, pod()));
    const controller = new AbortController();
    const stream = client.watch(PODS, options, controller.signal)[Symbol.asyncIterator]();
    await stream.next();
    await client.get(PODS, WEB, signal);
    expect(sockets.size).toBe(2);
    const next = expect(stream.next()).rejects.toMatchObject({ code: "Aborted" });
    controller.abort();
    await next;
  });
});

describe("TLS", () => {
  async function secured() {
    const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
    const keys = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
    const names: x509.JsonGeneralNames = [{ type: "dns", value: "kubernetes" }];
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: "CN=test",
      keys,
      signingAlgorithm: algorithm,
      extensions: [new x509.SubjectAlternativeNameExtension(names)],
    });
    const pkcs8 = await crypto.subtle.exportKey("pkcs8", keys.privateKey);
    const key = x509.PemConverter.encode(pkcs8, "PRIVATE KEY");
    const ca = certificate.toString("pem");
    const server = createTlsServer({ key, cert: ca }, (_request, response) =>
      response.end(JSON.stringify(pod())),
    );
    return { ca, url: `https://127.0.0.1:${await listen(server)}` };
  }

  test("the server is verified against the CA and tls-server-name", async () => {
    const { ca, url } = await secured();
    const trusting = clientOf(url, { ca, servername: "kubernetes", rejectUnauthorized: true });
    await expect(trusting.client.get(PODS, WEB, signal)).resolves.toEqual(pod());
    const insecure = clientOf(url, { rejectUnauthorized: false });
    await expect(insecure.client.get(PODS, WEB, signal)).resolves.toEqual(pod());
    for (const tls of [{ ca, rejectUnauthorized: true }, { rejectUnauthorized: true }]) {
      await expect(clientOf(url, tls).client.get(PODS, WEB, signal)).rejects.toMatchObject({
        code: "ApiUnreachable",
        message: expect.stringContaining("check certificate-authority and server"),
      });
    }
  });
});
