/** The rotation of a certificate on a fake clock: kills at every step, wrong clocks, an absent server, refusals. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { CERTIFICATE_SIGNING_REQUESTS } from "../../../src/api/resources.ts";
import type { CertificateSigningRequest } from "../../../src/api/types.ts";
import { CertificateManager } from "../../../src/certificates/certificate-manager.ts";
import type { Identity, Subject } from "../../../src/certificates/identity.ts";
import { signRequest } from "../../../src/controlplane/certificate-signer.ts";
import type { KubeObject } from "../../../src/controlplane/objects.ts";
import { type KeyPair, Pki } from "../../../src/controlplane/pki.ts";
import type { Clock } from "../../../src/core/clock.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import { createLogger } from "../../../src/core/logger.ts";
import { FakeApi } from "../../fakes/api.ts";
import { FakeClock, settle } from "../../fakes/clock.ts";

const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
const HOUR = 3_600_000;
const LIFE = 2 * HOUR;
const SUBJECT: Subject = {
  ...{ commonName: "system:node:n1", organization: "system:nodes" },
  ...{ dnsNames: [], ips: [] },
};

let dir = "";
let ca: KeyPair;
let time: FakeClock;
let api: FakeApi;
/** How far the node's clock is from the server's. */
let offset = 0;
/** What a kill leaves: the files. */
let files: { key?: string; current?: Identity };
let killAt = "";
let subject: Subject;
let isAway = false;
let attempts = 0;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "longshore-manager-"));
  ca = await new Pki({ dir, clock: new FakeClock() }).ca();
});
afterAll(() => rmSync(dir, { recursive: true }));
beforeEach(() => {
  time = new FakeClock();
  api = new FakeApi(time);
  [offset, files, killAt, subject] = [0, {}, "", SUBJECT];
  [isAway, attempts] = [false, 0];
});

/** Hangs for ever where the process is to be killed: what comes after never happens. */
async function step<T>(name: string, work: () => T | Promise<T>): Promise<T> {
  if (killAt === `before ${name}`) return new Promise(() => undefined);
  const result = await work();
  if (killAt === `after ${name}`) return new Promise(() => undefined);
  return result;
}

function start(): CertificateManager {
  const clock: Clock = {
    now: () => time.now() + offset,
    monotonic: () => time.monotonic(),
    after: (ms, callback) => time.after(ms, callback),
  };
  const manager = new CertificateManager({
    ...{ purpose: "client", rotates: true, clock, random: () => 0.5, log },
    store: {
      loadKey: async () => files.key,
      saveKey: (key) => step("saving the key", () => void Object.assign(files, { key })),
      save: (current) => step("saving", () => void Object.assign(files, { current })),
      dropKey: () => step("dropping the key", () => void delete files.key),
    },
    subject: async () => subject,
    current: () => files.current,
    onIssued: async () => undefined,
    withClient: (_failures, use) => {
      attempts++;
      if (isAway) throw new LongshoreError("ApiUnreachable", "away");
      return step("asking", () => use(api));
    },
  });
  manager.start();
  return manager;
}

const requests = (): readonly CertificateSigningRequest[] =>
  api.peekAll(CERTIFICATE_SIGNING_REQUESTS);

/** Approver and signer, by the server's clock. */
async function sign(): Promise<void> {
  for (const request of requests()) {
    if (request.status !== undefined) continue;
    const pem = await signRequest(request as unknown as KubeObject, ca, time.now(), LIFE);
    const certificate = Buffer.from(pem).toString("base64");
    api.put(CERTIFICATE_SIGNING_REQUESTS, { ...request, status: { certificate } });
  }
}

/** Until the manager waits for the clock, or hangs. */
async function idle(): Promise<void> {
  for (let quiet = 0; quiet < 200 && time.pendingTimers === 0; quiet++)
    await new Promise((wake) => setTimeout(wake, killAt === "" ? 5 : 0));
}

async function pass(ms: number, stepMs = 60_000, signs = true): Promise<void> {
  await idle();
  for (let left = ms; left > 0; left -= stepMs) {
    if (signs) await sign();
    await time.advance(Math.min(left, stepMs));
    await idle();
  }
}

test("asks once, takes what is issued, and asks for a successor at 80 % of its life", async () => {
  const manager = start();
  await pass(10 * 60_000);
  const first = files.current;
  expect(first?.certificate.subject).toBe("O=system:nodes\nCN=system:node:n1");
  expect(files.key).toBeUndefined();
  await pass(LIFE * 0.7, LIFE / 50);
  expect(files.current).toBe(first);
  await pass(LIFE * 0.1, LIFE / 50);
  expect(files.current).not.toBe(first);
  expect(requests()).toHaveLength(2);
  await manager.stop();
});

describe("killed", () => {
  test.each([
    "before saving the key",
    "after saving the key",
    "before asking",
    "after asking",
    "before saving",
    "after saving",
    "before dropping the key",
    "after dropping the key",
  ])("%s, it comes back to one request and a good certificate", async (point) => {
    killAt = point;
    start();
    for (let turn = 0; turn < 3; turn++) {
      for (let quiet = 0; quiet < 20; quiet++) await settle();
      await new Promise((wake) => setTimeout(wake, 20));
      await sign();
      await time.advance(1_000);
    }
    killAt = "";
    const manager = start();
    await pass(10 * 60_000);
    expect(requests()).toHaveLength(1);
    const before = files.current;
    await pass(LIFE * 0.85, LIFE / 50);
    expect(files.current?.notAfter).toBeGreaterThan(before?.notAfter ?? 0);
    expect(files.current?.key).not.toBe(before?.key);
    expect(requests()).toHaveLength(2);
    await manager.stop();
  });
});

describe("with a clock", () => {
  test("that jumps past the end it goes on, and asks ever more seldom", async () => {
    const manager = start();
    await pass(10 * 60_000);
    offset = 400 * 24 * HOUR;
    await pass(6 * HOUR);
    expect(requests().length).toBeGreaterThan(2);
    expect(requests().length).toBeLessThan(40);
    expect(manager.problem).toBeUndefined();
    const asked = requests().length;
    offset = 0;
    await pass(HOUR);
    expect(requests()).toHaveLength(asked);
    await manager.stop();
  });

  test("that is set back before the beginning it keeps what it has until the clock is right", async () => {
    const manager = start();
    await pass(10 * 60_000);
    const first = files.current;
    offset = -400 * 24 * HOUR;
    await pass(HOUR);
    expect([files.current, requests().length]).toEqual([first, 1]);
    offset = 0;
    await pass(LIFE * 0.8, LIFE / 50);
    expect(files.current).not.toBe(first);
    await manager.stop();
  });
});

test("goes on trying while the server is away, beyond the end, and recovers", async () => {
  const manager = start();
  await pass(10 * 60_000);
  const first = files.current;
  isAway = true;
  await pass(LIFE, LIFE / 50);
  expect(files.current).toBe(first);
  expect(manager.problem).toBe("away");
  const before = attempts;
  await pass(10 * 60_000, 10_000);
  expect(attempts - before).toBeGreaterThan(10);
  expect(attempts - before).toBeLessThan(30);
  isAway = false;
  await pass(120_000, 10_000);
  expect(files.current).not.toBe(first);
  expect(manager.problem).toBeUndefined();
  expect(requests()).toHaveLength(2);
  await manager.stop();
});

test("waits for an approval with one request, however long, and makes it again when it is gone", async () => {
  const manager = start();
  await pass(2 * HOUR, HOUR, false);
  expect(requests()).toHaveLength(1);
  expect(manager.problem).toContain("waits to be approved");
  const name = requests()[0]?.metadata.name ?? "";
  api.remove(CERTIFICATE_SIGNING_REQUESTS, { name });
  await pass(60_000, 60_000, false);
  expect(requests().map(({ metadata }) => metadata.name)).toEqual([name]);
  await manager.stop();
});

test("asks with another key after a denial, and ever more seldom", async () => {
  const manager = start();
  const deny = (): void => {
    for (const request of requests()) {
      const conditions = [{ type: "Denied", status: "True" as const, reason: "No" }];
      api.put(CERTIFICATE_SIGNING_REQUESTS, { ...request, status: { conditions } });
    }
  };
  for (let minute = 0; minute < 120; minute++) {
    await pass(60_000, 60_000, false);
    deny();
  }
  expect(requests().length).toBeGreaterThan(4);
  expect(requests().length).toBeLessThan(20);
  expect(manager.problem).toContain("Denied: No");
  await manager.stop();
});

test("asks at once when it is for other addresses, also while a request waits", async () => {
  const manager = start();
  await pass(10 * 60_000);
  for (const ip of ["10.0.0.1", "10.0.0.2"]) {
    subject = { ...SUBJECT, ips: [ip] };
    manager.wake();
    await pass(2_000, 1_000, false);
  }
  expect(requests()).toHaveLength(3);
  await pass(60_000);
  expect(files.current?.certificate.subjectAltName).toBe("IP Address:10.0.0.2");
  await manager.stop();
});
