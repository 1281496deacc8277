import { expect, test } from "vitest";
import type { Container, Pod } from "../../../src/api/types.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import { createLogger } from "../../../src/core/logger.ts";
import type { Credential } from "../../../src/images/keyring.ts";
import { ImageManager, type ImageManagerOptions } from "../../../src/pods/images.ts";
import type { Image } from "../../../src/runtime/runtime.ts";
import { FakeClock, settle } from "../../fakes/clock.ts";
import { makePod } from "./support.ts";

const WEB = { name: "web", image: "web:1" };
const QUIET = createLogger({ level: "silent", pretty: false, write: () => undefined });
const { signal } = new AbortController();

function imageOf(ref: string): Image {
  return { id: `sha256:${ref}`, tags: [ref], digests: [], sizeBytes: 4096, user: "" };
}

interface Pull {
  readonly ref: string;
  readonly signal: AbortSignal;
  end(result: Image | Error): void;
}

/** An image manager on a node whose pulls end when the test says so. */
class Bench {
  readonly clock = new FakeClock();
  readonly events: string[] = [];
  readonly done: string[] = [];
  readonly present = new Map<string, Image>();
  readonly pulls: Pull[] = [];
  readonly recorded: string[] = [];
  isOpen = true;
  isGranted = true;
  credentials: readonly Credential[] = [];
  readonly images: ImageManager;

  constructor(options: Partial<ImageManagerOptions> = {}) {
    this.images = new ImageManager({
      ...{ registryPullQPS: 0, registryBurst: 0 },
      runtime: {
        inspectImage: async (ref) => {
          if (ref.includes(" "))
            throw new LongshoreError("ImageInvalidName", `couldn't parse image name "${ref}"`);
          return this.present.get(ref);
        },
        pullImage: (ref, _login, pullSignal) =>
          new Promise((resolve, reject) => {
            pullSignal.addEventListener("abort", () => reject(new LongshoreError("Aborted", "")));
            this.pulls.push({
              ref,
              signal: pullSignal,
              end: (result) => (result instanceof Error ? reject(result) : resolve(result)),
            });
          }),
      },
      access: {
        start: async () => undefined,
        isOpen: async () => this.isOpen,
        isGranted: async () => this.isGranted,
        pullBegins: async (image) => void this.recorded.push(`begin ${image}`),
        pulled: async (image) => void this.recorded.push(`pulled ${image}`),
        pullFailed: async (image) => void this.recorded.push(`failed ${image}`),
      },
      events: {
        record: (about, type, reason, message) =>
          void this.events.push(`${about.uid} ${type} ${reason} ${message}`),
      },
      clock: this.clock,
      log: QUIET,
      maxParallel: 2,
      credentials: async () => this.credentials,
      onDone: (uid) => void this.done.push(uid),
      ...options,
    });
  }

  async ensure(spec: Container = WEB, pod: Pod = makePod()): Promise<void> {
    await this.images.ensure(pod, spec, signal);
    await settle();
  }

  async end(index: number, result: Image | Error): Promise<void> {
    this.pulls[index]?.end(result);
    await settle();
  }
}

const denied = new LongshoreError("ImagePullFailed", "denied");

test("a pod that went leaves no back-off behind", async () => {
  const bench = new Bench();
  const waits: unknown[] = [];
  for (let round = 0; round < 3; round++) {
    await bench.ensure();
    await bench.end(round, denied);
    await bench.clock.advance(5_000);
    waits.push(bench.images.state("u1", WEB));
    await bench.clock.advance(15_000);
    if (round === 1) bench.images.forgetPod("u1");
  }
  // Five seconds of each delay of 10, 20 and again 10 s are over.
  expect(waits).toMatchObject([{ waitMs: 5_000 }, { waitMs: 15_000 }, { waitMs: 5_000 }]);
  await bench.images.stop();
});

test("a pull tells its steps in the kubelet's words", async () => {
  const bench = new Bench();
  await bench.ensure();
  expect(bench.images.state("u1", WEB)).toEqual({ kind: "pulling" });
  await bench.clock.advance(1_234);
  await bench.end(0, imageOf("web:1"));
  expect(bench.images.state("u1", WEB)).toEqual({ kind: "present", imageId: "sha256:web:1" });
  expect(bench.events).toEqual([
    'u1 Normal Pulling Pulling image "web:1"',
    'u1 Normal Pulled Successfully pulled image "web:1" in 1.234s (1.234s including waiting). Image size: 4096 bytes.',
  ]);
  expect(bench.recorded).toEqual(["begin web:1", "pulled web:1"]);
  expect(bench.done).toEqual(["u1"]);
});

test("a failed pull is ErrImagePull, then ImagePullBackOff with its words, then tried again", async () => {
  const bench = new Bench();
  await bench.ensure();
  await bench.end(0, denied);
  expect(bench.events.slice(1)).toEqual([
    'u1 Warning Failed Failed to pull image "web:1": denied',
    "u1 Warning Failed Error: ErrImagePull",
  ]);
  const failed = { kind: "failed", mayRetry: false };
  expect(bench.images.state("u1", WEB)).toEqual({
    ...{ ...failed, reason: "ErrImagePull", message: "denied", waitMs: 5_000 },
  });
  await bench.clock.advance(5_000);
  const message = 'Back-off pulling image "web:1": ErrImagePull: denied';
  expect(bench.images.state("u1", WEB)).toEqual({
    ...{ ...failed, reason: "ImagePullBackOff", message, waitMs: 5_000 },
  });
  await bench.clock.advance(5_000);
  expect(bench.images.state("u1", WEB)).toMatchObject({ mayRetry: true, waitMs: 0 });
});

test("a registry that is away is said so", async () => {
  const bench = new Bench();
  await bench.ensure();
  await bench.end(0, new LongshoreError("ImageRegistryUnavailable", "status 503"));
  expect(bench.images.state("u1", WEB)).toMatchObject({
    reason: "RegistryUnavailable",
    message: "image pull failed for web:1 because the registry is unavailable: status 503",
  });
  expect(bench.events[1]).toBe(
    'u1 Warning Failed Failed to pull image "web:1": RegistryUnavailable: status 503',
  );
});

test("containers of a pod that share a failed pull share its delay, and one that asks later waits as long", async () => {
  const bench = new Bench();
  await bench.ensure({ ...WEB, name: "a" });
  await bench.ensure({ ...WEB, name: "b" });
  await bench.end(0, denied);
  await bench.clock.advance(6_000);
  await bench.ensure({ ...WEB, name: "c" });
  expect(bench.pulls).toHaveLength(1);
  for (const name of ["a", "b", "c"])
    expect(bench.images.state("u1", { ...WEB, name })).toMatchObject({
      reason: "ImagePullBackOff",
      waitMs: 4_000,
    });
});

test("a corrected image does not wait for the old one's back-off", async () => {
  const bench = new Bench();
  await bench.ensure();
  await bench.end(0, denied);
  const corrected = { ...WEB, image: "web:2" };
  expect(bench.images.state("u1", corrected)).toEqual({ kind: "unknown" });
  await bench.ensure(corrected);
  await bench.end(1, imageOf("web:2"));
  expect(bench.images.state("u1", corrected)).toMatchObject({ kind: "present" });
});

test("five pods that want one image at once are served by one pull", async () => {
  const bench = new Bench();
  for (const uid of ["u1", "u2", "u3", "u4", "u5"]) await bench.ensure(WEB, makePod({}, { uid }));
  expect(bench.pulls).toHaveLength(1);
  await bench.end(0, imageOf("web:1"));
  expect(bench.done).toEqual(["u1", "u2", "u3", "u4", "u5"]);
  expect(bench.recorded).toEqual(["begin web:1", "pulled web:1"]);
});

test("no more pulls run at once than are allowed, and a waiting one goes with its pod", async () => {
  const bench = new Bench();
  for (const name of ["a", "b", "c", "d"])
    await bench.ensure({ ...WEB, image: `${name}:1` }, makePod({}, { uid: name }));
  expect(bench.pulls.map(({ ref }) => ref)).toEqual(["a:1", "b:1"]);
  bench.images.forgetPod("c");
  await bench.clock.advance(2_000);
  await bench.end(0, imageOf("a:1"));
  expect(bench.pulls.map(({ ref }) => ref)).toEqual(["a:1", "b:1", "d:1"]);
  await bench.clock.advance(1_000);
  await bench.end(2, imageOf("d:1"));
  expect(bench.events.at(-1)).toContain('"d:1" in 1s (3s including waiting)');
  await bench.images.stop();
});

test("a pull ends with the last pod that waits for it", async () => {
  const bench = new Bench();
  for (const uid of ["u1", "u2"]) await bench.ensure(WEB, makePod({}, { uid }));
  bench.images.forgetPod("u1");
  expect(bench.pulls[0]?.signal.aborted).toBe(false);
  bench.images.forgetPod("u2");
  await settle();
  expect(bench.pulls[0]?.signal.aborted).toBe(true);
  expect(bench.recorded).toEqual(["begin web:1", "failed web:1"]);
  expect(bench.done).toEqual([]);
  await bench.images.stop();
});

test("what is present is taken by policy, and for those who may", async () => {
  const cases = [
    { policy: "IfNotPresent", isOpen: true, isGranted: false, kind: "present", pulls: 0 },
    { policy: "Never", isOpen: true, isGranted: false, kind: "present", pulls: 0 },
    { policy: "Always", isOpen: true, isGranted: true, kind: "pulling", pulls: 1 },
    { policy: "IfNotPresent", isOpen: false, isGranted: true, kind: "present", pulls: 0 },
    { policy: "IfNotPresent", isOpen: false, isGranted: false, kind: "pulling", pulls: 1 },
    { policy: "Never", isOpen: false, isGranted: true, kind: "present", pulls: 0 },
    { policy: "Never", isOpen: false, isGranted: false, kind: "failed", pulls: 0 },
  ] as const;
  for (const { policy, isOpen, isGranted, kind, pulls } of cases) {
    const bench = new Bench();
    bench.present.set("web:1", imageOf("web:1"));
    Object.assign(bench, { isOpen, isGranted });
    await bench.ensure({ ...WEB, imagePullPolicy: policy });
    const seen = { kind: bench.images.state("u1", WEB).kind, pulls: bench.pulls.length };
    expect({ policy, isOpen, isGranted, ...seen }).toEqual({
      ...{ policy, isOpen, isGranted, kind, pulls },
    });
  }
});

test("a missing image with policy Never, and a name that is none, are refused and looked at again", async () => {
  const bench = new Bench();
  const never = { ...WEB, imagePullPolicy: "Never" } as const;
  await bench.ensure(never);
  const hostile = { name: "bad", image: "no name" };
  await bench.ensure(hostile);
  expect(bench.events).toEqual([
    'u1 Warning ErrImageNeverPull Container image "web:1" is not present with pull policy of Never',
    "u1 Warning Failed Error: ErrImageNeverPull",
    'u1 Warning InspectFailed Failed to apply default image tag "no name": couldn\'t parse image name "no name"',
    "u1 Warning Failed Error: InvalidImageName",
  ]);
  await bench.clock.advance(10_000);
  for (const [spec, reason] of [
    [never, "ErrImageNeverPull"],
    [hostile, "InvalidImageName"],
  ] as const)
    expect(bench.images.state("u1", spec)).toMatchObject({ reason, mayRetry: true });
});

test("credentials that are slow to find do not bring an old image back", async () => {
  let find = (_: readonly Credential[]): void => undefined;
  const bench = new Bench({
    credentials: (_pod, image) =>
      image === "web:1" ? new Promise((resolve) => (find = resolve)) : Promise.resolve([]),
  });
  bench.isOpen = false;
  bench.present.set("web:1", imageOf("web:1"));
  await bench.ensure();
  const corrected = { ...WEB, image: "web:2" };
  await bench.ensure(corrected);
  find([]);
  await settle();
  expect(bench.images.state("u1", corrected)).toEqual({ kind: "pulling" });
  await bench.images.stop();
});
