/** Paths to routes. */

import { describe, expect, test } from "vitest";
import { computeHealthz } from "../../../src/server/healthz.ts";
import { parseRoute } from "../../../src/server/routes.ts";

describe("parseRoute", () => {
  test.each([
    ["GET", "/healthz", { kind: "healthz", check: "all" }],
    ["GET", "/healthz/syncloop", { kind: "healthz", check: "syncloop" }],
    ["GET", "/healthz/other", { kind: "not-found" }],
    ["GET", "/pods", { kind: "read", path: "/pods" }],
    ["POST", "/pods", { kind: "method-not-allowed" }],
    ["GET", "/pods/", { kind: "not-found" }],
    ["GET", "/runningpods/", { kind: "read", path: "/runningpods" }],
    ["POST", "/stats/summary", { kind: "read", path: "/stats/summary" }],
    ["GET", "/metrics/resource", { kind: "read", path: "/metrics/resource" }],
    ["GET", "/metrics/other", { kind: "not-found" }],
    ["GET", "/logs/a/b", { kind: "system-logs", path: ["a", "b"] }],
    ["GET", "/logs/../etc", { kind: "not-found" }],
    ["GET", "/containerLogs/ns/p/c?follow=1", { kind: "logs", namespace: "ns", container: "c" }],
    ["GET", "/containerLogs/ns", { kind: "logs", namespace: "ns", pod: "", container: "" }],
    ["GET", "/containerLogs/ns/p/c/d", { kind: "not-found" }],
    ["POST", "/exec/ns/p/c", { kind: "exec", target: { uid: undefined, container: "c" } }],
    ["GET", "/exec/ns/p/u/c", { kind: "exec", target: { uid: "u", container: "c" } }],
    ["PUT", "/exec/ns/p/c", { kind: "method-not-allowed" }],
    ["GET", "/exec/ns/p", { kind: "not-found" }],
    ["GET", "/exec/ns//c", { kind: "not-found" }],
    ["POST", "/attach/ns/p/c", { kind: "attach", target: { uid: undefined, container: "c" } }],
    ["POST", "/run/ns/p/u/c", { kind: "run", target: { uid: "u", container: "c" } }],
    ["GET", "/run/ns/p/c", { kind: "method-not-allowed" }],
    ["POST", "/portForward/ns/p", { kind: "port-forward", namespace: "ns", pod: "p" }],
    ["GET", "/portForward/ns/p/u", { kind: "port-forward", pod: "p", uid: "u" }],
    ["GET", "/portForward/ns/p/u/x", { kind: "not-found" }],
    ["GET", "/", { kind: "not-found" }],
    ["GET", "//pods", { kind: "not-found" }],
    ["GET", "/x/../pods", { kind: "not-found" }],
    ["GET", "/%2e%2e/pods", { kind: "not-found" }],
    ["GET", "/exec/ns/p%2fc/d", { kind: "not-found" }],
    ["GET", "/exec/ns/p%00/d", { kind: "not-found" }],
    ["GET", "/%zz", { kind: "not-found" }],
    ["GET", "https://elsewhere/pods", { kind: "not-found" }],
    ["GET", "*", { kind: "not-found" }],
  ])("%s %s", (method, url, route) => {
    expect(parseRoute(method, url)).toMatchObject(route);
  });
});

describe("computeHealthz", () => {
  const healthy = { unreadyForMs: 60_000, problems: ["x"] };
  const stuck = { unreadyForMs: 300_000, problems: ["container runtime is down"] };

  test.each([
    ["is ok", "all", "", healthy, 200, "ok"],
    ["lists its checks", "all", "verbose", healthy, 200, "[+]syncloop ok\nhealthz check passed"],
    ["fails after 5 minutes", "all", "", stuck, 500, "[-]syncloop failed"],
    ["leaves checks out", "all", "exclude=syncloop", stuck, 200, "ok"],
    ["has single checks", "syncloop", "", stuck, 500, "container runtime is down"],
    ["pings whatever happens", "ping", "", stuck, 200, "ok"],
  ] as const)("%s", (_sentence, check, query, state, status, text) => {
    const reply = computeHealthz(check, new URLSearchParams(query), state);
    expect(reply.status).toBe(status);
    expect(reply.text).toContain(text);
  });
});
