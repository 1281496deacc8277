/**
 * The node's certificates against the embedded API server: bootstrap by token, rotation under load, the end of a
 * certificate while the server is away, and the requests of people under every kubectl.
 */

import { execFileSync } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync, statSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { AgentCertificates } from "../../src/agent-certificates.ts";
import type { ApiClient } from "../../src/api/client.ts";
import { createApiClient } from "../../src/api/http-client.ts";
import { loadKubeconfig } from "../../src/api/kubeconfig.ts";
import { CERTIFICATE_SIGNING_REQUESTS, NODES, SECRETS } from "../../src/api/resources.ts";
import type { Node } from "../../src/api/types.ts";
import { createKey } from "../../src/certificates/signing-request.ts";
import { type Cluster, startControlPlaneWithControllers } from "../../src/cli/up.ts";
import { sleep } from "../../src/core/abort.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createExec } from "../../src/core/exec.ts";
import { createLogger } from "../../src/core/logger.ts";
import { loadTlsMaterial } from "../../src/server/tls.ts";
import { localKubectls } from "../support/local-kubectls.ts";
import { eventually } from "../support/node-container.ts";

const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
const exec = createExec(systemClock);
const deps = { clock: systemClock, exec, env: {}, random: Math.random, log, version: "test" };
const { signal } = new AbortController();
const NAME = "node1";

let dir = "";
let cluster: Cluster;
let admin: ApiClient;
let stops: (() => Promise<void> | void)[] = [];

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "longshore-certificates-"));
});
afterEach(async () => {
  for (const stop of stops.toReversed()) await stop();
  stops = [];
  for (const part of ["node", "cluster"]) rmSync(join(dir, part), { recursive: true, force: true });
});
afterAll(() => rmSync(dir, { recursive: true }));

async function up(signingDurationMs: number, port = 0): Promise<void> {
  const randomUid = (): string => crypto.randomUUID();
  const addresses = { address: "127.0.0.1", port, serviceCidr: "10.96.0.0/16" };
  cluster = await startControlPlaneWithControllers({
    ...{ dir: join(dir, "cluster"), nodeName: NAME, clusterCidr: "10.244.0.0/16" },
    ...{ ...addresses, ...deps, randomUid, signingDurationMs },
  });
  const credentials = await loadKubeconfig(cluster.files.admin, deps);
  admin = createApiClient({ ...deps, credentials, userAgent: "test" });
}

async function down(): Promise<void> {
  admin.close();
  await cluster.stop();
}

async function createToken(): Promise<string> {
  const data = {
    "token-id": "abcdef",
    "token-secret": "0123456789abcdef",
    "usage-bootstrap-authentication": "true",
  };
  const metadata = { name: "bootstrap-token-abcdef", namespace: "kube-system" };
  const type = "bootstrap.kubernetes.io/token";
  const secret = { apiVersion: "v1", kind: "Secret", metadata, type, stringData: data };
  await admin.create(SECRETS, "kube-system", secret, signal);
  const path = join(dir, "bootstrap.kubeconfig");
  const config = {
    clusters: [
      {
        name: "c",
        cluster: { server: cluster.url, "certificate-authority": cluster.files.clientCa },
      },
    ],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    users: [{ name: "u", user: { token: "abcdef.0123456789abcdef" } }],
    "current-context": "x",
  };
  await writeFile(path, JSON.stringify(config));
  return path;
}

/** What the agent does with its certificates, without the agent. */
async function startNode(more: object = {}): Promise<{
  readonly certificates: AgentCertificates;
  readonly client: ApiClient;
}> {
  const rootDir = join(dir, "node");
  const config = {
    ...{ nodeName: NAME, kubeconfig: join(rootDir, "kubelet.conf"), rootDir },
    ...{ rotateCertificates: true, serverTLSBootstrap: false, ...more },
  };
  const certificates = await AgentCertificates.prepare({ ...deps, config });
  const { credentials } = certificates;
  const client = createApiClient({ ...deps, credentials, userAgent: "node" });
  stops.push(() => client.close());
  certificates.startClient(client);
  stops.push(() => certificates.stop());
  return { certificates, client };
}

const identified = (certificates: AgentCertificates): Promise<unknown> =>
  eventually("the node has a certificate", async () => certificates.credentials.identity);

const pki = (file: string): string => join(dir, "node/pki", file);
const nodeObject = { apiVersion: "v1", kind: "Node", metadata: { name: NAME } };

describe("a node", () => {
  test("gets its certificate with a bootstrap token, and leaves what the kubelet leaves", async () => {
    await up(3_600_000);
    stops.push(down);
    const { certificates, client } = await startNode({ bootstrapKubeconfig: await createToken() });
    await expect(client.get(NODES, { name: NAME }, signal)).rejects.toThrow("not signed");
    await identified(certificates);
    await client.create(NODES, undefined, nodeObject, signal);
    const link = readlinkSync(pki("kubelet-client-current.pem"));
    expect(link).toMatch(/^kubelet-client-\d{4}(-\d\d){5}\.pem$/);
    expect(statSync(pki(link)).mode & 0o777).toBe(0o600);
    expect(readFileSync(pki(link), "utf8")).toMatch(
      /^-----BEGIN CERTIFICATE-----[\s\S]+-----BEGIN EC PRIVATE KEY-----/,
    );
    expect(existsSync(pki("kubelet-client.key.tmp"))).toBe(false);
    const kubeconfig = readFileSync(join(dir, "node/kubelet.conf"), "utf8");
    expect(kubeconfig).toContain(`client-certificate: ${pki("kubelet-client-current.pem")}`);
    expect(kubeconfig).toContain("current-context: default-context");
    expect(kubeconfig).not.toContain("0123456789abcdef");
    const credentials = await loadKubeconfig(join(dir, "node/kubelet.conf"), deps);
    const again = createApiClient({ ...deps, credentials, userAgent: "again" });
    expect((await again.get(NODES, { name: NAME }, signal)).metadata.name).toBe(NAME);
    again.close();
    const { items } = await admin.list(CERTIFICATE_SIGNING_REQUESTS, {}, signal);
    expect(items).toMatchObject([
      {
        spec: { username: "system:bootstrap:abcdef", usages: ["digital signature", "client auth"] },
      },
    ]);
  });

  test("rotates both certificates under load without a failed request", async () => {
    await up(10_000);
    stops.push(down);
    const more = { bootstrapKubeconfig: await createToken(), serverTLSBootstrap: true };
    const { certificates, client } = await startNode(more);
    await identified(certificates);
    const node = await client.create<Node>(NODES, undefined, nodeObject, signal);
    const addresses = [
      { type: "InternalIP", address: "10.0.0.7" },
      { type: "Hostname", address: NAME },
    ];
    const ref = { name: NAME, subresource: "status", type: "merge" } as const;
    await client.patch(NODES, ref, { status: { addresses } }, signal);
    let loaded = 0;
    await certificates.startServing({
      client,
      onNode: (listener) => listener({ ...node, status: { addresses } } as unknown as Node),
      reload: async () => void loaded++,
    });

    const seen = new Set<number>();
    const failures: unknown[] = [];
    let requests = 0;
    let watches = 0;
    const stopping = new AbortController();
    const load = async (): Promise<void> => {
      while (!stopping.signal.aborted) {
        await client.get(NODES, { name: NAME }, signal).catch((error) => failures.push(error));
        requests++;
        seen.add(certificates.credentials.identity?.notAfter ?? 0);
        // So that what renews them has its turn in this one process, however busy the machine is.
        await sleep(systemClock, 5, signal);
      }
    };
    const watch = async (): Promise<void> => {
      const options = { fieldSelector: `metadata.name=${NAME}`, resourceVersion: "0" };
      while (!stopping.signal.aborted) {
        const events = client.watch(NODES, options, stopping.signal);
        try {
          for await (const event of events) if (event.kind === "bookmark") watches++;
        } catch (error) {
          if (!stopping.signal.aborted) failures.push(error);
        }
      }
    };
    const running = [load(), load(), load(), watch()];
    await eventually("two rotations", async () => seen.size > 2 && loaded > 2);
    stopping.abort();
    await Promise.all(running);
    expect(failures).toEqual([]);
    expect(requests).toBeGreaterThan(100);
    expect(watches).toBeGreaterThan(1);
    const tls = { nodeName: NAME, nodeIps: [], rootDir: join(dir, "node"), ...more };
    const { cert } = await loadTlsMaterial(tls, Date.now());
    expect(new X509Certificate(cert).subjectAltName).toBe(`DNS:${NAME}, IP Address:10.0.0.7`);
    expect(certificates.facts()).toMatchObject({ clientRenewErrors: 0, problems: [] });
  });

  test("whose certificate ends while the API server is away bootstraps anew when it is back", async () => {
    await up(3_000);
    const bootstrapKubeconfig = await createToken();
    const { certificates, client } = await startNode({ bootstrapKubeconfig });
    await identified(certificates);
    const port = Number(new URL(cluster.url).port);
    await down();
    const { identity } = certificates.credentials;
    await eventually("its end", async () => Date.now() > (identity?.notAfter ?? 0) + 500);
    expect(certificates.facts().problems).toHaveLength(1);
    await up(3_600_000, port);
    stops.unshift(down);
    await eventually("a new one", async () => certificates.credentials.identity !== identity);
    await client.create(NODES, undefined, nodeObject, signal);
    const { items } = await admin.list(CERTIFICATE_SIGNING_REQUESTS, {}, signal);
    expect(items.filter(({ status }) => status?.certificate === undefined)).toEqual([]);
  });
});

test("the requests of people are approved, denied and shown under every kubectl", async () => {
  await up(3_600_000);
  stops.push(down);
  await writeFile(join(dir, "key.pem"), createKey());
  const subject = ["-key", join(dir, "key.pem"), "-subj", "/O=dev/CN=jane"];
  const request = execFileSync("openssl", ["req", "-new", ...subject]).toString("base64");
  expect(localKubectls.length).toBeGreaterThan(0);
  for (const [index, kubectl] of localKubectls.entries())
    await requestUnder(kubectl, request, [`jane-${index}`, `joe-${index}`]);
});

async function requestUnder(
  kubectl: string,
  request: string,
  [jane, joe]: readonly [string, string],
): Promise<void> {
  const run = async (...words: readonly string[]): Promise<string> => {
    const args = ["--kubeconfig", cluster.files.admin, ...words];
    return (await exec({ file: kubectl, args, timeoutMs: 30_000 }, signal)).stdout;
  };
  const items = [jane, joe].map((name) => ({
    ...{ apiVersion: "certificates.k8s.io/v1", kind: "CertificateSigningRequest" },
    metadata: { name },
    spec: {
      ...{ request, signerName: "kubernetes.io/kube-apiserver-client" },
      ...{ usages: ["client auth"], expirationSeconds: 1200 },
    },
  }));
  await writeFile(join(dir, "csr.json"), JSON.stringify({ apiVersion: "v1", kind: "List", items }));
  await run("create", "-f", join(dir, "csr.json"));
  const signer = "kubernetes.io/kube-apiserver-client";
  expect(await run("get", "csr", jane)).toMatch(
    new RegExp(`^NAME +AGE +SIGNERNAME +REQUESTOR +REQUESTEDDURATION +CONDITION
${jane} +\\d+s +${signer} +kubernetes-admin +20m +Pending
$`),
  );
  expect(await run("certificate", "approve", jane)).toContain("approved");
  expect(await run("certificate", "deny", joe)).toContain("denied");
  const cert = await eventually("the one is issued, the other is not", async () => {
    const rows = await run("get", "csr");
    const is = (name: string, state: string) => new RegExp(`^${name} .* ${state}$`, "m").test(rows);
    if (!is(jane, "Approved,Issued") || !is(joe, "Denied")) return false;
    return run("get", "csr", jane, "-o", "jsonpath={.status.certificate}");
  });
  const { subject, validTo } = new X509Certificate(Buffer.from(cert, "base64"));
  expect(subject).toBe("O=dev\nCN=jane");
  expect(Math.abs(Date.parse(validTo) - Date.now() - 1_200_000)).toBeLessThan(60_000);
}
