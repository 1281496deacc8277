/** Whose a service account token is: one of this control plane's key and issuer. Given to the server by install.ts. */

import type { Clock } from "../../core/clock.ts";
import type { TokenAuthenticator } from "../extension.ts";
import type { Store } from "../store.ts";
import { type Claims, ISSUER, judgeClaims } from "./claims.ts";
import { readToken, type SigningKey } from "./signing-key.ts";

export function createAccountAuthenticator(options: {
  readonly key: SigningKey;
  readonly store: Pick<Store, "get">;
  readonly clock: Clock;
}): TokenAuthenticator {
  const { key, store, clock } = options;
  return (token, audiences) => {
    const read = readToken(key, token);
    if (read === undefined || read.claims.iss !== ISSUER) return undefined;
    if (!read.isGenuine) return { kind: "refused", message: "the token's signature is invalid" };
    // What this key has signed has the shape that computeClaims gives.
    return judgeClaims(read.claims as unknown as Claims, audiences, store, clock.now());
  };
}
