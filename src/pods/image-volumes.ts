/**
 * The images a container needs: its own, and those it mounts as volumes, each under a name of its own in the
 * ImageManager. A container waits for all of them, and fails as its first failed one does. Used by worker.ts, apply.ts
 * and starter.ts.
 */

import type { Container, Pod, Volume } from "../api/types.ts";
import type { MountedVolume, PodVolumes } from "../volumes/volumes.ts";
import type { ImageManager } from "./images.ts";
import type { PodRecord } from "./record.ts";
import type { ImageState } from "./snapshot.ts";

interface ImageVolume {
  readonly volume: string;
  /** What the ImageManager is asked for; the name is no container's. */
  readonly spec: Container;
}

function imageVolumesOf(pod: Pod, container: Container): readonly ImageVolume[] {
  const mounted = new Set((container.volumeMounts ?? []).map(({ name }) => name));
  return (pod.spec.volumes ?? []).flatMap(({ name, image }: Volume) => {
    if (image === undefined || !mounted.has(name)) return [];
    const { reference = "", pullPolicy } = image;
    const policy = pullPolicy === undefined ? {} : { imagePullPolicy: pullPolicy };
    const spec = { name: `${container.name}/${name}`, image: reference, ...policy };
    return [{ volume: name, spec }];
  });
}

type Images = Pick<ImageManager, "state" | "ensure" | "forget">;

function allOf(pod: Pod, container: Container): readonly Container[] {
  return [container, ...imageVolumesOf(pod, container).map(({ spec }) => spec)];
}

/** Of all images of a container as if they were one; `present` with the container's own. */
export function imageStateOf(
  images: Pick<Images, "state">,
  pod: Pod,
  container: Container,
): ImageState {
  const states = allOf(pod, container).map((spec) => images.state(pod.metadata.uid, spec));
  for (const kind of ["unknown", "failed", "pulling"] as const) {
    const found = states.find((state) => state.kind === kind);
    if (found !== undefined) return found;
  }
  return states[0] as ImageState;
}

/** Looks for those that nobody looks for yet. */
export async function ensureImages(
  images: Pick<Images, "state" | "ensure">,
  pod: Pod,
  container: Container,
  signal: AbortSignal,
): Promise<void> {
  for (const spec of allOf(pod, container)) {
    const state = images.state(pod.metadata.uid, spec);
    const isDue = state.kind === "failed" && state.waitMs <= 0 && state.mayRetry;
    if (state.kind === "unknown" || isDue) await images.ensure(pod, spec, signal);
  }
}

/** By volume, the IDs of the images to be shown; the next start looks for all images of the container again. */
export function takeImages(
  images: Pick<Images, "state" | "forget">,
  pod: Pod,
  container: Container,
): ReadonlyMap<string, string> {
  const { uid } = pod.metadata;
  const taken = imageVolumesOf(pod, container).flatMap(({ volume, spec }) => {
    const state = images.state(uid, spec);
    return state.kind === "present" ? [[volume, state.imageId] as const] : [];
  });
  for (const { name } of allOf(pod, container)) images.forget(uid, name);
  return new Map(taken);
}

/** The pod's volumes as this container is to see them. */
export async function withImageVolumes(
  volumes: Pick<PodVolumes, "showImage">,
  { uid: podUid, mounted }: Pick<PodRecord, "uid" | "mounted">,
  imageIds: ReadonlyMap<string, string>,
  signal: AbortSignal,
): Promise<ReadonlyMap<string, MountedVolume>> {
  const all = new Map(mounted);
  for (const [volume, imageId] of imageIds)
    all.set(volume, await volumes.showImage({ podUid, volume, imageId }, signal));
  return all;
}
