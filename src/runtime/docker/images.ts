/** Images on the Engine: look, list, pull. Policy and back-off are decided in pods/images.ts. */

import { hasCode, LongshoreError, messageOf } from "../../core/errors.ts";
import type { Logger } from "../../core/logger.ts";
import type { Image, ImageCredentials } from "../runtime.ts";
import type { Engine } from "./engine.ts";
import { engineWords } from "./errors.ts";
import { checkImageName } from "./image-name.ts";
import { type PullMessage, PullWatch } from "./pull-progress.ts";
import { translateImageInfo, translateImageInspect } from "./translate.ts";

/** A pull takes what it takes; silence ends it (pull-progress.ts), and this what babbles without an end. */
const PULL_DEADLINE_MS = 24 * 3_600_000;

export async function inspectImage(
  engine: Engine,
  ref: string,
  signal: AbortSignal,
): Promise<Image | undefined> {
  checkImageName(ref);
  try {
    return await engine.call(`look at image ${ref}`, signal, async (docker) =>
      translateImageInspect(await docker.getImage(ref).inspect()),
    );
  } catch (error) {
    if (hasCode(error, "EngineNotFound")) return undefined;
    throw error;
  }
}

export async function listImages(engine: Engine, signal: AbortSignal): Promise<readonly Image[]> {
  const raw = await engine.call("list images", signal, (docker) => docker.listImages());
  return raw.map(translateImageInfo);
}

export interface PullDeps {
  readonly engine: Engine;
  /** How long the Engine may say nothing about a pull, in milliseconds. */
  readonly silenceMs: number;
  readonly log: Logger;
}

export async function pullImage(
  deps: PullDeps,
  request: { readonly ref: string; readonly credentials: ImageCredentials | undefined },
  signal: AbortSignal,
): Promise<Image> {
  const { engine } = deps;
  const { ref } = request;
  checkImageName(ref);
  const name = withTag(ref);
  try {
    await engine.call(
      `pull image ${ref}`,
      signal,
      (_docker, abortSignal) => pull(deps, { ...request, ref: name }, abortSignal),
      PULL_DEADLINE_MS,
    );
  } catch (error) {
    if (
      hasCode(error, "Aborted", "EngineUnreachable", "ImagePullFailed", "ImageRegistryUnavailable")
    )
      throw error;
    const words =
      error instanceof LongshoreError ? engineWords(error.cause ?? error) : messageOf(error);
    throw pullFailure(words, error);
  }
  const image = await inspectImage(engine, name, signal);
  if (image !== undefined) return image;
  throw new LongshoreError("ImagePullFailed", `image ${ref} is not there after its pull`);
}

/** Without a tag the Engine would pull every tag of the repository. */
function withTag(ref: string): string {
  if (ref.includes("@") || /:[^/]+$/.test(ref)) return ref;
  return `${ref}:latest`;
}

/** The registry answered that it, or what stands before it, cannot answer now. */
const UNAVAILABLE = /received unexpected HTTP status: 50[234]\b/;
/** A proxy's error page says no more in its hundredth line. */
const MAX_WORDS = 2000;

function pullFailure(words: string, cause?: unknown): LongshoreError {
  const code = UNAVAILABLE.test(words) ? "ImageRegistryUnavailable" : "ImagePullFailed";
  return new LongshoreError(code, words.slice(0, MAX_WORDS), { cause });
}

/** The Engine's form of credentials. */
function authOf(credentials: ImageCredentials): object {
  const { username = "", password = "", serverAddress = "" } = credentials;
  const { identityToken, registryToken } = credentials;
  return {
    ...{ username, password, serveraddress: serverAddress },
    ...(identityToken === undefined ? {} : { identitytoken: identityToken }),
    ...(registryToken === undefined ? {} : { registrytoken: registryToken }),
  };
}

async function pull(
  { engine, silenceMs, log }: PullDeps,
  { ref, credentials }: { ref: string; credentials: ImageCredentials | undefined },
  signal: AbortSignal,
): Promise<void> {
  const giveUp = new AbortController();
  const abortSignal = AbortSignal.any([signal, giveUp.signal]);
  const watch = new PullWatch({
    clock: engine.clock,
    silenceMs,
    onReport: (progress) => log.info({ image: ref, progress }, "an image is being pulled"),
    onSilence: () => giveUp.abort(),
  });
  try {
    const { docker } = engine;
    const auth = credentials === undefined ? {} : { authconfig: authOf(credentials) };
    const stream = await docker.pull(ref, { ...auth, abortSignal });
    await new Promise<void>((resolve, reject) => {
      abortSignal.addEventListener("abort", () => reject(abortSignal.reason), { once: true });
      docker.modem.followProgress(
        stream,
        (error: Error | null, output: readonly PullMessage[]) => {
          if (error !== null) return reject(error);
          const failed = output.find((message) => message.error !== undefined);
          if (failed === undefined) return resolve();
          const { code, message = failed.error ?? "pull failed" } = failed.errorDetail ?? {};
          const isAway = code !== undefined && code >= 502 && code <= 504;
          reject(
            isAway ? new LongshoreError("ImageRegistryUnavailable", message) : pullFailure(message),
          );
        },
        (message: PullMessage) => watch.onMessage(message),
      );
    });
  } catch (error) {
    if (!giveUp.signal.aborted) throw error;
    const words = `the pull made no progress for ${silenceMs / 1000} s and was given up`;
    throw new LongshoreError("ImagePullFailed", words, { cause: error });
  } finally {
    watch.stop();
  }
}
