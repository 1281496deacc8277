/** What an operator can turn off or narrow down at the node's server. */

import { createSecureContext } from "node:tls";
import { describe, expect, test } from "vitest";
import { tlsOptions } from "../../../src/server/https-server.ts";
import { disabledOf } from "../../../src/server/refusals.ts";
import { parseRoute } from "../../../src/server/routes.ts";
import { SERVER_DEFAULTS } from "../../support/server-defaults.ts";

describe("TLS", () => {
  const material = { cert: "", key: "", clientCa: undefined };

  test("is 1.2 or later with Node's suites, unless said otherwise", () => {
    expect(tlsOptions(material, SERVER_DEFAULTS)).not.toHaveProperty("ciphers");
    expect(tlsOptions(material, SERVER_DEFAULTS)).toMatchObject({ minVersion: "TLSv1.2" });
    const strict = { ...SERVER_DEFAULTS, tlsMinVersion: "VersionTLS13" } as const;
    expect(tlsOptions(material, strict)).toMatchObject({ minVersion: "TLSv1.3" });
  });

  test("has the suites that are named besides those of 1.3, by names that OpenSSL knows", () => {
    const tlsCipherSuites = [
      ...["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305", "AES256-SHA"],
    ];
    const { ciphers } = tlsOptions(material, { ...SERVER_DEFAULTS, tlsCipherSuites });
    expect(ciphers).toBe(
      "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:AES256-SHA",
    );
    for (const name of tlsCipherSuites) createSecureContext({ ciphers: name });
  });
});

describe("endpoints", () => {
  const statusOf = (path: string, off: object): number | undefined =>
    disabledOf(parseRoute("GET", path), { ...SERVER_DEFAULTS, ...off })?.status;

  test.each([
    ...["/exec/ns/p/c?command=x", "/attach/ns/p/c", "/portForward/ns/p", "/containerLogs/ns/p/c"],
    ...["/logs/", "/runningpods/", "/configz"],
  ])("%s is on, and off without enableDebuggingHandlers", (path) => {
    expect(statusOf(path, {})).toBeUndefined();
    expect(statusOf(path, { enableDebuggingHandlers: false })).toBe(405);
  });

  test.each(["/healthz", "/pods", "/metrics", "/stats/summary"])("%s is never off", (path) => {
    const off = { enableDebuggingHandlers: false, enableSystemLogHandler: false };
    expect(statusOf(path, off)).toBeUndefined();
  });

  test("/logs alone is off without enableSystemLogHandler", () => {
    expect(statusOf("/logs/", { enableSystemLogHandler: false })).toBe(405);
    expect(statusOf("/containerLogs/ns/p/c", { enableSystemLogHandler: false })).toBeUndefined();
  });
});
