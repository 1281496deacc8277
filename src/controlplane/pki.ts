/**
 * The certificates of the embedded control plane: one authority and what it signs (ECDSA P-256), kept as 0600 files
 * in a 0700 directory and renewed when fewer than 30 days are left. Called by controlplane.ts at start.
 */

import "reflect-metadata";
import { randomBytes, webcrypto } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import * as x509 from "@peculiar/x509";
import type { Clock } from "../core/clock.ts";
import { replaceFileSync } from "../core/replace-file.ts";

export const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
/** Of every API server, beside its address and the cluster IP of the Service. */
export const API_SERVER_NAMES = [
  "127.0.0.1",
  "localhost",
  "kubernetes",
  "kubernetes.default",
  "kubernetes.default.svc",
  "kubernetes.default.svc.cluster.local",
];
const DAY_MS = 86_400_000;

export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

export interface CertificateRequest {
  /** File name without its ending. */
  readonly file: string;
  readonly commonName: string;
  readonly organizations?: readonly string[];
  /** Names and addresses of a serving certificate; absent for client certificates. */
  readonly sans?: readonly string[];
}

export class Pki {
  readonly #dir: string;
  readonly #clock: Clock;

  constructor(options: { readonly dir: string; readonly clock: Clock }) {
    this.#dir = options.dir;
    this.#clock = options.clock;
  }

  get caFile(): string {
    return join(this.#dir, "ca.crt");
  }

  /** The authority, made on first use. */
  async ca(): Promise<KeyPair> {
    mkdirSync(this.#dir, { recursive: true, mode: 0o700 });
    chmodSync(this.#dir, 0o700);
    const kept = this.#read("ca");
    if (kept !== undefined) return kept;
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: randomBytes(16).toString("hex"),
      name: "CN=longshore-ca",
      ...this.#validity(3650),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.keyCertSign |
            x509.KeyUsageFlags.cRLSign |
            x509.KeyUsageFlags.digitalSignature,
          true,
        ),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return this.#write("ca", certificate, keys.privateKey);
  }

  /** The kept certificate, or a new one where there is none, it is old, or its names have changed. */
  async issue(request: CertificateRequest): Promise<KeyPair> {
    const ca = await this.ca();
    const kept = this.#read(request.file);
    if (kept !== undefined && isFor(kept.cert, ca.cert, request)) return kept;
    const keys = await generateKeys();
    const authority = new x509.X509Certificate(ca.cert);
    const isServer = request.sans !== undefined;
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: randomBytes(16).toString("hex"),
      subject: [
        { CN: [request.commonName] },
        ...(request.organizations ?? []).map((name) => ({ O: [name] })),
      ],
      issuer: authority.subject,
      ...this.#validity(365),
      publicKey: keys.publicKey,
      signingKey: await importKey(ca.key),
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([
          isServer ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth,
        ]),
        await x509.AuthorityKeyIdentifierExtension.create(authority.publicKey),
        ...(isServer ? [new x509.SubjectAlternativeNameExtension(namesOf(request.sans))] : []),
      ],
    });
    return this.#write(request.file, certificate, keys.privateKey);
  }

  #validity(days: number): { notBefore: Date; notAfter: Date } {
    const now = this.#clock.now();
    return { notBefore: new Date(now - 3_600_000), notAfter: new Date(now + days * DAY_MS) };
  }

  #read(file: string): KeyPair | undefined {
    const path = join(this.#dir, file);
    if (!existsSync(`${path}.crt`) || !existsSync(`${path}.key`)) return undefined;
    const cert = readFileSync(`${path}.crt`, "utf8");
    const left = new x509.X509Certificate(cert).notAfter.getTime() - this.#clock.now();
    return left < 30 * DAY_MS ? undefined : { cert, key: readFileSync(`${path}.key`, "utf8") };
  }

  async #write(
    file: string,
    certificate: x509.X509Certificate,
    privateKey: webcrypto.CryptoKey,
  ): Promise<KeyPair> {
    const der = await webcrypto.subtle.exportKey("pkcs8", privateKey);
    const key = `${x509.PemConverter.encode(der, "PRIVATE KEY")}\n`;
    const cert = `${certificate.toString("pem")}\n`;
    replaceFileSync(join(this.#dir, `${file}.key`), key);
    replaceFileSync(join(this.#dir, `${file}.crt`), cert);
    return { cert, key };
  }
}

export interface KubeconfigContent extends KeyPair {
  readonly server: string;
  readonly ca: string;
  readonly user: string;
}

/** A kubeconfig with everything inline, mode 0600, replaced in one step. */
export function writeKubeconfig(path: string, content: KubeconfigContent): void {
  const base64 = (text: string): string => Buffer.from(text).toString("base64");
  const config = {
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name: "longshore",
        cluster: { server: content.server, "certificate-authority-data": base64(content.ca) },
      },
    ],
    users: [
      {
        name: content.user,
        user: {
          "client-certificate-data": base64(content.cert),
          "client-key-data": base64(content.key),
        },
      },
    ],
    contexts: [{ name: "longshore", context: { cluster: "longshore", user: content.user } }],
    "current-context": "longshore",
  };
  replaceFileSync(path, `${JSON.stringify(config, undefined, 2)}\n`);
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

export function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = x509.PemConverter.decodeFirst(pem);
  return webcrypto.subtle.importKey("pkcs8", der, ALGORITHM, false, ["sign"]);
}

function namesOf(sans: readonly string[]): x509.GeneralName[] {
  return sans.map((name) => new x509.GeneralName(isAddress(name) ? "ip" : "dns", name));
}

function isAddress(name: string): boolean {
  return name.includes(":") || /^\d+\.\d+\.\d+\.\d+$/.test(name);
}

function isFor(pem: string, ca: string, request: CertificateRequest): boolean {
  const certificate = new x509.X509Certificate(pem);
  if (certificate.issuer !== new x509.X509Certificate(ca).subject) return false;
  if (certificate.subjectName.getField("CN")[0] !== request.commonName) return false;
  const organizations = certificate.subjectName.getField("O");
  if (String(organizations) !== String(request.organizations ?? [])) return false;
  if (request.sans === undefined) return true;
  const names = certificate.getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? [];
  return request.sans.every((san) => names.some((name) => name.value === san));
}
