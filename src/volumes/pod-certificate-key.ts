/**
 * The key pair of a podCertificate, and what proves to the API server that we hold it: an empty PKCS#10 request (1.36)
 * and the public key with a signature over the pod's UID (1.35). The private key leaves only as a file on a tmpfs.
 * Used by pod-certificates.ts.
 */

import { constants, createPrivateKey, createPublicKey, sign, webcrypto } from "node:crypto";
import { LongshoreError } from "../core/errors.ts";
import type { KeyProof } from "./volumes.ts";

type Algorithm = webcrypto.RsaHashedKeyGenParams | webcrypto.EcKeyGenParams | webcrypto.Algorithm;

const rsa = (modulusLength: number): Algorithm => ({
  ...{ name: "RSASSA-PKCS1-v1_5", hash: "SHA-256", modulusLength },
  publicExponent: new Uint8Array([1, 0, 1]),
});
const ecdsa = (namedCurve: string, hash: string): Algorithm & { readonly hash: string } => ({
  ...{ name: "ECDSA", namedCurve, hash },
});

const ALGORITHMS: ReadonlyMap<string, Algorithm> = new Map([
  ["RSA3072", rsa(3072)],
  ["RSA4096", rsa(4096)],
  ["ECDSAP256", ecdsa("P-256", "SHA-256")],
  ["ECDSAP384", ecdsa("P-384", "SHA-384")],
  ["ECDSAP521", ecdsa("P-521", "SHA-512")],
  ["ED25519", { name: "Ed25519" }],
]);

export interface CertificateKey {
  /** PKCS#8, PEM. */
  readonly privateKey: string;
  readonly proof: KeyProof;
}

/** Throws VolumeInvalid for a type that is not known. */
export async function generateCertificateKey(
  keyType: string,
  podUid: string,
): Promise<CertificateKey> {
  const algorithm = ALGORITHMS.get(keyType);
  if (algorithm === undefined)
    throw new LongshoreError("VolumeInvalid", `unknown key type ${JSON.stringify(keyType)}`);
  const usages: webcrypto.KeyUsage[] = ["sign", "verify"];
  const keys = (await webcrypto.subtle.generateKey(
    algorithm,
    true,
    usages,
  )) as webcrypto.CryptoKeyPair;
  // Loaded here and not at the top: few nodes ever need it.
  await import("reflect-metadata");
  const { Pkcs10CertificateRequestGenerator } = await import("@peculiar/x509");
  const request = await Pkcs10CertificateRequestGenerator.create({
    keys,
    signingAlgorithm: algorithm,
  });
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", keys.privateKey));
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const publicKey = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  // Ed25519 has a digest of its own; RSA is PSS with the longest salt, as Go signs without options.
  const digest = keyType === "ED25519" ? null : "sha256";
  const padding = keyType.startsWith("RSA") ? { padding: constants.RSA_PKCS1_PSS_PADDING } : {};
  const possession = sign(digest, Buffer.from(podUid), { key: privateKey, ...padding });
  return {
    privateKey: String(privateKey.export({ format: "pem", type: "pkcs8" })),
    proof: { pkcs10: Buffer.from(request.rawData), publicKey, possession },
  };
}
