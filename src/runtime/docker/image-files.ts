/**
 * The files of an image on the host, for image volumes: this Engine mounts no images. A container that is never started
 * holds the image; its layers are named where the storage driver is overlay2, else its file system is unpacked from an
 * export. Called through docker-runtime.ts.
 */

import type { Readable } from "node:stream";
import { type Exec, execOk } from "../../core/exec.ts";
import { encodeImageHolder, IMAGE_HOLDER, OWNER, POD_UID } from "../labels.ts";
import type { ImageFiles, ImageHold } from "../runtime.ts";
import { removeContainer } from "./containers.ts";
import type { Engine } from "./engine.ts";

/** An image is unpacked in as long as it takes; a disk that hangs is not waited for all day. */
const UNPACK_MS = 3_600_000;

/** What a Docker image says of its place, where its storage driver tells. */
interface GraphDriver {
  readonly Name: string;
  readonly Data: Readonly<Record<string, string | undefined>> | null;
}

/** Directories of an image, uppermost first; undefined where the driver has none that can be mounted. Pure. */
export function layersOf({ Name, Data }: GraphDriver): readonly string[] | undefined {
  if (Name !== "overlay2" || !Data?.UpperDir) return undefined;
  return [Data.UpperDir, ...(Data.LowerDir?.split(":") ?? [])];
}

export async function holdImage(
  { engine, exec }: { readonly engine: Engine; readonly exec: Exec },
  hold: ImageHold,
  signal: AbortSignal,
): Promise<ImageFiles> {
  const holder = await findHolder(engine, hold, signal);
  const id = holder ?? (await createHolder(engine, hold, signal));
  const what = `look at image ${hold.imageId}`;
  const raw = await engine.call(what, signal, (docker) => docker.getImage(hold.imageId).inspect());
  const directories = layersOf(raw.GraphDriver as unknown as GraphDriver);
  if (directories !== undefined) return { kind: "layers", directories };
  return {
    kind: "archive",
    unpack: async (directory) => {
      const inputFrom = await engine.call(
        `export image ${hold.imageId}`,
        signal,
        async (docker) => (await docker.getContainer(id).export()) as Readable,
      );
      const args = ["-x", "-p", "--same-owner", "--numeric-owner", "-C", directory];
      try {
        await execOk(exec, { file: "tar", args, inputFrom, timeoutMs: UNPACK_MS }, signal);
      } finally {
        inputFrom.destroy();
      }
    },
  };
}

async function findHolder(
  engine: Engine,
  { podUid, imageId }: ImageHold,
  signal: AbortSignal,
): Promise<string | undefined> {
  const found = await listHolders(engine, podUid, signal);
  return found.find(({ ImageID }) => ImageID === imageId)?.Id;
}

function listHolders(engine: Engine, podUid: string | undefined, signal: AbortSignal) {
  const ofPod = podUid === undefined ? [] : [`${POD_UID}=${podUid}`];
  const filters = { label: [`${OWNER}=${IMAGE_HOLDER}`, ...ofPod] };
  return engine.call("list holders of images", signal, (docker) =>
    docker.listContainers({ all: true, filters }),
  );
}

async function createHolder(
  engine: Engine,
  { podUid, imageId }: ImageHold,
  signal: AbortSignal,
): Promise<string> {
  const made = await engine.call(`hold image ${imageId}`, signal, (docker) =>
    docker.createContainer({
      Image: imageId,
      // An image of mere data names no program, and this one is never run.
      Entrypoint: ["/"],
      Labels: encodeImageHolder(podUid),
      HostConfig: { NetworkMode: "none" },
    }),
  );
  return made.id;
}

export async function releaseImages(
  engine: Engine,
  podUid: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  for (const { Id } of await listHolders(engine, podUid, signal))
    await removeContainer(engine, Id, signal);
}
