/**
 * Who asks: by client certificate (Node has verified it against the client CA when `authorized` is true), else by a
 * bearer token that the API server reviews, also when a browser's WebSocket carries it as a sub-protocol. Who
 * presents nothing is anonymous where that is allowed. Reviews are remembered under a digest, failures to review are not.
 */

import { createHmac, randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { DetailedPeerCertificate, TLSSocket } from "node:tls";
import { LruMap } from "../api/lru-map.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { User } from "./auth.ts";
import type { Reviews } from "./reviews.ts";

const CACHE_ENTRIES = 4096;
const TOKEN_PROTOCOL = "base64url.bearer.authorization.k8s.io.";
const AUTHENTICATED = "system:authenticated";
const ANONYMOUS: User = { name: "system:anonymous", groups: ["system:unauthenticated"] };
/** No token of a cluster is longer; what is, is nobody's. */
const MAX_TOKEN_BYTES = 64 * 1024;

/** Of AgentConfig. */
export interface AuthenticationSettings {
  readonly anonymous: boolean;
  /** Bearer tokens, by TokenReview. */
  readonly webhook: boolean;
  /** How long a review counts. */
  readonly cacheMs: number;
}

interface Remembered {
  readonly user: User | undefined;
  readonly until: number;
}

export class Authenticator {
  readonly #reviews: Reviews;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #settings: AuthenticationSettings;
  readonly #key = randomBytes(32);
  readonly #cache = new LruMap<string, Remembered>(CACHE_ENTRIES);

  constructor(options: {
    readonly reviews: Reviews;
    readonly clock: Clock;
    readonly log: Logger;
    readonly settings: AuthenticationSettings;
  }) {
    this.#reviews = options.reviews;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#settings = options.settings;
  }

  /** undefined = nobody we know, or nobody who could be asked. */
  async authenticate(
    request: IncomingMessage,
    hasClientCa: boolean,
    signal: AbortSignal,
  ): Promise<User | undefined> {
    const socket = request.socket as TLSSocket;
    if (hasClientCa && socket.authorized) {
      const { subject, valid_to: end } = socket.getPeerCertificate();
      const user = userOf(subject);
      // It was valid when the connection was made; API servers keep theirs for days.
      if (user !== undefined && !(Date.parse(end) < this.#clock.now())) return user;
    }
    const { anonymous, webhook, cacheMs } = this.#settings;
    const token = takeToken(request);
    if (token === undefined) return anonymous ? ANONYMOUS : undefined;
    if (!webhook || token.length > MAX_TOKEN_BYTES) return undefined;
    const digest = createHmac("sha256", this.#key).update(token).digest("base64");
    const known = this.#cache.get(digest);
    if (known !== undefined && known.until > this.#clock.monotonic()) return known.user;
    try {
      const user = withAuthenticated(await this.#reviews.token(token, signal));
      this.#cache.set(digest, { user, until: this.#clock.monotonic() + cacheMs });
      return user;
    } catch (error) {
      this.#log.warn({ err: messageOf(error) }, "a token could not be reviewed");
      return undefined;
    }
  }
}

function withAuthenticated(user: User | undefined): User | undefined {
  if (user === undefined || user.groups.includes(AUTHENTICATED)) return user;
  return { ...user, groups: [...user.groups, AUTHENTICATED] };
}

/** Common name → user, organizations → groups. */
export function userOf(subject: DetailedPeerCertificate["subject"] | undefined): User | undefined {
  const names = asList(subject?.CN);
  const name = names.at(-1);
  if (name === undefined || name === "") return undefined;
  return { name, groups: [...asList(subject?.O), AUTHENTICATED] };
}

function asList(value: string | readonly string[] | undefined): readonly string[] {
  if (value === undefined) return [];
  return typeof value === "string" ? [value] : value;
}

/** From the header, or from the sub-protocols, of which it is taken out. */
export function takeToken({ headers }: Pick<IncomingMessage, "headers">): string | undefined {
  const [, fromHeader] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? "") ?? [];
  if (fromHeader !== undefined) return fromHeader;
  const offered = (headers["sec-websocket-protocol"] ?? "").split(",").map((name) => name.trim());
  const carriers = offered.filter((name) => name.startsWith(TOKEN_PROTOCOL));
  const others = offered.filter((name) => !name.startsWith(TOKEN_PROTOCOL) && name !== "");
  const [carrier] = carriers;
  // The server must have one to choose that is no secret.
  if (carrier === undefined || carriers.length > 1 || others.length === 0) return undefined;
  headers["sec-websocket-protocol"] = others.join(", ");
  const encoded = carrier.slice(TOKEN_PROTOCOL.length);
  if (!/^[\w-]+$/.test(encoded)) return undefined;
  return Buffer.from(encoded, "base64url").toString("utf8");
}
