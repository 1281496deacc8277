/** Who asks and whether they may: certificates, tokens, what is asked of the API server, and what is remembered. */

import type { IncomingMessage } from "node:http";
import { describe, expect, test } from "vitest";
import { LongshoreError } from "../../../src/core/errors.ts";
import { createLogger } from "../../../src/core/logger.ts";
import type { User } from "../../../src/server/auth.ts";
import {
  type AuthenticationSettings,
  Authenticator,
  takeToken,
  userOf,
} from "../../../src/server/authentication.ts";
import { type AuthorizationSettings, Authorizer } from "../../../src/server/authorization.ts";
import { createReviews, type Reviews } from "../../../src/server/reviews.ts";
import { parseRoute } from "../../../src/server/routes.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { SERVER_DEFAULTS } from "../../support/server-defaults.ts";

const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
const { signal } = new AbortController();
const jane: User = { name: "jane", groups: ["dev", "system:authenticated"] };

/** Answers from tables, and counts what it is asked. */
class ScriptedReviews implements Reviews {
  readonly asked: unknown[] = [];
  failure: LongshoreError | undefined;
  readonly #allowed: readonly string[];

  constructor(...allowed: readonly string[]) {
    this.#allowed = allowed;
  }

  async token(token: string): Promise<User | undefined> {
    this.asked.push(token);
    if (this.failure !== undefined) throw this.failure;
    return token === "good" ? { name: "sa", groups: ["sas"], extra: { a: ["b"] } } : undefined;
  }

  async access(spec: object): Promise<boolean> {
    this.asked.push(spec);
    if (this.failure !== undefined) throw this.failure;
    const { verb, subresource } = (spec as { resourceAttributes: Record<string, string> })
      .resourceAttributes;
    return this.#allowed.includes(`${verb} ${subresource}`);
  }
}

describe("a certificate", () => {
  test.each([
    [
      { CN: "x", O: ["a", "b"] },
      { name: "x", groups: ["a", "b", "system:authenticated"] },
    ],
    [{ CN: ["x", "y"] }, { name: "y", groups: ["system:authenticated"] }],
    [{ O: "system:masters" }, undefined],
    [{ CN: "" }, undefined],
    [undefined, undefined],
  ])("of %j is %j", (subject, user) => {
    expect(userOf(subject as Parameters<typeof userOf>[0])).toEqual(user);
  });
});

test("a certificate that ends while its connection is open is nobody's any more", async () => {
  const clock = new FakeClock();
  const settings = SERVER_DEFAULTS.authentication;
  const authenticator = new Authenticator({ reviews: new ScriptedReviews(), clock, log, settings });
  const certificate = { subject: { CN: "x" }, valid_to: "Jan  1 00:01:00 2026 GMT" };
  const socket = { authorized: true, getPeerCertificate: () => certificate };
  const request = { headers: {}, socket } as unknown as IncomingMessage;
  expect(await authenticator.authenticate(request, true, signal)).toMatchObject({ name: "x" });
  await clock.advance(60_001);
  expect(await authenticator.authenticate(request, true, signal)).toBeUndefined();
});

describe("a token", () => {
  const carrier = `base64url.bearer.authorization.k8s.io.${Buffer.from("good").toString("base64url")}`;

  test.each([
    [{ authorization: "Bearer good" }, "good"],
    [{ authorization: "bearer  good " }, "good"],
    [{ authorization: "Basic good" }, undefined],
    [{ authorization: "Bearer a b" }, undefined],
    [{ "sec-websocket-protocol": `${carrier}, v4.channel.k8s.io` }, "good"],
    [{ "sec-websocket-protocol": carrier }, undefined],
    [{ "sec-websocket-protocol": `${carrier}, ${carrier}, v4.channel.k8s.io` }, undefined],
    [{}, undefined],
  ])("of %j is %s", (headers, token) => {
    const copy = { ...headers } as Record<string, string>;
    expect(takeToken({ headers: copy })).toBe(token);
    if (token !== undefined) expect(copy["sec-websocket-protocol"] ?? "").not.toContain("bearer");
  });

  const create = (
    reviews: Reviews,
    clock = new FakeClock(),
    changes: Partial<AuthenticationSettings> = {},
  ): Authenticator => {
    const settings = { ...SERVER_DEFAULTS.authentication, ...changes };
    return new Authenticator({ reviews, clock, log, settings });
  };

  const request = (token: string): IncomingMessage =>
    ({ headers: { authorization: `Bearer ${token}` }, socket: {} }) as unknown as IncomingMessage;

  test("is reviewed once in two minutes, whatever came out", async () => {
    const [reviews, clock] = [new ScriptedReviews(), new FakeClock()];
    const authenticator = create(reviews, clock);
    const ask = (token: string) => authenticator.authenticate(request(token), true, signal);
    const user = { name: "sa", groups: ["sas", "system:authenticated"], extra: { a: ["b"] } };
    expect([await ask("good"), await ask("good")]).toEqual([user, user]);
    expect([await ask("bad"), await ask("bad")]).toEqual([undefined, undefined]);
    expect(reviews.asked).toEqual(["good", "bad"]);
    await clock.advance(120_001);
    await ask("good");
    expect(reviews.asked).toHaveLength(3);
  });

  test("that could not be reviewed is nobody's for now", async () => {
    const reviews = new ScriptedReviews();
    const authenticator = create(reviews);
    reviews.failure = new LongshoreError("ApiUnreachable", "away");
    expect(await authenticator.authenticate(request("good"), true, signal)).toBeUndefined();
    reviews.failure = undefined;
    expect(await authenticator.authenticate(request("good"), true, signal)).toBeDefined();
  });
});

describe("who presents nothing", () => {
  const ask = (anonymous: boolean, headers: object) => {
    const settings = { anonymous, webhook: false, cacheMs: 0 };
    const parts = { reviews: new ScriptedReviews(), clock: new FakeClock(), log, settings };
    const request = { headers, socket: {} } as unknown as IncomingMessage;
    return new Authenticator(parts).authenticate(request, true, signal);
  };

  test("is nobody, and anonymous where that is allowed", async () => {
    expect(await ask(false, {})).toBeUndefined();
    expect(await ask(true, {})).toEqual({
      name: "system:anonymous",
      groups: ["system:unauthenticated"],
    });
  });

  test("is not who presents a token that nobody looks at", async () => {
    expect(await ask(true, { authorization: "Bearer good" })).toBeUndefined();
  });
});

describe("authorization", () => {
  const create = (
    reviews: Reviews,
    clock = new FakeClock(),
    changes: Partial<AuthorizationSettings> = {},
  ): Authorizer => {
    const settings = { ...SERVER_DEFAULTS.authorization, ...changes };
    return new Authorizer({ nodeName: "n1", reviews, clock, log, settings });
  };
  const statusOf = async (reviews: Reviews, method: string, path: string): Promise<number> =>
    (await create(reviews).refusal(jane, method, parseRoute(method, path), signal))?.status ?? 200;

  test.each([
    ["get stats", "GET", "/stats/summary", 200],
    ["get proxy", "GET", "/stats/summary", 403],
    ["get metrics", "GET", "/metrics", 200],
    ["get metrics", "GET", "/metrics/resource", 200],
    ["get metrics", "HEAD", "/metrics", 403],
    ["get log", "GET", "/logs/", 200],
    ["get proxy", "GET", "/logs/", 403],
    ["get pods", "GET", "/pods", 200],
    ["get pods", "GET", "/runningpods/", 200],
    ["get proxy", "GET", "/pods", 200],
    ["get healthz", "GET", "/healthz", 200],
    ["get proxy", "GET", "/healthz/ping", 200],
    ["get configz", "GET", "/healthz", 403],
    ["get configz", "GET", "/configz", 200],
    ["get proxy", "GET", "/containerLogs/a/b/c", 200],
    ["get proxy", "GET", "/exec/a/b/c", 403],
    ["create proxy", "GET", "/exec/a/b/c", 200],
    ["get proxy", "POST", "/attach/a/b/c", 403],
    ["create proxy", "POST", "/attach/a/b/c", 200],
    ["create proxy", "POST", "/run/a/b/c", 200],
    ["get proxy", "GET", "/portForward/a/b", 403],
    ["create proxy", "GET", "/portForward/a/b", 200],
    ["get proxy", "GET", "/nonsense", 200],
    ["get pods", "GET", "//pods", 403],
    ["get pods", "GET", "/x/../pods", 403],
    ["get pods", "GET", "/PODS", 403],
    ["get pods", "GET", "/pods%2f", 403],
  ])("with the right to %s, %s %s is %i", async (right, method, path, code) => {
    expect(await statusOf(new ScriptedReviews(right), method, path)).toBe(code);
  });

  test("lets everybody in with mode AlwaysAllow, and remembers for as long as it is told", async () => {
    const reviews = new ScriptedReviews();
    const clock = new FakeClock();
    const route = parseRoute("GET", "/stats/summary");
    const open = create(reviews, clock, { mode: "AlwaysAllow" });
    expect(await open.refusal(jane, "GET", route, signal)).toBeUndefined();
    expect(reviews.asked).toEqual([]);
    const strict = create(reviews, clock, { refusedMs: 1_000 });
    await strict.refusal(jane, "GET", route, signal);
    await clock.advance(1_001);
    await strict.refusal(jane, "GET", route, signal);
    expect(reviews.asked).toHaveLength(2);
  });

  test("names in a refusal what a role would have to allow", async () => {
    const reviews = new ScriptedReviews();
    const refusal = await create(reviews).refusal(jane, "GET", parseRoute("GET", "/pods"), signal);
    expect(refusal).toEqual({
      status: 403,
      text: "Forbidden (user=jane, verb=get, resource=nodes, subresource(s)=[pods proxy])\n",
    });
    expect(reviews.asked[0]).toEqual({
      user: "jane",
      groups: ["dev", "system:authenticated"],
      resourceAttributes: {
        ...{ verb: "get", version: "v1", resource: "nodes", subresource: "pods", name: "n1" },
      },
    });
  });

  test("stops at the first question that is not answered", async () => {
    const reviews = new ScriptedReviews("get proxy");
    reviews.failure = new LongshoreError("ApiUnreachable", "away");
    const refusal = await create(reviews).refusal(jane, "GET", parseRoute("GET", "/pods"), signal);
    expect(refusal).toEqual({
      status: 500,
      text: "Authorization error (user=jane, verb=get, resource=nodes, subresource=pods)",
    });
    expect(reviews.asked).toHaveLength(1);
  });

  test("asks nobody about administrators", async () => {
    const reviews = new ScriptedReviews();
    const admin = { name: "a", groups: ["system:masters"] };
    const route = parseRoute("GET", "/pods");
    expect(await create(reviews).refusal(admin, "GET", route, signal)).toBeUndefined();
    expect(reviews.asked).toEqual([]);
  });

  test.each([
    ["allowed", "get stats", 299_000, 301_000],
    ["refused", "get none", 29_000, 31_000],
  ])("remembers what was %s", async (_what, right, keptMs, askedMs) => {
    const [reviews, clock] = [new ScriptedReviews(right), new FakeClock()];
    const authorizer = create(reviews, clock);
    const ask = () => authorizer.refusal(jane, "GET", parseRoute("GET", "/stats/summary"), signal);
    await ask();
    await clock.advance(keptMs);
    await ask();
    expect(reviews.asked).toHaveLength(1);
    await clock.advance(askedMs - keptMs);
    await ask();
    expect(reviews.asked).toHaveLength(2);
  });
});

describe("a review", () => {
  const reviewsOf = (answers: readonly (object | LongshoreError)[], clock: FakeClock) => {
    const left = [...answers];
    const create = async (): Promise<unknown> => {
      const next = left.shift();
      if (next instanceof LongshoreError) throw next;
      return { status: next };
    };
    const client = { create } as unknown as Parameters<typeof createReviews>[0]["client"];
    return createReviews({ client, clock, random: () => 0 });
  };

  test.each([
    ["an authenticated user", { authenticated: true, user: { username: "u" } }, "u"],
    ["nobody", { authenticated: false }, undefined],
    ["a user without a name", { authenticated: true, user: {} }, undefined],
    ["no status", undefined, undefined],
  ])("tells %s", async (_what, status, name) => {
    const reviews = reviewsOf([status as object], new FakeClock());
    expect((await reviews.token("t", signal))?.name).toBe(name);
  });

  test("with an error in its status has not answered", async () => {
    const reviews = reviewsOf([{ error: "no such audience" }], new FakeClock());
    await expect(reviews.token("t", signal)).rejects.toThrow("no such audience");
  });

  test.each([
    ["allowed", { allowed: true }, true],
    ["denied as well", { allowed: true, denied: true }, false],
    ["without opinion", {}, false],
  ])("of access: %s", async (_what, status, expected) => {
    expect(await reviewsOf([status], new FakeClock()).access({}, signal)).toBe(expected);
  });

  test("is asked again while the API server is away, five times in all", async () => {
    const clock = new FakeClock();
    const away = new LongshoreError("ApiUnreachable", "away");
    const asking = reviewsOf([away, away, { allowed: true }], clock).access({}, signal);
    await clock.advance(5_000);
    expect(await asking).toBe(true);
    const failing = reviewsOf([away, away, away, away, away, { allowed: true }], clock).access(
      {},
      signal,
    );
    const failed = expect(failing).rejects.toThrow("away");
    await clock.advance(20_000);
    await failed;
    const refused = new LongshoreError("ApiForbidden", "no");
    await expect(reviewsOf([refused], clock).access({}, signal)).rejects.toThrow("no");
  });
});
