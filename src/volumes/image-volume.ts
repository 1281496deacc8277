/**
 * An image's files as a read-only directory of a pod: its layers mounted upon each other, or unpacked once where the
 * engine cannot tell them. One place for each image a volume had, since a tag may move while containers look at what it
 * was. Adopted when it is there; it goes with the pod's other mounts. Called by volume-manager.ts.
 */

import { chmod, mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { LongshoreError, messageOf } from "../core/errors.ts";
import type { Syscalls } from "../core/syscalls.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { readEntry, readMounts } from "./observe.ts";
import { volumePath } from "./paths.ts";

/** mount(2) takes one page of options. */
const MAX_OPTIONS = 4095;
const FLAGS = ["ro", "nosuid", "nodev", "noexec"];

export type ImagePort = Pick<Runtime, "holdImage" | "releaseImages">;

export interface ImageVolumeRequest {
  readonly podUid: string;
  readonly volume: string;
  /** `sha256:…` */
  readonly imageId: string;
}

/** Returns the path to mount. Throws ContainerConfigInvalid. */
export async function showImage(
  podDir: string,
  request: ImageVolumeRequest,
  ports: { readonly images: ImagePort; readonly syscalls: Syscalls },
  signal: AbortSignal,
): Promise<string> {
  const { podUid, volume, imageId } = request;
  const digest = imageId.replace(/^sha256:/, "").slice(0, 12);
  const path = join(volumePath(podDir, "image", volume), digest);
  if ((await readMounts()).some(({ mountPoint }) => mountPoint === path)) return path;
  try {
    // Before the image is held: the directory tells the teardown that there is something to release.
    await mkdir(dirname(path), { recursive: true, mode: 0o750 });
    const files = await ports.images.holdImage({ podUid, imageId }, signal);
    if (files.kind === "layers") await mountLayers(path, files.directories, ports.syscalls);
    else await mountUnpacked(path, files.unpack, ports.syscalls);
    return path;
  } catch (cause) {
    if (signal.aborted) throw cause;
    const message = `failed to mount image volume "${volume}": ${messageOf(cause)}`;
    throw new LongshoreError("ContainerConfigInvalid", message, { cause });
  }
}

export function imageDirectory(podDir: string): string {
  return dirname(volumePath(podDir, "image", "x"));
}

async function mountLayers(
  path: string,
  directories: readonly string[],
  syscalls: Syscalls,
): Promise<void> {
  await mkdir(path, { recursive: true, mode: 0o755 });
  // The empty place itself is the lowest layer: the kernel wants at least two.
  const data = await layerOptions([...directories, path]);
  await syscalls.mount({
    source: "overlay",
    target: path,
    fstype: "overlay",
    options: FLAGS,
    data,
  });
}

async function layerOptions(directories: readonly string[]): Promise<string> {
  const data = `lowerdir=${directories.join(":")}`;
  if (data.length <= MAX_OPTIONS) return data;
  const short = `lowerdir=${(await Promise.all(directories.map(shortNameOf))).join(":")}`;
  if (short.length <= MAX_OPTIONS) return short;
  throw new LongshoreError("Unsupported", "the image has more layers than can be mounted at once");
}

/** The engine keeps links with short names beside its layers for this very reason. */
async function shortNameOf(directory: string): Promise<string> {
  const layer = dirname(directory);
  if ((await readEntry(join(layer, "link"), false)) !== "file") return directory;
  return join(dirname(layer), "l", await readFile(join(layer, "link"), "utf8"));
}

async function mountUnpacked(
  path: string,
  unpack: (directory: string) => Promise<void>,
  syscalls: Syscalls,
): Promise<void> {
  if ((await readEntry(path, false)) === "absent") {
    const staged = await mkdtemp(`${path}-staged-`);
    try {
      await unpack(staged);
      await chmod(staged, 0o755);
      await rename(staged, path);
    } catch (error) {
      await rm(staged, { recursive: true, force: true });
      throw error;
    }
  }
  await syscalls.mount({ source: path, target: path, fstype: "", options: ["bind", ...FLAGS] });
}
