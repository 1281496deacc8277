/** When a successor is asked for, whom the node's certificates are for, and the files they are kept in. */

import { lstatSync, mkdtempSync, readdirSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Node } from "../../../src/api/types.ts";
import { CertificateStore } from "../../../src/certificates/certificate-store.ts";
import {
  type Identity,
  identityOf,
  laterOf,
  parseIdentity,
  renewalTime,
  type Subject,
} from "../../../src/certificates/identity.ts";
import { clientSubject, servingSubject } from "../../../src/certificates/subjects.ts";
import { Pki } from "../../../src/controlplane/pki.ts";
import { FakeClock, START_OF_TIME } from "../../fakes/clock.ts";

const DAY = 24 * 3_600_000;
let dir = "";
let identity: Identity;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "longshore-identity-"));
  const pki = new Pki({ dir: join(dir, "pki"), clock: new FakeClock() });
  const request = { file: "n", commonName: "system:node:n", organizations: ["system:nodes"] };
  const { cert, key } = await pki.issue({ ...request, sans: ["n", "10.0.0.1"] });
  identity = identityOf(cert, key) ?? expect.fail("no pair");
});
afterAll(() => rmSync(dir, { recursive: true }));

const subject = clientSubject("n");
test.each<[string, Partial<Subject>, boolean, number, number]>([
  ["at once when it is for another node", { commonName: "system:node:m" }, true, 0.8, -Infinity],
  ["at once when it lacks a name", { dnsNames: ["n", "n.example"] }, true, 0.8, -Infinity],
  ["at once when it lacks an address", { ips: ["10.0.0.2"] }, true, 0.8, -Infinity],
  ["at once when it lacks the group", { organization: "others" }, true, 0.8, -Infinity],
  ["at 70 % of its life", { ips: ["10.0.0.1"] }, true, 0.7, 255.5],
  ["at 90 % of its life", { dnsNames: ["n"] }, true, 0.9, 328.5],
  ["at its end without rotation", {}, false, 0.8, 365],
])("is asked for %s", (_when, change, rotates, fraction, days) => {
  const plan = { rotates, fraction, receivedAt: START_OF_TIME };
  expect(renewalTime(identity, { ...subject, ...change }, plan)).toBe(START_OF_TIME + days * DAY);
});

test("one that was old when it came counts from then", () => {
  const plan = { rotates: true, fraction: 0.8, receivedAt: START_OF_TIME + 355 * DAY };
  expect(renewalTime(identity, subject, plan)).toBe(START_OF_TIME + 363 * DAY);
});

test("a certificate and a key that are no pair are nothing", async () => {
  const other = new Pki({ dir: join(dir, "other"), clock: new FakeClock() });
  const { key } = await other.ca();
  expect(identityOf(identity.cert, key)).toBeUndefined();
  expect(parseIdentity(identity.cert + key)).toBeUndefined();
  expect(parseIdentity(identity.key + identity.cert)?.notAfter).toBe(identity.notAfter);
  expect(laterOf(undefined, identity)).toBe(identity);
});

test.each<[string, readonly { type: string; address: string }[], object | undefined]>([
  ["none without an address", [{ type: "Hostname", address: "n" }], undefined],
  [
    "its names and addresses, sorted",
    [
      { type: "InternalIP", address: "10.0.0.2" },
      { type: "ExternalIP", address: "1.2.3.4" },
      { type: "InternalIP", address: "10.0.0.2" },
      { type: "InternalDNS", address: "n.local" },
      { type: "Hostname", address: "n" },
    ],
    { dnsNames: ["n", "n.local"], ips: ["1.2.3.4", "10.0.0.2"] },
  ],
  [
    "a host name that is an address as one",
    [{ type: "Hostname", address: "10.0.0.2" }],
    { dnsNames: [], ips: ["10.0.0.2"] },
  ],
])("the serving certificate is for %s", (_what, addresses, expected) => {
  const node = { metadata: { name: "n" }, status: { addresses } } as unknown as Node;
  const found = servingSubject(node);
  expect(found).toEqual(expected && { ...subject, ...expected });
});

test("the store has a dated file of mode 0600 behind a link, and keeps one before it", async () => {
  const path = join(dir, "store");
  const store = new CertificateStore(path, "kubelet-client");
  expect([await store.load(), await store.loadKey()]).toEqual([undefined, undefined]);
  await store.saveKey("KEY");
  expect(await store.loadKey()).toBe("KEY");
  for (const ms of [0, 0, 5_000, 9_000]) await store.save(identity, START_OF_TIME + ms);
  await store.dropKey();
  const current = "kubelet-client-2026-01-01-00-00-09.pem";
  expect(readlinkSync(store.currentPath)).toBe(current);
  expect(lstatSync(join(path, current)).mode & 0o777).toBe(0o600);
  expect(readdirSync(path).sort()).toEqual([
    "kubelet-client-2026-01-01-00-00-05.pem",
    current,
    "kubelet-client-current.pem",
  ]);
  expect((await store.load())?.notAfter).toBe(identity.notAfter);
  writeFileSync(join(path, current), identity.cert.slice(0, 100));
  expect(await store.load()).toBeUndefined();
});
