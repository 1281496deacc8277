/**
 * Whose service account a credential plugin with tokenAttributes is asked for. The account's annotations are checked
 * before a token is requested: one that a plugin requires is how workloads opt in. Used by credential-plugins.ts.
 */

import type { ObjectMeta, Pod } from "../api/types.ts";

export interface TokenAttributes {
  readonly audience: string;
  /** `Token`: an answer is for one token only, so none is kept. */
  readonly cacheType: "ServiceAccount" | "Token";
  readonly requireServiceAccount: boolean;
  readonly requiredAnnotations: readonly string[];
  readonly optionalAnnotations: readonly string[];
}

/** Where accounts and tokens come from: pods/object-cache.ts. */
export interface ServiceAccountSource {
  getServiceAccount(
    namespace: string,
    name: string,
    signal: AbortSignal,
  ): Promise<{ readonly metadata: ObjectMeta } | undefined>;
  requestToken(
    pod: Pod,
    request: { readonly audience: string; readonly expirationSeconds: number },
    signal: AbortSignal,
  ): Promise<{ readonly token: string }>;
}

export interface ServiceAccountRef {
  readonly uid: string;
  readonly namespace: string;
  readonly name: string;
}

export type Asker =
  /** The plugin is asked for the node. */
  | { readonly kind: "node" }
  | {
      readonly kind: "account";
      readonly account: ServiceAccountRef;
      readonly annotations: Readonly<Record<string, string>>;
    }
  /** The plugin is not asked. */
  | { readonly kind: "nobody" };

export async function findAsker(
  pod: Pod,
  attributes: TokenAttributes | undefined,
  source: ServiceAccountSource,
  signal: AbortSignal,
): Promise<Asker> {
  if (attributes === undefined) return { kind: "node" };
  const { namespace } = pod.metadata;
  const name = pod.spec.serviceAccountName ?? "";
  if (name === "") return { kind: attributes.requireServiceAccount ? "nobody" : "node" };
  const found = await source.getServiceAccount(namespace, name, signal);
  if (found === undefined) return { kind: "nobody" };
  const { uid = "", annotations = {} } = found.metadata;
  const { requiredAnnotations, optionalAnnotations } = attributes;
  if (requiredAnnotations.some((key) => annotations[key] === undefined)) return { kind: "nobody" };
  const told = [...requiredAnnotations, ...optionalAnnotations].flatMap((key) => {
    const value = annotations[key];
    return value === undefined ? [] : [[key, value] as const];
  });
  const account = { uid, namespace, name };
  return { kind: "account", account, annotations: Object.fromEntries(told) };
}
