/**
 * Bootstrap tokens: `ID.SECRET`, kept in Secrets of type bootstrap.kubernetes.io/token in kube-system, as whom a node
 * that has nothing yet asks for its certificate (plugin/pkg/auth/authenticator/token/bootstrap). The control plane's
 * install.ts hands it to the API server.
 */

import { timingSafeEqual } from "node:crypto";
import type { Clock } from "../core/clock.ts";
import { sha256 } from "../core/hash.ts";
import type { TokenAuthenticator, User } from "./extension.ts";
import { type KubeObject, textAt } from "./objects.ts";
import { SECRETS } from "./registry.ts";
import type { Store } from "./store.ts";
import { ISSUER } from "./tokens/claims.ts";

const TOKEN = /^([a-z0-9]{6})\.([a-z0-9]{16})$/;
const TYPE = "bootstrap.kubernetes.io/token";
const GROUP = "system:bootstrappers";
const EXTRA_GROUP = /^system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]$/;

export function createBootstrapTokens(context: {
  readonly store: Store;
  readonly clock: Clock;
}): TokenAuthenticator {
  return (token, audiences) => {
    const [, id, secret] = TOKEN.exec(token) ?? [];
    if (id === undefined || secret === undefined) return undefined;
    const stored = context.store.get(SECRETS, "kube-system", `bootstrap-token-${id}`);
    const user = stored && userOf(stored, id, secret, context.clock.now());
    // It is good for this API server alone.
    const good = (audiences.length === 0 ? [ISSUER] : audiences).filter((it) => it === ISSUER);
    if (user !== undefined && good.length > 0) return { kind: "user", user, audiences: good };
    return { kind: "refused", message: "no such bootstrap token" };
  };
}

function userOf(stored: KubeObject, id: string, secret: string, now: number): User | undefined {
  const data = (key: string): string =>
    Buffer.from(textAt(stored, "data", key), "base64").toString("utf8");
  const expiration = data("expiration");
  const isUsable =
    stored.type === TYPE &&
    stored.metadata.deletionTimestamp === undefined &&
    data("token-id") === id &&
    isSame(data("token-secret"), secret) &&
    data("usage-bootstrap-authentication") === "true" &&
    // A time that cannot be read is over.
    (expiration === "" || Date.parse(expiration) > now);
  if (!isUsable) return undefined;
  const extra = data("auth-extra-groups")
    .split(",")
    .filter((group) => group !== "");
  if (!extra.every((group) => EXTRA_GROUP.test(group))) return undefined;
  return { name: `system:bootstrap:${id}`, groups: [GROUP, ...extra] };
}

/** Takes as long whatever differs. */
function isSame(a: string, b: string): boolean {
  return a !== "" && timingSafeEqual(sha256(a), sha256(b));
}
