/**
 * May they: administrators (system:masters) always, also while the API server is away; for all others it is asked, one
 * subresource after the other, and the answer remembered for a while. With mode AlwaysAllow everybody who is known may.
 */

import { LruMap } from "../api/lru-map.ts";
import type { Clock } from "../core/clock.ts";
import { messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { forbidden, subresourcesOf, type User, undecided, verbOf } from "./auth.ts";
import type { Reply } from "./reply.ts";
import type { Reviews } from "./reviews.ts";
import type { Route } from "./routes.ts";

const ADMIN_GROUP = "system:masters";
const CACHE_ENTRIES = 8192;
/** Longer questions are asked each time: an attacker may choose them. */
const MAX_KEY_LENGTH = 10_000;

/** Of AgentConfig. */
export interface AuthorizationSettings {
  readonly mode: "AlwaysAllow" | "Webhook";
  /** How long an answer counts. */
  readonly allowedMs: number;
  readonly refusedMs: number;
}

interface AuthorizerOptions {
  readonly nodeName: string;
  readonly reviews: Reviews;
  readonly clock: Clock;
  readonly log: Logger;
  readonly settings: AuthorizationSettings;
}

interface Remembered {
  readonly isAllowed: boolean;
  readonly until: number;
}

export class Authorizer {
  readonly #options: AuthorizerOptions;
  readonly #cache = new LruMap<string, Remembered>(CACHE_ENTRIES);

  constructor(options: AuthorizerOptions) {
    this.#options = options;
  }

  /** undefined = allowed. */
  async refusal(
    user: User,
    method: string,
    route: Route,
    signal: AbortSignal,
  ): Promise<Reply | undefined> {
    const isOpen = this.#options.settings.mode === "AlwaysAllow";
    if (isOpen || user.groups.includes(ADMIN_GROUP)) return undefined;
    const verb = verbOf(method, route);
    const subresources = subresourcesOf(route);
    for (const subresource of subresources) {
      try {
        if (await this.#isAllowed(user, verb, subresource, signal)) return undefined;
      } catch (error) {
        const fields = { err: messageOf(error), user: user.name, verb, subresource };
        this.#options.log.warn(fields, "a request could not be authorized");
        return undecided(user, verb, subresource);
      }
    }
    return forbidden(user, verb, subresources);
  }

  async #isAllowed(
    user: User,
    verb: string,
    subresource: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { nodeName, reviews, clock, settings } = this.#options;
    const { name, ...rest } = user;
    const resourceAttributes = {
      ...{ verb, version: "v1", resource: "nodes", subresource, name: nodeName },
    };
    const spec = { user: name, ...rest, resourceAttributes };
    const key = JSON.stringify(spec);
    const known = this.#cache.get(key);
    if (known !== undefined && known.until > clock.monotonic()) return known.isAllowed;
    const isAllowed = await reviews.access(spec, signal);
    const until = clock.monotonic() + (isAllowed ? settings.allowedMs : settings.refusedMs);
    if (key.length < MAX_KEY_LENGTH) this.#cache.set(key, { isAllowed, until });
    return isAllowed;
  }
}
