/** What relying parties read to verify tokens themselves: OpenID discovery and the key set. Given to the server by install.ts. */

import type { Document } from "../extension.ts";
import { ISSUER } from "./claims.ts";
import { ALGORITHM, type SigningKey } from "./signing-key.ts";

export const DISCOVERY_PATH = "/.well-known/openid-configuration";
export const KEYS_PATH = "/openid/v1/jwks";

/** `server` is where pods find the API server. */
export function issuerDocument(
  path: string,
  { publicKey, id }: SigningKey,
  server: string,
): Document | undefined {
  if (path === DISCOVERY_PATH) {
    const body = {
      issuer: ISSUER,
      jwks_uri: `${server}${KEYS_PATH}`,
      response_types_supported: ["id_token"],
      subject_types_supported: ["public"],
      id_token_signing_alg_values_supported: [ALGORITHM],
    };
    return { contentType: "application/json", body: JSON.stringify(body) };
  }
  if (path !== KEYS_PATH) return undefined;
  const key = { use: "sig", ...publicKey.export({ format: "jwk" }), kid: id, alg: ALGORITHM };
  return { contentType: "application/jwk-set+json", body: JSON.stringify({ keys: [key] }) };
}
