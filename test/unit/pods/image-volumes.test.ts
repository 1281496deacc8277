/** A container with image volumes: all its images as one, each looked for by its own policy. */

import { expect, test } from "vitest";
import type { Container } from "../../../src/api/types.ts";
import { ensureImages, imageStateOf, takeImages } from "../../../src/pods/image-volumes.ts";
import type { ImageState } from "../../../src/pods/snapshot.ts";
import { makePod } from "./support.ts";

const { signal } = new AbortController();
const WEB: Container = {
  ...{ name: "web", image: "web:1" },
  volumeMounts: [
    { name: "cats", mountPath: "/cats" },
    { name: "disk", mountPath: "/disk" },
  ],
};
const POD = makePod({
  containers: [WEB],
  volumes: [
    { name: "cats", image: { reference: "kitten:1", pullPolicy: "Always" } },
    { name: "dogs", image: { reference: "puppy:1" } },
    { name: "disk", emptyDir: {} },
  ],
});
const UNKNOWN: ImageState = { kind: "unknown" };
const PULLING: ImageState = { kind: "pulling" };
const failed = (waitMs: number): ImageState => ({
  ...{ kind: "failed", reason: "ErrImagePull", message: "no", waitMs, mayRetry: waitMs <= 0 },
});
const present = (imageId: string): ImageState => ({ kind: "present", imageId });

function imagesIn(own: ImageState, volume: ImageState) {
  const asked: string[] = [];
  const forgotten: string[] = [];
  return {
    ...{ asked, forgotten },
    state: (_uid: string, { name }: Container) => (name === "web" ? own : volume),
    ensure: async (_pod: object, { name, image, imagePullPolicy }: Container) =>
      void asked.push(`${name} ${image} ${imagePullPolicy}`),
    forget: (_uid: string, name: string) => void forgotten.push(name),
  };
}

test.each([
  ["own image", UNKNOWN, present("v"), UNKNOWN, ["web web:1 undefined"]],
  ["volume's image", present("c"), UNKNOWN, UNKNOWN, ["web/cats kitten:1 Always"]],
  ["pull of the volume's image", present("c"), PULLING, PULLING, []],
  ["volume's failure beside a pull", PULLING, failed(5), failed(5), []],
  [
    "volume's failure that is due",
    present("c"),
    failed(0),
    failed(0),
    ["web/cats kitten:1 Always"],
  ],
  ["own ID when all are there", present("c"), present("v"), present("c"), []],
])(
  "a container shows its %s, and only what is due is looked for",
  async (_sentence, own, volume, state, asked) => {
    const images = imagesIn(own, volume);
    expect(imageStateOf(images, POD, WEB)).toEqual(state);
    await ensureImages(images, POD, WEB, signal);
    expect(images.asked).toEqual(asked);
  },
);

test("a start takes the images of the volumes, and the next looks for all of them again", () => {
  const images = imagesIn(present("c"), present("v"));
  expect(takeImages(images, POD, WEB)).toEqual(new Map([["cats", "v"]]));
  expect(images.forgotten).toEqual(["web", "web/cats"]);
});
