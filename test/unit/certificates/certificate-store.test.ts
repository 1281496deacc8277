/** The files of a certificate in its directory. */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createSecureContext } from "node:tls";
import { expect, test } from "vitest";
import { CertificateStore } from "../../../src/certificates/certificate-store.ts";
import { identityOf } from "../../../src/certificates/identity.ts";
import { Pki } from "../../../src/controlplane/pki.ts";
import { FakeClock } from "../../fakes/clock.ts";

test("a certificate that a signer ended without a newline is a pair in its file all the same", async () => {
  const dir = mkdtempSync(join(tmpdir(), "longshore-store-"));
  try {
    const { cert, key } = await new Pki({ dir, clock: new FakeClock() }).ca();
    const identity = identityOf(cert.trimEnd(), key);
    if (identity === undefined) throw new Error("no pair");
    const store = new CertificateStore(dir, "kubelet-server");
    await store.save(identity, 0);
    const pem = readFileSync(store.currentPath, "utf8");
    expect(() => createSecureContext({ cert: pem, key: pem })).not.toThrow();
    expect((await store.load())?.key).toBe(key);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
