/**
 * The key that signs service account tokens (ECDSA P-256, ES256): a file of mode 0600 of its own, made on first use,
 * so that tokens outlive a restart. Signs and verifies compact JWTs; what they claim is claims.ts. Made by install.ts.
 */

import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { replaceFileSync } from "../../core/replace-file.ts";
import { isObject } from "../objects.ts";

export const ALGORITHM = "ES256";
/** JWT wants the two numbers bare, not in DER. */
const ENCODING = { dsaEncoding: "ieee-p1363" } as const;

export interface SigningKey {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** As kube-apiserver names its keys: the SHA-256 of the public key's SubjectPublicKeyInfo. */
  readonly id: string;
}

export function loadSigningKey(file: string): SigningKey {
  if (!existsSync(file)) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const pem = privateKey.export({ type: "pkcs8", format: "pem" });
    replaceFileSync(file, pem);
  }
  const privateKey = createPrivateKey(readFileSync(file));
  const publicKey = createPublicKey(privateKey);
  const der = publicKey.export({ type: "spki", format: "der" });
  return { privateKey, publicKey, id: createHash("sha256").update(der).digest("base64url") };
}

export function signToken({ privateKey, id }: SigningKey, claims: object): string {
  const signed = `${encode({ alg: ALGORITHM, kid: id })}.${encode(claims)}`;
  const signature = sign("sha256", Buffer.from(signed), { key: privateKey, ...ENCODING });
  return `${signed}.${signature.toString("base64url")}`;
}

export interface ReadToken {
  readonly claims: Readonly<Record<string, unknown>>;
  /** Signed by this key; `claims` is anybody's word otherwise. */
  readonly isGenuine: boolean;
}

/** Undefined for what is no compact JWT. */
export function readToken({ publicKey }: SigningKey, token: string): ReadToken | undefined {
  const [, header = "", payload = "", signature = ""] =
    /^([\w-]+)\.([\w-]+)\.([\w-]+)$/.exec(token) ?? [];
  const [head, claims] = [decode(header), decode(payload)];
  if (head === undefined || claims === undefined) return undefined;
  const isGenuine =
    head.alg === ALGORITHM &&
    verify(
      "sha256",
      Buffer.from(`${header}.${payload}`),
      { key: publicKey, ...ENCODING },
      Buffer.from(signature, "base64url"),
    );
  return { claims, isGenuine };
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function decode(part: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
    return isObject(value) ? value : undefined;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
