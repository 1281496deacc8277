/**
 * projected clusterTrustBundle and podCertificate: a pod waits for its trust anchors and its certificate, which a
 * signer of the test's own issues, and sees anchors change while it runs.
 */

import "reflect-metadata";
import { createPrivateKey, webcrypto, X509Certificate } from "node:crypto";
import * as x509 from "@peculiar/x509";
import { afterAll, beforeAll, expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();
const HOUR_MS = 3_600_000;
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

interface SeenRequest {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly signerName: string;
    readonly podName: string;
    readonly stubPKCS10Request: string;
    readonly maxExpirationSeconds: number;
    readonly unverifiedUserAnnotations: object;
  };
}

const bundleName = `example.com:test:${cluster.namespace}`;
let keys: webcrypto.CryptoKeyPair;
let ca: x509.X509Certificate;

async function makeCa(name: string): Promise<x509.X509Certificate> {
  return x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
  });
}

function applyBundle(...anchors: readonly x509.X509Certificate[]): Promise<void> {
  return cluster.node.apply({
    apiVersion: "certificates.k8s.io/v1beta1",
    kind: "ClusterTrustBundle",
    metadata: { name: bundleName, labels: { live: "yes" } },
    spec: {
      signerName: "example.com/test",
      trustBundle: anchors.map((anchor) => `${anchor.toString("pem")}\n`).join(""),
    },
  });
}

/** The request of the pod, once the agent has made it. */
function requestOf(pod: string): Promise<SeenRequest> {
  return eventually(`${pod} has a PodCertificateRequest`, async () => {
    const { items } = await cluster.node.json<{ items: readonly SeenRequest[] }>(
      ...["-n", cluster.namespace, "get", "podcertificaterequests"],
    );
    return items.find(({ spec }) => spec.podName === pod);
  });
}

function decide(name: string, status: object): Promise<string> {
  return cluster.kubectl(
    ...["patch", "podcertificaterequest", name, "--subresource=status", "--type=merge"],
    ...["-p", JSON.stringify({ status })],
  );
}

const condition = (type: string, reason: string, message: string): object => ({
  conditions: [
    { type, status: "True", reason, message, lastTransitionTime: new Date().toISOString() },
  ],
});

beforeAll(async () => {
  keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  ca = await makeCa("first");
  const certificate = (credentialBundlePath: string, signerName: string): object => ({
    podCertificate: {
      ...{ signerName, keyType: "ECDSAP384", maxExpirationSeconds: 7200, credentialBundlePath },
      userAnnotations: { "example.com/dns": "web" },
    },
  });
  const pod = (name: string, ...sources: readonly object[]): object =>
    podManifest(name, {
      securityContext: { runAsUser: 1000 },
      containers: [
        shell("main", IDLE, { volumeMounts: [{ name: "identity", mountPath: "/identity" }] }),
      ],
      volumes: [{ name: "identity", projected: { sources } }],
    });
  const selector = {
    signerName: "example.com/test",
    labelSelector: { matchLabels: { live: "yes" } },
  };
  await cluster.apply(
    pod(
      "web",
      { clusterTrustBundle: { ...selector, path: "ca.pem" } },
      { clusterTrustBundle: { name: "nobody", optional: true, path: "none.pem" } },
      certificate("web.pem", "example.com/test"),
    ),
    pod("refused", certificate("web.pem", "example.com/other")),
  );
});

afterAll(async () => {
  await cluster.node.kubectl("delete", "clustertrustbundle", bundleName);
});

test("a pod starts when its trust anchors and its certificate are there, and has both", async () => {
  const { metadata, spec } = await requestOf("web");
  await eventually("the pod says what it waits for", async () =>
    (await cluster.kubectl("describe", "pod", "web")).includes(
      "matched zero ClusterTrustBundles, credential bundle is not issued yet",
    ),
  );
  expect(spec).toMatchObject({
    signerName: "example.com/test",
    maxExpirationSeconds: 7200,
    unverifiedUserAnnotations: { "example.com/dns": "web" },
  });
  await applyBundle(ca, ca);
  const csr = new x509.Pkcs10CertificateRequest(spec.stubPKCS10Request);
  expect(await csr.verify()).toBe(true);
  const now = Date.now();
  const issued = await x509.X509CertificateGenerator.create({
    ...{ subject: "CN=web", issuer: ca.subject, publicKey: csr.publicKey },
    ...{ signingKey: keys.privateKey, signingAlgorithm: ALGORITHM },
    notBefore: new Date(now - 60_000),
    notAfter: new Date(now + HOUR_MS),
  });
  await decide(metadata.name, {
    ...condition("Issued", "Issued", ""),
    certificateChain: `${issued.toString("pem")}\n`,
    notBefore: new Date(now - 60_000).toISOString(),
    beginRefreshAt: new Date(now + HOUR_MS / 2).toISOString(),
    notAfter: new Date(now + HOUR_MS).toISOString(),
  });
  await cluster.ready("web");
  const read = (file: string): Promise<string> =>
    cluster.kubectl("exec", "web", "--", "cat", `/identity/${file}`);
  const bundle = await read("web.pem");
  const leaf = new X509Certificate(bundle.slice(bundle.indexOf("-----BEGIN CERTIFICATE")));
  expect(leaf.checkPrivateKey(createPrivateKey(bundle))).toBe(true);
  const anchors = await read("ca.pem");
  expect(leaf.verify(new X509Certificate(anchors).publicKey)).toBe(true);
  expect(anchors.match(/BEGIN/g)).toHaveLength(1);
  expect(await read("none.pem")).toBe("");
  const modes = await cluster.kubectl(
    "exec",
    "web",
    "--",
    "stat",
    "-Lc",
    "%a %u",
    "/identity/web.pem",
  );
  expect(modes.trim()).toBe("600 1000");
  await applyBundle(ca, await makeCa("second"));
  await eventually(
    "the pod sees the second anchor",
    async () => ((await read("ca.pem")).match(/BEGIN/g) ?? []).length === 2,
  );
});

test("a pod whose certificate is denied waits for good, and says so", async () => {
  const { metadata } = await requestOf("refused");
  await decide(metadata.name, condition("Denied", "UnknownSigner", "no such signer"));
  const why =
    'PodCertificateRequest was permanently denied: reason="UnknownSigner" message="no such signer"';
  await eventually("the denial is told", async () =>
    (await cluster.kubectl("describe", "pod", "refused")).includes(why),
  );
  expect(await cluster.eventReasons("refused")).toContain("Denied");
  expect((await cluster.pod("refused")).status.phase).toBe("Pending");
});
