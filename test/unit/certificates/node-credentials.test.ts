/** Whose certificate the node's requests carry, and that a bootstrap token is in none of them. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ClusterCredentials, TlsMaterial } from "../../../src/api/credentials.ts";
import { type Identity, identityOf } from "../../../src/certificates/identity.ts";
import { NodeCredentials } from "../../../src/certificates/node-credentials.ts";
import { Pki } from "../../../src/controlplane/pki.ts";
import { FakeClock, START_OF_TIME } from "../../fakes/clock.ts";

let dir = "";
let older: Identity;
let newer: Identity;
const { signal } = new AbortController();

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "longshore-credentials-"));
  const issue = async (days: number): Promise<Identity> => {
    const clock = new FakeClock(START_OF_TIME + days * 24 * 3_600_000);
    const pki = new Pki({ dir, clock });
    const { cert, key } = await pki.issue({ file: `at-${days}`, commonName: "system:node:n" });
    return identityOf(cert, key) ?? expect.fail("no pair");
  };
  older = await issue(0);
  newer = await issue(1);
});
afterAll(() => rmSync(dir, { recursive: true }));

function base(identity?: Identity): ClusterCredentials {
  const pair = identity === undefined ? {} : { cert: identity.cert, key: identity.key };
  const tls: TlsMaterial = { ca: "CA", rejectUnauthorized: true, ...pair };
  return {
    server: new URL("https://a"),
    current: async () => ({ tls, authorization: "Bearer secret" }),
    expire: () => undefined,
    close: () => undefined,
  };
}

const certOf = async (credentials: NodeCredentials): Promise<string | undefined> =>
  (await credentials.current(signal)).tls.cert;

test("the certificate that lasts longer is used, wherever it comes from", async () => {
  const renewed = new NodeCredentials({ base: base(older), isBootstrapping: false, own: newer });
  expect(await renewed.current(signal)).toEqual({
    tls: { ca: "CA", rejectUnauthorized: true, cert: newer.cert, key: newer.key },
  });
  const replaced = new NodeCredentials({ base: base(newer), isBootstrapping: false, own: older });
  expect(await certOf(replaced)).toBe(newer.cert);
  const alone = new NodeCredentials({ base: base(), isBootstrapping: false, own: undefined });
  expect(await alone.current(signal)).toMatchObject({ authorization: "Bearer secret" });
});

test("a new one is told and carried by the next request, in one piece of TLS material", async () => {
  const credentials = new NodeCredentials({
    base: base(older),
    isBootstrapping: false,
    own: undefined,
  });
  let changes = 0;
  credentials.onChange(() => changes++);
  expect(await certOf(credentials)).toBe(older.cert);
  credentials.use(newer);
  expect([changes, await certOf(credentials)]).toEqual([1, newer.cert]);
  expect((await credentials.current(signal)).tls).toBe((await credentials.current(signal)).tls);
});

test("one that the server refuses gives way to the kubeconfig's, and is wanted anew", async () => {
  const credentials = new NodeCredentials({
    base: base(older),
    isBootstrapping: false,
    own: newer,
  });
  expect(await certOf(credentials)).toBe(newer.cert);
  credentials.expire();
  expect(await certOf(credentials)).toBe(older.cert);
  expect(credentials.isRefused).toBe(false);
  credentials.expire();
  expect(credentials.isRefused).toBe(true);
});

test("while the node bootstraps nothing is sent, then nothing but its certificate", async () => {
  const credentials = new NodeCredentials({
    base: base(older),
    isBootstrapping: true,
    own: undefined,
  });
  await expect(credentials.current(signal)).rejects.toMatchObject({ code: "ApiUnauthorized" });
  credentials.use(newer);
  expect(await credentials.current(signal)).toEqual({
    tls: { ca: "CA", rejectUnauthorized: true, cert: newer.cert, key: newer.key },
  });
});
