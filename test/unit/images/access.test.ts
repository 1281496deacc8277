import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createLogger } from "../../../src/core/logger.ts";
import { ImageAccess, mustVerify, type VerificationPolicy } from "../../../src/images/access.ts";
import { type Credential, readAuths } from "../../../src/images/keyring.ts";
import type { Image } from "../../../src/runtime/runtime.ts";
import { FakeClock } from "../../fakes/clock.ts";

const IMAGE = "reg.io/private/app:1";
const ID = "sha256:app";
const { signal } = new AbortController();

let rootDir = "";
let warnings: string[] = [];

beforeEach(async () => {
  rootDir = await mkdtemp(join(tmpdir(), "longshore-images-"));
  warnings = [];
});
afterEach(() => rm(rootDir, { recursive: true }));

function credentialOf(password: string, name = "s", uid = `uid-${name}`): Credential {
  const read = readAuths(
    { "reg.io": { username: "u", password } },
    { secret: { uid, name, namespace: "ns" } },
  );
  if (read.kind !== "entries") throw new Error(read.why);
  return read.entries[0]?.credential as Credential;
}

/** An agent that starts on what the folder has, with these images on the node. */
async function start(
  images: Readonly<Record<string, string>> = { [IMAGE]: ID },
  policy: VerificationPolicy = "NeverVerifyPreloadedImages",
): Promise<ImageAccess> {
  const log = createLogger({ level: "warn", pretty: false, write: (line) => warnings.push(line) });
  const access = new ImageAccess({
    ...{ rootDir, log },
    imagePullCredentialsVerificationPolicy: policy,
    preloadedImagesVerificationAllowlist: [],
    clock: new FakeClock(),
  });
  const imageOf = (id: string): Image => ({ id, tags: [], digests: [], sizeBytes: 1, user: "" });
  const runtime = {
    inspectImage: async (ref: string) =>
      images[ref] === undefined ? undefined : imageOf(images[ref]),
    listImages: async () => Object.values(images).map(imageOf),
  };
  await access.start(runtime, signal);
  return access;
}

async function pull(access: ImageAccess, credential?: Credential): Promise<void> {
  await access.pullBegins(IMAGE);
  await access.pulled(IMAGE, ID, credential);
}

const filesOf = (folder: string): Promise<string[]> =>
  readdir(join(rootDir, "image_manager", folder));

test("a preloaded image is everybody's", async () => {
  const access = await start();
  expect(await access.isOpen(IMAGE, ID)).toBe(true);
});

test("an image pulled without credentials, or with the node's own, is everybody's", async () => {
  for (const credential of [undefined, { auth: {}, hash: "x" }]) {
    const access = await start();
    await pull(access, credential);
    expect(await access.isOpen(IMAGE, ID)).toBe(true);
    expect(await access.isOpen("other.io/app:1", ID)).toBe(false);
  }
});

test("an image pulled with a secret is there for who has that secret or its content, after a restart too", async () => {
  await pull(await start(), credentialOf("right"));
  const access = await start();
  expect(await access.isOpen(IMAGE, ID)).toBe(false);
  const cases: readonly (readonly [string, readonly Credential[], boolean])[] = [
    ["none", [], false],
    ["another", [credentialOf("wrong", "t")], false],
    ["the same", [credentialOf("right")], true],
    ["another of the same content", [credentialOf("right", "t")], true],
    ["one of the same name made anew with other content", [credentialOf("x", "s", "new")], false],
    ["the wrong and the right", [credentialOf("wrong", "t"), credentialOf("right")], true],
    [
      "the node's own of the same content",
      [{ ...credentialOf("right"), secret: undefined }] as never,
      false,
    ],
    ["the same with new content", [credentialOf("rotated")], true],
  ];
  for (const [sentence, credentials, expected] of cases)
    expect([sentence, await access.isGranted(IMAGE, ID, credentials)]).toEqual([
      sentence,
      expected,
    ]);
});

test("a secret that shows the right content is noted, and then known by name", async () => {
  const access = await start();
  await pull(access, credentialOf("right"));
  await access.isGranted(IMAGE, ID, [credentialOf("right", "t")]);
  expect(await access.isGranted(IMAGE, ID, [credentialOf("rotated", "t")])).toBe(true);
});

test("an image pulled for a service account is there for its pods, besides those of a secret", async () => {
  const accountOf = (name: string): Credential => ({
    ...{ auth: {}, hash: `token of ${name}` },
    serviceAccount: { uid: `uid-${name}`, namespace: "ns", name },
  });
  const access = await start();
  await pull(access, credentialOf("right"));
  await pull(access, accountOf("builder"));
  const again = await start();
  expect(await again.isGranted(IMAGE, ID, [accountOf("builder")])).toBe(true);
  expect(await again.isGranted(IMAGE, ID, [credentialOf("right")])).toBe(true);
  expect(await again.isGranted(IMAGE, ID, [accountOf("other")])).toBe(false);
});

test("files are the kubelet's, for root only, and hold no secret", async () => {
  await pull(await start(), credentialOf("hunter2"));
  const [name = ""] = await filesOf("pulled");
  const path = join(rootDir, "image_manager", "pulled", name);
  const text = await readFile(path, "utf8");
  expect(JSON.parse(text)).toEqual({
    kind: "ImagePulledRecord",
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    lastUpdatedTime: "2026-01-01T00:00:00Z",
    imageRef: ID,
    credentialMapping: {
      "reg.io/private/app": {
        kubernetesSecrets: [
          {
            uid: "uid-s",
            namespace: "ns",
            name: "s",
            credentialHash: credentialOf("hunter2").hash,
          },
        ],
      },
    },
  });
  expect(text).not.toContain("hunter2");
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(await filesOf("pulling")).toEqual([]);
});

test("an image that arrives during a pull is not everybody's", async () => {
  const access = await start();
  await access.pullBegins(IMAGE);
  expect(await access.isOpen(IMAGE, ID)).toBe(false);
  expect(await access.isGranted(IMAGE, ID, [credentialOf("right")])).toBe(false);
});

test("an intent goes with the last of two pulls, and stays over a restart when the agent died", async () => {
  const access = await start();
  await access.pullBegins(IMAGE);
  await access.pullBegins(IMAGE);
  await access.pullFailed(IMAGE);
  expect(await filesOf("pulling")).toHaveLength(1);
  const killed = await start({});
  expect(await killed.isOpen(IMAGE, ID)).toBe(false);
  await killed.pullBegins(IMAGE);
  await killed.pullFailed(IMAGE);
  expect(await filesOf("pulling")).toEqual([]);
});

test("an image whose pull outlived the agent is nobody's until credentials are shown", async () => {
  await (await start()).pullBegins(IMAGE);
  const access = await start();
  expect(await filesOf("pulling")).toEqual([]);
  expect(await access.isOpen(IMAGE, ID)).toBe(false);
  await pull(access, credentialOf("right"));
  expect(await access.isGranted(IMAGE, ID, [credentialOf("right")])).toBe(true);
});

test("records of images that are gone go at the start", async () => {
  await pull(await start());
  expect(await filesOf("pulled")).toHaveLength(1);
  await start({});
  expect(await filesOf("pulled")).toEqual([]);
});

describe("a file that is rubbish", () => {
  test.each([
    "",
    "{",
    "null",
    "[]",
    '{"imageRef":1,"credentialMapping":{}}',
    '{"imageRef":"sha256:app","credentialMapping":{"a":1}}',
    '{"imageRef":"sha256:app","credentialMapping":{"a":{"kubernetesSecrets":[null]}}}',
    '{"imageRef":"sha256:app"}',
  ])("%j as a record costs one warning, and the image is nobody's", async (text) => {
    const access = await start();
    await pull(access);
    const [name = ""] = await filesOf("pulled");
    await writeFile(join(rootDir, "image_manager", "pulled", name), text);
    for (let round = 0; round < 3; round++) expect(await access.isOpen(IMAGE, ID)).toBe(false);
    expect(warnings).toHaveLength(1);
    await pull(access, credentialOf("right"));
    expect(await access.isGranted(IMAGE, ID, [credentialOf("right")])).toBe(true);
  });

  test("as an intent, or half written, is removed", async () => {
    await start();
    for (const name of ["sha256-0", "sha256-1.tmp"])
      await writeFile(join(rootDir, "image_manager", "pulling", name), "{");
    await start();
    expect(await filesOf("pulling")).toEqual([]);
  });
});

test.each([
  ["NeverVerify", true, "a.io/b", false],
  ["NeverVerifyPreloadedImages", false, "a.io/b", false],
  ["NeverVerifyPreloadedImages", true, "a.io/b", true],
  ["NeverVerifyAllowlistedImages", true, "a.io/b", false],
  ["NeverVerifyAllowlistedImages", false, "a.io/c", true],
  ["NeverVerifyAllowlistedImages", false, "b.io/x/y", false],
  ["NeverVerifyAllowlistedImages", false, "b.io/xy", true],
  ["AlwaysVerify", false, "a.io/b", true],
] as const)("%s, pulled by us %s, %s: verify %s", (policy, isOurs, repository, expected) => {
  const allowlist = ["a.io/b", "b.io/x/*"];
  expect(mustVerify({ policy, isOurs, repository, allowlist })).toBe(expected);
});
