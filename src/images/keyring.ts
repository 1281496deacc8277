/**
 * Registry credentials out of docker configuration texts (secrets of both types, the node's config.json, answers of
 * credential plugins) and which of them fit an image, the most specific location first, as the kubelet's keyring
 * does. Pure; nothing of it is ever logged.
 */

import { createHash } from "node:crypto";
import type { Secret } from "../api/types.ts";
import { canonicalJson } from "../core/hash.ts";
import type { ImageCredentials } from "../runtime/runtime.ts";
import { covers, registryOf } from "./repository.ts";
import type { ServiceAccountRef } from "./service-accounts.ts";

/** Where a credential came from, for the record of who may use a pulled image. */
export interface SecretRef {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

export interface Credential {
  readonly auth: ImageCredentials;
  /** SHA-256 of what `auth` proves; under which name a server was listed does not matter. */
  readonly hash: string;
  /** Neither of both = the node's own: every pod of the node may use what it pulled. */
  readonly secret?: SecretRef;
  readonly serviceAccount?: ServiceAccountRef;
}

type Source = Pick<Credential, "secret" | "serviceAccount">;

export interface KeyringEntry {
  /** Host, port and path without a scheme. */
  readonly location: string;
  readonly credential: Credential;
}

export type ReadSecret =
  | { readonly kind: "entries"; readonly entries: readonly KeyringEntry[] }
  /** What is wrong with it, in words that quote nothing of it but locations. */
  | { readonly kind: "unusable"; readonly why: string };

const DATA_KEYS: Readonly<Record<string, string>> = {
  "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
  "kubernetes.io/dockercfg": ".dockercfg",
};
const HUB = "index.docker.io";
const MAX_QUOTED = 100;

export function readPullSecret(secret: Secret): ReadSecret {
  const key = DATA_KEYS[secret.type ?? ""];
  if (key === undefined)
    return unusable(`its type is ${quote(secret.type ?? "")}, not one of a docker configuration`);
  const data = secret.data?.[key];
  if (data === undefined) return unusable(`it has no ${key}`);
  const { uid, namespace, name } = secret.metadata;
  const parsed = parseJson(Buffer.from(data, "base64").toString("utf8"));
  if (!isRecord(parsed)) return unusable(`its ${key} is not a JSON object`);
  const auths = key === ".dockercfg" ? parsed : (parsed.auths ?? {});
  return readAuths(auths, { secret: { uid, namespace, name } });
}

/** Of a docker configuration's `auths`. */
export function readAuths(auths: unknown, source: Source = {}): ReadSecret {
  if (!isRecord(auths)) return unusable("its auths are not an object");
  const entries: KeyringEntry[] = [];
  for (const [server, value] of Object.entries(auths)) {
    const auth = readAuth(server, value);
    if (typeof auth === "string") return unusable(`its entry for ${quote(server)} ${auth}`);
    const credential = { auth, hash: hashOf(auth), ...source };
    entries.push({ location: locationOf(server), credential });
  }
  return { kind: "entries", entries };
}

/** The credentials to try for a repository, in order; each once. */
export function findCredentials(
  entries: readonly KeyringEntry[],
  repository: string,
): readonly Credential[] {
  const fitting = entries
    .filter(({ location }) => covers(location, repository))
    .sort((a, b) => (a.location < b.location ? 1 : a.location > b.location ? -1 : 0));
  const isHub = fitting.length === 0 && registryOf(repository) === "docker.io";
  const found = isHub ? entries.filter(({ location }) => location === HUB) : fitting;
  return unique(found.map(({ credential }) => credential));
}

export function unique(credentials: readonly Credential[]): readonly Credential[] {
  const seen = new Set<string>();
  return credentials.filter(({ auth: _, ...identity }) => {
    const key = canonicalJson(identity);
    return !seen.has(key) && seen.add(key);
  });
}

function unusable(why: string): ReadSecret {
  return { kind: "unusable", why };
}

function quote(text: string): string {
  return JSON.stringify(text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text);
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

const FIELDS = ["username", "password", "auth", "identitytoken", "registrytoken"] as const;

/** What the Engine is given, or what is wrong. `auth` wins over `username` and `password`. */
function readAuth(server: string, value: unknown): ImageCredentials | string {
  if (!isRecord(value)) return "is not an object";
  const fields: Partial<Record<(typeof FIELDS)[number], string>> = {};
  for (const name of FIELDS) {
    const text = value[name];
    if (text === undefined || text === null || text === "") continue;
    if (typeof text !== "string") return `has a ${name} that is no string`;
    fields[name] = text;
  }
  const { auth, identitytoken, registrytoken } = fields;
  if (auth !== undefined) {
    const decoded = Buffer.from(auth, "base64").toString("utf8");
    const colon = decoded.indexOf(":");
    if (colon === -1) return "has an auth that is not the base64 of user:password";
    fields.username = decoded.slice(0, colon);
    // Some tools pad it.
    fields.password = decoded.slice(colon + 1).replace(/\0+$/, "");
  }
  const { username, password } = fields;
  return {
    serverAddress: server,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(identitytoken === undefined ? {} : { identityToken: identitytoken }),
    ...(registrytoken === undefined ? {} : { registryToken: registrytoken }),
  };
}

function hashOf({ serverAddress: _, ...proof }: ImageCredentials): string {
  return createHash("sha256").update(canonicalJson(proof)).digest("hex");
}

/** `/v1/` and `/v2/` are the registry's API, not part of a repository's path. */
function locationOf(server: string): string {
  return server
    .replace(/^https?:\/\//, "")
    .replace(/^([^/]*)\/v[12]\//, "$1/")
    .replace(/^([^/]*)\/$/, "$1");
}
