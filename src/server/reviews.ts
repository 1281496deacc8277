/**
 * The two questions to the API server: whose is this token (TokenReview), and may they (SubjectAccessReview). Asked up
 * to five times while the answer may still come. Made by agent.ts, asked by authentication.ts and authorization.ts.
 */

import type { ApiClient } from "../api/client.ts";
import type { Resource } from "../api/resources.ts";
import type { StoredObject } from "../api/types.ts";
import { sleep } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { classOf, LongshoreError } from "../core/errors.ts";
import type { User } from "./auth.ts";

export interface Reviews {
  /** undefined = nobody's. Throws when the API server does not tell. */
  token(token: string, signal: AbortSignal): Promise<User | undefined>;
  access(spec: object, signal: AbortSignal): Promise<boolean>;
}

interface TokenReview extends StoredObject {
  readonly status?: {
    readonly authenticated?: boolean;
    readonly error?: string;
    readonly user?: {
      readonly username?: string;
      readonly uid?: string;
      readonly groups?: readonly string[];
      readonly extra?: Readonly<Record<string, readonly string[]>>;
    };
  };
}

interface AccessReview extends StoredObject {
  readonly status?: {
    readonly allowed?: boolean;
    readonly denied?: boolean;
    readonly evaluationError?: string;
  };
}

const TOKEN_REVIEWS: Resource<TokenReview> = {
  ...{ group: "authentication.k8s.io", version: "v1", namespaced: false },
  ...{ plural: "tokenreviews", kind: "TokenReview" },
};
const ACCESS_REVIEWS: Resource<AccessReview> = {
  ...{ group: "authorization.k8s.io", version: "v1", namespaced: false },
  ...{ plural: "subjectaccessreviews", kind: "SubjectAccessReview" },
};

const TRIES = 5;
const FIRST_DELAY_MS = 500;
const FACTOR = 1.5;
const JITTER = 0.2;

export function createReviews(options: {
  readonly client: ApiClient;
  readonly clock: Clock;
  readonly random: () => number;
}): Reviews {
  const { client, clock, random } = options;
  const ask = async <T extends StoredObject>(
    resource: Resource<T>,
    spec: object,
    signal: AbortSignal,
  ): Promise<T> => {
    const { group, version, kind } = resource;
    const body = { apiVersion: `${group}/${version}`, kind, spec };
    for (let attempt = 1, delay = FIRST_DELAY_MS; ; attempt += 1, delay *= FACTOR) {
      try {
        return await client.create(resource, undefined, body, signal);
      } catch (error) {
        if (attempt >= TRIES || signal.aborted || classOf(error) !== "transient") throw error;
        await sleep(clock, delay * (1 + JITTER * random()), signal);
      }
    }
  };
  return {
    async token(token, signal) {
      const { status } = await ask(TOKEN_REVIEWS, { token }, signal);
      if (status?.error) throw new LongshoreError("ApiServerError", status.error);
      const { username, uid, groups = [], extra } = status?.user ?? {};
      if (status?.authenticated !== true || !username) return undefined;
      return {
        ...{ name: username, groups },
        ...(uid === undefined ? {} : { uid }),
        ...(extra === undefined ? {} : { extra }),
      };
    },
    async access(spec, signal) {
      const { status } = await ask(ACCESS_REVIEWS, spec, signal);
      return status?.allowed === true && status.denied !== true;
    },
  };
}
