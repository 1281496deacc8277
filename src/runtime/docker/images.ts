/** Images on the Engine: look, list, pull. Policy and back-off are decided in pods/images.ts. */

import type Docker from "dockerode";
import { hasCode, LongshoreError, messageOf } from "../../core/errors.ts";
import type { Image, ImageCredentials } from "../runtime.ts";
import type { Engine } from "./engine.ts";
import { engineWords } from "./errors.ts";
import { checkImageName } from "./image-name.ts";
import { translateImageInfo, translateImageInspect } from "./translate.ts";

/** A pull takes what it takes; this only ends one that is stuck for good. */
const PULL_DEADLINE_MS = 3_600_000;

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

export async function pullImage(
  engine: Engine,
  request: { readonly ref: string; readonly credentials: ImageCredentials | undefined },
  signal: AbortSignal,
): Promise<Image> {
  const { ref } = request;
  checkImageName(ref);
  const name = withTag(ref);
  try {
    await engine.call(
      `pull image ${ref}`,
      signal,
      (docker, abortSignal) => pull(docker, name, request.credentials, abortSignal),
      PULL_DEADLINE_MS,
    );
  } catch (error) {
    if (hasCode(error, "Aborted", "EngineUnreachable", "ImagePullFailed")) throw error;
    const words =
      error instanceof LongshoreError ? engineWords(error.cause ?? error) : messageOf(error);
    throw new LongshoreError("ImagePullFailed", words, { cause: error });
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

interface Progress {
  readonly error?: string;
  readonly errorDetail?: { readonly message?: string };
}

async function pull(
  docker: Docker,
  ref: string,
  credentials: ImageCredentials | undefined,
  abortSignal: AbortSignal,
): Promise<void> {
  const authconfig =
    credentials === undefined
      ? {}
      : {
          authconfig: {
            username: credentials.username ?? "",
            password: credentials.password ?? "",
            serveraddress: credentials.serverAddress ?? "",
            ...(credentials.identityToken === undefined
              ? {}
              : { identitytoken: credentials.identityToken }),
          },
        };
  const stream = await docker.pull(ref, { ...authconfig, abortSignal });
  await new Promise<void>((resolve, reject) => {
    docker.modem.followProgress(stream, (error: Error | null, output: Progress[]) => {
      if (error !== null) return reject(error);
      const failed = output.find((line) => line.error !== undefined);
      if (failed === undefined) return resolve();
      const words = failed.errorDetail?.message ?? failed.error ?? "pull failed";
      reject(new LongshoreError("ImagePullFailed", words));
    });
  });
}
