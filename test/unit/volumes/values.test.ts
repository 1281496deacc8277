/** The pure values of volumes: mount table, payload paths, downward API formats, keyed files, tokens. */

import { describe, expect, it } from "vitest";
import type { Pod } from "../../../src/api/types.ts";
import type { Logger } from "../../../src/core/logger.ts";
import { computeConfigMapFiles } from "../../../src/volumes/kinds/config-map.ts";
import { computeDownwardFiles, resourceText } from "../../../src/volumes/kinds/downward-api.ts";
import { computeEmptyDir } from "../../../src/volumes/kinds/empty-dir.ts";
import { computeHostPath } from "../../../src/volumes/kinds/host-path.ts";
import { computeSecretFiles } from "../../../src/volumes/kinds/secret.ts";
import { containingMount, parseMountinfo, tmpfsSize } from "../../../src/volumes/mountinfo.ts";
import { podDirectory, volumePath } from "../../../src/volumes/paths.ts";
import { checkPath, createPayload, tmpfsBytes } from "../../../src/volumes/payload.ts";
import { TokenCache } from "../../../src/volumes/token-cache.ts";
import { FakeClock } from "../../fakes/clock.ts";

const invalid = expect.objectContaining({ code: "VolumeInvalid" });
const metadata = { name: "web", namespace: "default", uid: "u-1", resourceVersion: "1" };
const pod: Pod = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { ...metadata, labels: { z: "1", a: 'x"\n\u0001é' } },
  spec: { containers: [{ name: "c", image: "i" }] },
};

describe("mountinfo", () => {
  const entries = parseMountinfo(
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n" +
      "30 22 0:5 / /a\\040b\\134c rw,nosuid - tmpfs tmpfs rw,size=1024k,mode=777\n" +
      "31 22 0:6 /x /caf\u00e9 rw shared:7 master:2 - ext4 /dev/vdb rw\n\n",
  );

  it("reads escapes, tags and sizes", () => {
    expect(entries.map(({ mountPoint }) => mountPoint)).toEqual(["/", "/a b\\c", "/caf\u00e9"]);
    expect(entries.map(({ isShared }) => isShared)).toEqual([true, false, true]);
    expect(entries.map(tmpfsSize)).toEqual([undefined, 1048576, undefined]);
  });

  it("finds the mount that a path lies on", () => {
    expect(containingMount(entries, "/a b\\c/d")?.fstype).toBe("tmpfs");
    expect(containingMount(entries, "/a b\\cd")?.mountPoint).toBe("/");
  });
});

describe("paths that users choose", () => {
  it.each([
    "",
    "/abs",
    "..",
    "../x",
    "a/../b",
    "..data",
    "a/..",
    "./..x",
    ".",
    "x\0y",
    "y".repeat(300),
  ])("%j is refused in a payload", (path) => {
    expect(() => checkPath(path)).toThrow(invalid);
  });

  it.each([
    ["a", "a"],
    ["a//./b", "a/b"],
    [".hidden", ".hidden"],
    ["a/..b", "a/..b"],
  ])("%j becomes %j", (path, clean) => {
    expect(checkPath(path)).toBe(clean);
  });

  it("a file may not be another's directory", () => {
    const content = { data: Buffer.alloc(0), mode: 0o644 };
    expect(() =>
      createPayload([
        ["a", content],
        ["a/b", content],
      ]),
    ).toThrow(invalid);
  });

  it.each(["", ".", "..", "a/b", "../x", "a\0"])("%j is no pod UID", (uid) => {
    expect(() => podDirectory("/pods", uid)).toThrow(invalid);
  });

  it.each(["", "..", "a/b", "A", "-a"])("%j is no volume name", (name) => {
    expect(() => volumePath("/pods/u", "secret", name)).toThrow(invalid);
  });

  it.each(["relative", "/a/../b"])("%j is no hostPath", (path) => {
    expect(() => computeHostPath("h", { path })).toThrow(invalid);
  });
});

describe("files of objects", () => {
  const source = { items: undefined, optional: false, defaultMode: 0o640 };

  it("are all keys, text and binary, with the default mode", () => {
    const configMap = { data: { a: "é" }, binaryData: { b: "/w==" } };
    expect(computeConfigMapFiles(source, "o", configMap)).toEqual([
      ["a", { data: Buffer.from("é"), mode: 0o640 }],
      ["b", { data: Buffer.from([255]), mode: 0o640 }],
    ]);
  });

  it("are the items with their paths and modes", () => {
    const items = [{ key: "a", path: "x/y", mode: 0o400 }];
    const secret = { data: { a: "dg==", b: "dg==" } };
    expect(computeSecretFiles({ ...source, items }, "o", secret)).toEqual([
      ["x/y", { data: Buffer.from("v"), mode: 0o400 }],
    ]);
  });

  it.each([
    ["secret", () => computeSecretFiles(source, "o", undefined), 'secret "o" not found'],
    ["configMap", () => computeConfigMapFiles(source, "o", undefined), 'configmap "o" not found'],
    [
      "key of a configMap",
      () => computeConfigMapFiles({ ...source, items: [{ key: "k", path: "p" }] }, "o", {}),
      "configmap references non-existent config key: k",
    ],
    [
      "key of a secret",
      () => computeSecretFiles({ ...source, items: [{ key: "k", path: "p" }] }, "o", {}),
      "references non-existent secret key: k",
    ],
  ])("a missing %s is waited for in upstream's words", (_name, compute, message) => {
    expect(compute).toThrow(expect.objectContaining({ code: "VolumeNotReady", message }));
  });

  it("that are optional and missing are none", () => {
    const optional = { ...source, optional: true, items: [{ key: "k", path: "p" }] };
    expect(computeSecretFiles(optional, "o", undefined)).toEqual([]);
    expect(computeConfigMapFiles(optional, "o", {})).toEqual([]);
  });

  it("get a tmpfs that holds two generations", () => {
    expect(tmpfsBytes(new Map())).toBe(1024 * 1024);
    const big = createPayload([["k", { data: Buffer.alloc(1_000_000), mode: 0o644 }]]);
    expect(tmpfsBytes(big)).toBe(4 * 1024 * 1024);
  });
});

describe("downward API files", () => {
  const textOf = (fieldPath: string): string | undefined =>
    computeDownwardFiles([{ path: "p", fieldRef: { fieldPath } }], 0o644, pod, {
      allocatable: {},
    })[0]?.[1].data.toString();

  it.each([
    ["metadata.name", "web"],
    ["metadata.namespace", "default"],
    ["metadata.uid", "u-1"],
    ["metadata.labels", 'a="x\\"\\n\\x01é"\nz="1"'],
    ["metadata.labels['z']", "1"],
    ["metadata.annotations", ""],
    ["metadata.annotations['none']", ""],
  ])("%s shows %j", (fieldPath, text) => {
    expect(textOf(fieldPath)).toBe(text);
  });

  it("refuse a field that volumes do not have", () => {
    expect(() => textOf("spec.nodeName")).toThrow(invalid);
  });

  const resources = {
    limits: { cpu: "1250m", memory: "128Mi" },
    requests: { cpu: "250m", memory: "32Mi" },
  };
  it.each([
    ["limits.cpu", undefined, "2"],
    ["limits.cpu", "1m", "1250"],
    ["limits.memory", undefined, "134217728"],
    ["limits.memory", "1Mi", "128"],
    ["requests.cpu", undefined, "1"],
    ["requests.memory", "0", "33554432"],
    ["limits.ephemeral-storage", undefined, "5000"],
    ["requests.ephemeral-storage", undefined, "0"],
  ])("%s with divisor %j shows %s", (resource, divisor, text) => {
    const container = { name: "c", image: "i", resources };
    const ref = { resource, ...(divisor === undefined ? {} : { divisor }) };
    const owner = { pod, container, allocatable: { "ephemeral-storage": 5000 } };
    expect(resourceText(ref, owner)).toBe(text);
  });
});

it("a limit that only the pod has as a whole is shown for its containers", () => {
  const spec = { ...pod.spec, resources: { limits: { cpu: "3" } } };
  const container = { name: "c", image: "i" };
  const owner = { pod: { ...pod, spec }, container, allocatable: { cpu: 8000 } };
  expect(resourceText({ resource: "limits.cpu" }, owner)).toBe("3");
  expect(resourceText({ resource: "requests.cpu" }, owner)).toBe("0");
});

it("an emptyDir of an unknown medium is refused", () => {
  expect(() => computeEmptyDir("e", "/e", { medium: "HugePages" })).toThrow(invalid);
});

describe("tokens", () => {
  const quiet: Logger = {
    debug: () => undefined,
    info: () => undefined,
    warn: () => undefined,
    error: () => undefined,
    child: () => quiet,
  };
  const signal = new AbortController().signal;
  const request = { expirationSeconds: 1000 };

  it("are asked for once, again after 80 % of their life, and kept over a failed refresh until they end", async () => {
    const clock = new FakeClock();
    let issued = 0;
    let isDown = false;
    const requestToken = async () => {
      if (isDown) throw new Error("down");
      return { token: `t${++issued}`, expiresAt: clock.now() + 1_000_000 };
    };
    const cache = new TokenCache({ objects: { requestToken }, clock, log: quiet });
    const get = () => cache.get(pod, request, signal);
    expect(await Promise.all([get(), get()])).toEqual(["t1", "t1"]);
    await clock.advance(799_000);
    expect(await get()).toBe("t1");
    await clock.advance(2_000);
    expect(await get()).toBe("t2");
    isDown = true;
    await clock.advance(900_000);
    expect(await get()).toBe("t2");
    await clock.advance(100_000);
    await expect(get()).rejects.toThrow("down");
    isDown = false;
    cache.forget("u-1");
    expect(await get()).toBe("t3");
  });

  it("that live long are asked for again each day", async () => {
    const clock = new FakeClock();
    let issued = 0;
    const week = 7 * 86_400_000;
    const requestToken = async () => ({ token: `t${++issued}`, expiresAt: clock.now() + week });
    const cache = new TokenCache({ objects: { requestToken }, clock, log: quiet });
    const get = () => cache.get(pod, request, signal);
    await get();
    await clock.advance(86_399_000);
    expect(await get()).toBe("t1");
    await clock.advance(1_000);
    expect(await get()).toBe("t2");
  });
});
