/** What `longshore check` says of the node's certificates. */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkLife, readCertificateChecks } from "../../../src/cli/certificate-checks.ts";
import type { Host } from "../../../src/cli/host.ts";
import { Pki, writeKubeconfig } from "../../../src/controlplane/pki.ts";
import { FakeClock } from "../../fakes/clock.ts";

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "longshore-certificate-checks-"));
});
afterAll(() => rmSync(dir, { recursive: true }));

const trouble = { consequence: "c", remedy: "r" };
test.each([
  ["is well in the middle of its life", 50, "ok", "until 1970-01-01T00:01:40Z", ""],
  ["is late in its last tenth", 91, "degraded", "ends at 1970-01-01T00:01:40Z", "r"],
  ["has failed when it has ended", 100, "failed", "ended at 1970-01-01T00:01:40Z", "r"],
  ["asks for the clock", -1, "degraded", "not valid before 1970-01-01T00:00:00Z", "set the clock"],
])("a certificate %s", (_how, seconds, state, detail, remedy) => {
  const found = checkLife("x", { notBefore: 0, notAfter: 100_000 }, seconds * 1000, trouble);
  expect(found).toMatchObject({ name: "x", state, detail });
  expect(found.remedy).toContain(remedy);
});

test("they are found by the configuration, and absent where the node has none", async () => {
  const clock = new FakeClock();
  const host = { clock, env: {}, stop: new AbortController().signal } as unknown as Host;
  const config = join(dir, "config.yaml");
  const kubeconfig = join(dir, "kubeconfig");
  const write = (fields: object): void =>
    writeFileSync(
      config,
      JSON.stringify({
        ...{ apiVersion: "longshore.dev/v1alpha1", kind: "AgentConfiguration", rootDir: dir },
        ...fields,
      }),
    );
  write({ kubeconfig });
  expect(await readCertificateChecks(host, { config })).toEqual([]);
  const pki = new Pki({ dir: join(dir, "ca"), clock });
  const pair = await pki.issue({ file: "node", commonName: "system:node:n" });
  const { cert: ca } = await pki.ca();
  writeKubeconfig(kubeconfig, { server: "https://127.0.0.1:1", ca, user: "n", ...pair });
  write({ tlsCertFile: kubeconfig });
  expect(await readCertificateChecks(host, { config })).toMatchObject([
    { name: "certificates", state: "degraded", remedy: "run it as root" },
  ]);
  write({ kubeconfig, tlsCertFile: join(dir, "ca/node.crt") });
  expect(await readCertificateChecks(host, { config })).toMatchObject([
    { name: "client certificate", state: "ok", detail: "until 2027-01-01T00:00:00Z" },
    { name: "serving certificate", state: "ok", detail: "until 2027-01-01T00:00:00Z" },
  ]);
});
