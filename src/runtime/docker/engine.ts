/**
 * The connection to the Engine: one dockerode client on a Unix socket, its API version negotiated, and `call`, through
 * which every request goes: a deadline, and Engine errors turned into ours. Used by all files of this folder.
 */

import Docker from "dockerode";
import { orAborted, withDeadline } from "../../core/abort.ts";
import type { Clock } from "../../core/clock.ts";
import { LongshoreError } from "../../core/errors.ts";
import { engineError } from "./errors.ts";

/** The newest API this code was written against; older Engines get what they offer. */
const NEWEST_API = "1.47";
const OLDEST_API = "1.41";
const CALL_DEADLINE_MS = 120_000;
const VERSION_DEADLINE_MS = 15_000;

export class Engine {
  readonly docker: Docker;
  readonly clock: Clock;
  readonly #socketPath: string;
  #negotiated: Promise<void> | undefined;

  /** @param endpoint `unix:///path`. Throws ConfigInvalid for anything else. */
  constructor(endpoint: string, clock: Clock) {
    const match = /^unix:\/\/(\/.+)$/.exec(endpoint);
    if (match === null)
      throw new LongshoreError(
        "ConfigInvalid",
        `containerRuntimeEndpoint ${endpoint} is not of the form unix:///path/to/docker.sock`,
      );
    this.#socketPath = match[1] as string;
    this.clock = clock;
    this.docker = new Docker({ socketPath: this.#socketPath });
  }

  /** Runs one request. `what` completes "could not …" in the error's message. */
  async call<T>(
    what: string,
    signal: AbortSignal,
    work: (docker: Docker, signal: AbortSignal) => Promise<T>,
    deadlineMs = CALL_DEADLINE_MS,
  ): Promise<T> {
    await this.#negotiate(signal);
    return this.#guarded(what, signal, (inner) => work(this.docker, inner), deadlineMs);
  }

  async #guarded<T>(
    what: string,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
    deadlineMs: number,
  ): Promise<T> {
    const message = `the Engine did not ${what} within ${deadlineMs / 1000} s`;
    const deadline = { clock: this.clock, ms: deadlineMs, signal, message };
    try {
      return await withDeadline({ ...deadline, code: "EngineTimeout" }, work);
    } catch (cause) {
      throw this.explain(what, cause, signal);
    }
  }

  /** What broke while answers were still coming in, as `call` would have thrown it. */
  explain(what: string, cause: unknown, signal: AbortSignal): LongshoreError {
    const error = engineError(what, this.#socketPath, cause, signal);
    // It may come back as another version.
    if (error.code === "EngineUnreachable") this.#negotiated = undefined;
    return error;
  }

  /** Once for all callers: one that gives up does not take the others along. */
  #negotiate(signal: AbortSignal): Promise<void> {
    if (this.#negotiated === undefined) {
      const asked = this.#askVersion();
      this.#negotiated = asked;
      asked.catch(() => {
        if (this.#negotiated === asked) this.#negotiated = undefined;
      });
    }
    return orAborted(this.#negotiated, signal);
  }

  #askVersion(): Promise<void> {
    return this.#guarded(
      "tell its version",
      new AbortController().signal,
      async () => {
        const { ApiVersion } = await this.docker.version();
        const version = isOlder(ApiVersion, NEWEST_API) ? ApiVersion : NEWEST_API;
        if (isOlder(version, OLDEST_API))
          throw new LongshoreError(
            "EngineInvalid",
            `the Engine offers API ${ApiVersion}; ${OLDEST_API} (Docker 20.10) is the oldest that works`,
          );
        (this.docker.modem as { version?: string }).version = `v${version}`;
      },
      VERSION_DEADLINE_MS,
    );
  }
}

export function isOlder(a: string, b: string): boolean {
  const [majorA = 0, minorA = 0] = a.split(".").map(Number);
  const [majorB = 0, minorB = 0] = b.split(".").map(Number);
  return majorA !== majorB ? majorA < majorB : minorA < minorB;
}
