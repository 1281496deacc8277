/**
 * The serving certificate and the client CA: what the API server signed (serverTLSBootstrap), else from files when they
 * are configured, else a self-signed certificate that is kept in the certificate directory and remade when it does not fit the node any more. Reading again gives what the files hold now; the server compares.
 * Never logs a key.
 */

import { createPrivateKey, webcrypto, X509Certificate } from "node:crypto";
import { chmod, mkdir, readFile, writeFile } from "node:fs/promises";
import { isIP } from "node:net";
import { dirname, join } from "node:path";
import { LongshoreError, messageOf } from "../core/errors.ts";
import { readOptional } from "../core/optional-file.ts";

export interface TlsConfig {
  readonly nodeName: string;
  readonly nodeIps: readonly string[];
  readonly rootDir: string;
  /** Absent = pki in `rootDir`. */
  readonly certDir?: string;
  /** Whether the certificate directory holds one that the API server signed, or will. */
  readonly serverTLSBootstrap?: boolean;
  readonly clientCaFile?: string;
  readonly tlsCertFile?: string;
  readonly tlsPrivateKeyFile?: string;
}

/** PEM texts. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  /** undefined = nobody can authenticate. */
  readonly clientCa: string | undefined;
}

interface KeyPairFiles {
  readonly cert: string;
  readonly key: string;
}

/** The last part of its life, in which a self-signed certificate is remade. */
const REMAKE_BEFORE = 0.1;
const YEAR_MS = 365 * 24 * 60 * 60_000;

/** Makes the self-signed pair when it is needed and absent, then reads everything. */
export async function loadTlsMaterial(config: TlsConfig, nowMs: number): Promise<TlsMaterial> {
  const files = await ensureKeyPair(config, nowMs);
  const cert = await readPem(files.cert, "serving certificate");
  const [key, clientCa] = await Promise.all([
    // One file for both is read once: between two reads it may be another certificate's.
    files.key === files.cert ? cert : readPem(files.key, "serving certificate's key"),
    config.clientCaFile === undefined ? undefined : readPem(config.clientCaFile, "client CA"),
  ]);
  return { cert, key, clientCa };
}

async function readPem(path: string, what: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (cause) {
    throw new LongshoreError("ConfigInvalid", `reading the ${what}: ${messageOf(cause)}`, {
      cause,
    });
  }
}

async function ensureKeyPair(config: TlsConfig, nowMs: number): Promise<KeyPairFiles> {
  const { tlsCertFile, tlsPrivateKeyFile } = config;
  const dir = config.certDir ?? join(config.rootDir, "pki");
  const signed = join(dir, "kubelet-server-current.pem");
  // Until it is there, another is better than none: most API servers do not ask who signed it.
  if (config.serverTLSBootstrap === true && (await readOptional(signed)) !== "")
    return { cert: signed, key: signed };
  if (tlsCertFile !== undefined && tlsPrivateKeyFile !== undefined)
    return { cert: tlsCertFile, key: tlsPrivateKeyFile };
  if (tlsCertFile !== undefined || tlsPrivateKeyFile !== undefined)
    throw new LongshoreError(
      "ConfigInvalid",
      "tlsCertFile and tlsPrivateKeyFile belong together: give both or none",
    );
  const files = { cert: join(dir, "kubelet.crt"), key: join(dir, "kubelet.key") };
  if (isUsable(await readOptional(files.cert), await readOptional(files.key), config, nowMs))
    return files;
  const pair = await createSelfSigned(config.nodeName, config.nodeIps, nowMs);
  await mkdir(dirname(files.key), { recursive: true, mode: 0o700 });
  await writePrivate(files.key, pair.key);
  await writePrivate(files.cert, pair.cert);
  return files;
}

async function writePrivate(path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: 0o600 });
  // A file that was there keeps its mode otherwise.
  await chmod(path, 0o600);
}

/**
 * Whether the pair that is there may stay. One that somebody else has signed is theirs to replace; ours is remade when
 * it ends soon, is not valid yet (the clock was set back), or lacks a name or address of the node.
 */
function isUsable(cert: string, key: string, config: TlsConfig, nowMs: number): boolean {
  try {
    const certificate = new X509Certificate(cert);
    if (!certificate.checkPrivateKey(createPrivateKey(key))) return false;
    if (!certificate.verify(certificate.publicKey)) return true;
    const [from, to] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
    const isTimely = from <= nowMs && nowMs < to - (to - from) * REMAKE_BEFORE;
    const names = certificate.subjectAltName?.split(", ") ?? [];
    const { nodeName, nodeIps } = config;
    const covers = names.includes(`DNS:${nodeName}`) || certificate.checkIP(nodeName) !== undefined;
    return isTimely && covers && nodeIps.every((ip) => certificate.checkIP(ip) !== undefined);
  } catch {
    // Absent, half written, or no certificate at all.
    return false;
  }
}

/** An ECDSA P-256 pair for the node's name and addresses, valid for a year as the kubelet's is. */
async function createSelfSigned(
  nodeName: string,
  nodeIps: readonly string[],
  nowMs: number,
): Promise<{ readonly cert: string; readonly key: string }> {
  // Loaded only here: most starts find the files, and the library costs 30 ms and some megabytes.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  x509.cryptoProvider.set(webcrypto as Crypto);
  const algorithm = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
  const keys = (await webcrypto.subtle.generateKey(algorithm, true, [
    "sign",
    "verify",
  ])) as webcrypto.CryptoKeyPair;
  const names = [nodeName, ...nodeIps].map((value) => ({
    type: isIP(value) === 0 ? ("dns" as const) : ("ip" as const),
    value,
  }));
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${nodeName}@${Math.floor(nowMs / 1000)}`,
    notBefore: new Date(nowMs - 60 * 60_000),
    notAfter: new Date(nowMs + YEAR_MS),
    signingAlgorithm: algorithm,
    keys,
    extensions: [
      new x509.KeyUsagesExtension(
        x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment,
        true,
      ),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.SubjectAlternativeNameExtension(names),
    ],
  });
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
  const lines = pkcs8.toString("base64").match(/.{1,64}/g) ?? [];
  const key = `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
  return { cert: `${certificate.toString("pem")}\n`, key };
}
