/** A throwaway CA with certificates for the server tests, made in memory. Called by server.test.ts only. */

import { webcrypto } from "node:crypto";
import "reflect-metadata";
import * as x509 from "@peculiar/x509";

export interface Pair {
  readonly cert: string;
  readonly key: string;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

const DAY_MS = 86_400_000;

async function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return (await webcrypto.subtle.generateKey(ALGORITHM, true, [
    "sign",
    "verify",
  ])) as webcrypto.CryptoKeyPair;
}

async function pemKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key)).toString("base64");
  return `-----BEGIN PRIVATE KEY-----\n${der}\n-----END PRIVATE KEY-----\n`;
}

export class TestCa {
  readonly cert: string;
  readonly #certificate: x509.X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(certificate: x509.X509Certificate, key: webcrypto.CryptoKey) {
    this.#certificate = certificate;
    this.#key = key;
    this.cert = certificate.toString("pem");
  }

  static async create(name: string): Promise<TestCa> {
    x509.cryptoProvider.set(webcrypto as Crypto);
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      name: `CN=${name}`,
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
    });
    return new TestCa(certificate, keys.privateKey);
  }

  /** @param days until it ends; negative = it has ended */
  async issue(subject: string, usage: "client" | "server" = "client", days = 1): Promise<Pair> {
    const keys = await generateKeys();
    const purpose = usage === "client" ? "clientAuth" : "serverAuth";
    const certificate = await x509.X509CertificateGenerator.create({
      subject,
      issuer: this.#certificate.subject,
      publicKey: keys.publicKey,
      signingKey: this.#key,
      signingAlgorithm: ALGORITHM,
      notBefore: new Date(Date.now() - 2 * DAY_MS),
      notAfter: new Date(Date.now() + days * DAY_MS),
      extensions: [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage[purpose]])],
    });
    return { cert: certificate.toString("pem"), key: await pemKey(keys.privateKey) };
  }
}
