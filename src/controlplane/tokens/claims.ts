/**
 * What a service account token says, as kube-apiserver 1.36 writes it, and whether that still holds: time, audience,
 * the account and what the token is bound to, each still there under the same UID. Pure but for reads of the store.
 * Written by token-request.ts, judged by account-authenticator.ts.
 */

import type { TokenVerdict, User } from "../extension.ts";
import { type KubeObject, textAt } from "../objects.ts";
import { NODES, PODS, type ResourceType, SECRETS, SERVICE_ACCOUNTS } from "../registry.ts";
import type { Store } from "../store.ts";

/** Also the audience that tokens for the API server have. */
export const ISSUER = "https://kubernetes.default.svc.cluster.local";

/** How long what is being deleted still backs a token: upstream's leeway. */
const DELETION_LEEWAY_MS = 60_000;
const USER_PREFIX = "system:serviceaccount:";

export interface Reference {
  readonly name: string;
  readonly uid: string;
}

interface PrivateClaims {
  readonly namespace: string;
  readonly node?: Reference;
  readonly pod?: Reference;
  readonly secret?: Reference;
  readonly serviceaccount: Reference;
  /** Seconds since the epoch after which upstream warns of a token whose life was extended. */
  readonly warnafter?: number;
}

/** Times in seconds since the epoch. */
export interface Claims {
  readonly aud: readonly string[];
  readonly exp: number;
  readonly iat: number;
  readonly iss: string;
  readonly jti: string;
  readonly "kubernetes.io": PrivateClaims;
  readonly nbf: number;
  readonly sub: string;
}

export interface ClaimsRequest {
  readonly account: KubeObject;
  /** What the token is bound to; a pod brings its node along. */
  readonly bound: Pick<PrivateClaims, "node" | "pod" | "secret">;
  readonly audiences: readonly string[];
  /** Seconds since the epoch. */
  readonly now: number;
  readonly lifeSeconds: number;
  readonly warnAfterSeconds?: number;
  readonly id: string;
}

export function computeClaims(request: ClaimsRequest): Claims {
  const { account, bound, audiences, now, lifeSeconds, warnAfterSeconds, id } = request;
  const { name, namespace = "", uid = "" } = account.metadata;
  return {
    aud: audiences,
    exp: now + lifeSeconds,
    iat: now,
    iss: ISSUER,
    jti: id,
    "kubernetes.io": {
      namespace,
      ...bound,
      serviceaccount: { name, uid },
      ...(warnAfterSeconds === undefined ? {} : { warnafter: now + warnAfterSeconds }),
    },
    nbf: now,
    sub: `${USER_PREFIX}${namespace}:${name}`,
  };
}

/** The verdict on genuine claims at `now`, in milliseconds. No asked audience means the API server's own. */
export function judgeClaims(
  claims: Claims,
  asked: readonly string[],
  store: Pick<Store, "get">,
  now: number,
): TokenVerdict {
  const audiences = (asked.length === 0 ? [ISSUER] : asked).filter((it) => claims.aud.includes(it));
  const why =
    timeProblem(claims, now / 1000) ??
    (audiences.length === 0
      ? `token audiences ${JSON.stringify(claims.aud)} is invalid for the target audiences ${JSON.stringify(asked)}`
      : undefined) ??
    absence(claims["kubernetes.io"], store, now);
  if (why !== undefined) return { kind: "refused", message: why };
  return { kind: "user", user: userOf(claims), audiences };
}

function timeProblem({ nbf, exp }: Claims, seconds: number): string | undefined {
  if (seconds >= exp) return "service account token has expired";
  return seconds < nbf ? "service account token is not valid yet" : undefined;
}

function absence(
  { namespace, serviceaccount, secret, pod, node }: PrivateClaims,
  store: Pick<Store, "get">,
  now: number,
): string | undefined {
  const isBacked = (type: ResourceType, place: string | undefined, { name, uid }: Reference) => {
    const metadata = store.get(type, place, name)?.metadata;
    const deleted = Date.parse(metadata?.deletionTimestamp ?? "");
    return metadata?.uid === uid && !(deleted < now - DELETION_LEEWAY_MS);
  };
  if (!isBacked(SERVICE_ACCOUNTS, namespace, serviceaccount))
    return `service account ${namespace}/${serviceaccount.name} has been deleted`;
  const gone = "service account token has been invalidated";
  if (secret !== undefined && !isBacked(SECRETS, namespace, secret)) return gone;
  if (pod !== undefined) return isBacked(PODS, namespace, pod) ? undefined : gone;
  return node === undefined || isBacked(NODES, undefined, node) ? undefined : gone;
}

function userOf({
  sub,
  jti,
  "kubernetes.io": { namespace, serviceaccount, pod, node },
}: Claims): User {
  const of = (kind: string, reference: Reference | undefined) =>
    reference === undefined
      ? {}
      : {
          [`authentication.kubernetes.io/${kind}-name`]: [reference.name],
          // A node that is not registered has none.
          ...(reference.uid === ""
            ? {}
            : { [`authentication.kubernetes.io/${kind}-uid`]: [reference.uid] }),
        };
  return {
    name: sub,
    uid: serviceaccount.uid,
    groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`],
    extra: {
      "authentication.kubernetes.io/credential-id": [`JTI=${jti}`],
      ...of("node", node),
      ...of("pod", pod),
    },
  };
}

/** The account that a user is, or undefined. */
export function accountOf({ name, groups }: User): { namespace: string; name: string } | undefined {
  const [, namespace, account] = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(name) ?? [];
  if (namespace === undefined || account === undefined) return undefined;
  return groups.includes("system:serviceaccounts") ? { namespace, name: account } : undefined;
}

export function referenceTo(object: KubeObject): Reference {
  return { name: textAt(object, "metadata", "name"), uid: textAt(object, "metadata", "uid") };
}
