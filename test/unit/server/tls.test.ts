/** The self-signed serving certificate: made, kept, and remade when it does not fit the node any more. */

import { X509Certificate } from "node:crypto";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadTlsMaterial } from "../../../src/server/tls.ts";
import { TestCa } from "../../integration/server-pki.ts";

const NOW = Date.UTC(2026, 0, 1);
const DAY = 24 * 60 * 60_000;
let rootDir = "";

beforeAll(async () => {
  rootDir = await mkdtemp(join(tmpdir(), "h-server-tls-"));
});
afterAll(() => rm(rootDir, { recursive: true }));

const load = async (change: object = {}, now = NOW): Promise<string> => {
  const config = { nodeName: "node-1", nodeIps: ["10.0.0.1"], rootDir };
  return (await loadTlsMaterial({ ...config, ...change }, now)).cert;
};

test.each([
  ["the day after", {}, NOW + DAY, false],
  ["in its last weeks", {}, NOW + 340 * DAY, true],
  ["when it has ended", {}, NOW + 400 * DAY, true],
  ["before it began, the clock having been set back", {}, NOW - DAY, true],
  ["with another address", { nodeIps: ["10.0.0.1", "10.0.0.2"] }, NOW, true],
  ["with fewer addresses", { nodeIps: [] }, NOW, false],
  ["with another name", { nodeName: "node-2" }, NOW, true],
])("%s", async (_when, change, now, isNew) => {
  await rm(join(rootDir, "pki"), { recursive: true, force: true });
  const first = await load();
  const second = await load(change, now);
  expect(second !== first).toBe(isNew);
  if (!isNew) return;
  const { validFromDate, validToDate, subjectAltName } = new X509Certificate(second);
  expect([validFromDate.getTime() <= now, validToDate.getTime() > now]).toEqual([true, true]);
  expect(subjectAltName).toContain("IP Address:10.0.0.1");
  expect(await load(change, now)).toBe(second);
});

test.each(["kubelet.crt", "kubelet.key"])("a %s that was cut short is made anew", async (name) => {
  const first = await load();
  await truncate(join(rootDir, "pki", name), 40);
  const second = await load();
  expect(second).not.toBe(first);
  expect(await load()).toBe(second);
});

test("a pair that somebody else has signed stays", async () => {
  const { cert, key } = await (await TestCa.create("theirs")).issue("CN=node", "server");
  await writeFile(join(rootDir, "pki", "kubelet.crt"), cert);
  await writeFile(join(rootDir, "pki", "kubelet.key"), key);
  expect(await load({}, NOW + 400 * DAY)).toBe(cert);
});

test("the certificate that the API server signed comes before all others, once it is there", async () => {
  const certDir = join(rootDir, "signed");
  const config = { certDir, serverTLSBootstrap: true };
  const own = await load(config);
  expect(new X509Certificate(own).subject).toMatch(/^CN=node-1@/);
  const { cert, key } = await (await TestCa.create("ca")).issue("CN=system:node:node-1", "server");
  await writeFile(join(certDir, "kubelet-server-current.pem"), `${cert}\n${key}`);
  expect(new X509Certificate(await load(config)).subject).toBe("CN=system:node:node-1");
  expect(await load({ certDir })).toBe(own);
});
