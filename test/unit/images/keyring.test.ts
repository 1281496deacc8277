import { describe, expect, test } from "vitest";
import type { Secret } from "../../../src/api/types.ts";
import {
  findCredentials,
  type KeyringEntry,
  readAuths,
  readPullSecret,
} from "../../../src/images/keyring.ts";
import { covers, repositoryOf } from "../../../src/images/repository.ts";

const base64 = (text: string): string => Buffer.from(text).toString("base64");

function secretOf(type: string, key: string, content: unknown): Secret {
  const text = typeof content === "string" ? content : JSON.stringify(content);
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "s", namespace: "ns", uid: "s1", resourceVersion: "1" },
    type,
    data: { [key]: base64(text) },
  };
}

const modern = (content: unknown): Secret =>
  secretOf("kubernetes.io/dockerconfigjson", ".dockerconfigjson", content);

/** Entries whose user names are their locations. */
function entriesOf(...servers: readonly string[]): readonly KeyringEntry[] {
  const auths = Object.fromEntries(
    servers.map((server) => [server, { username: server, password: "p" }]),
  );
  const read = readAuths(auths);
  return read.kind === "entries" ? read.entries : [];
}

describe("repositoryOf", () => {
  test.each([
    ["busybox", "docker.io/library/busybox"],
    ["busybox:1.36", "docker.io/library/busybox"],
    ["user/app@sha256:0a", "docker.io/user/app"],
    ["docker.io/busybox", "docker.io/library/busybox"],
    ["index.docker.io/user/app", "docker.io/user/app"],
    ["localhost/app", "localhost/app"],
    ["localhost:5000/a/b:1", "localhost:5000/a/b"],
    ["reg.example/a:1@sha256:0a", "reg.example/a"],
    ["[fd00::1]:5000/a", "[fd00::1]:5000/a"],
    ["REG/app", "REG/app"],
  ])("%s is %s", (image, repository) => {
    expect(repositoryOf(image)).toBe(repository);
  });
});

describe("covers", () => {
  test.each([
    ["reg.io", "reg.io/a/b", true],
    ["reg.io/a", "reg.io/a/b", true],
    ["reg.io/b", "reg.io/a/b", false],
    ["*.io", "reg.io/a", true],
    ["*.io", "a.reg.io/a", false],
    ["*.reg.io", "x.reg.io/a", true],
    ["r*g.io", "rg.io/a", true],
    ["r*g*x.io", "r-g-x.io/a", true],
    ["ab*ba.io", "aba.io/a", false],
    ["*", "reg/a", true],
    ["reg.io", "reg.io:5000/a", false],
    ["reg.io:5000", "reg.io/a", false],
    ["reg.io:5000", "reg.io:5000/a", true],
    ["*.io:5000/a", "reg.io:5000/a/b", true],
    ["[fd00::1]:5000", "[fd00::1]:5000/a", true],
    ["", "reg.io/a", false],
    ["reg.i.", "reg.io/a", false],
    [".*", "reg.io/a", false],
  ])("%j of %s: %s", (pattern, repository, expected) => {
    expect(covers(pattern, repository)).toBe(expected);
  });

  test("a pattern of a hundred thousand stars is no work", () => {
    expect(covers("*a".repeat(100_000), `${"a".repeat(50_000)}b/x`)).toBe(false);
  });
});

describe("findCredentials", () => {
  test.each([
    {
      sentence: "the most specific location first",
      servers: ["reg.io", "reg.io/a", "*.io", "reg.io/a/b"],
      image: "reg.io/a/b/c:1",
      users: ["reg.io/a/b", "reg.io/a", "reg.io", "*.io"],
    },
    {
      sentence: "schemes and API versions are no part of a location",
      servers: ["https://reg.io/v2/", "http://reg.io/v1/a"],
      image: "reg.io/a",
      users: ["http://reg.io/v1/a", "https://reg.io/v2/"],
    },
    {
      sentence: "Docker Hub by its old name",
      servers: ["https://index.docker.io/v1/", "reg.io"],
      image: "busybox",
      users: ["https://index.docker.io/v1/"],
    },
    {
      sentence: "Docker Hub by its own name before the old one",
      servers: ["index.docker.io", "docker.io"],
      image: "busybox",
      users: ["docker.io"],
    },
    { sentence: "none of another registry", servers: ["reg.io"], image: "other.io/a", users: [] },
    {
      sentence: "none of Hub for others",
      servers: ["index.docker.io"],
      image: "a.io/a",
      users: [],
    },
  ])("$sentence", ({ servers, image, users }) => {
    const found = findCredentials(entriesOf(...servers), repositoryOf(image));
    expect(found.map(({ auth }) => auth.username)).toEqual(users);
  });

  test("the same credentials under two names are tried once", () => {
    const auths = { "reg.io": { auth: base64("u:p") }, "https://reg.io/": { auth: base64("u:p") } };
    const read = readAuths(auths);
    if (read.kind !== "entries") throw new Error(read.why);
    expect(findCredentials(read.entries, "reg.io/a")).toHaveLength(1);
  });
});

describe("readPullSecret", () => {
  test.each([
    {
      sentence: "auth",
      entry: { auth: base64("u:p:q") },
      auth: { username: "u", password: "p:q" },
    },
    {
      sentence: "user and password",
      entry: { username: "u", password: "p", email: "e" },
      auth: { username: "u", password: "p" },
    },
    {
      sentence: "auth before user and password",
      entry: { username: "x", password: "y", auth: base64("u:p") },
      auth: { username: "u", password: "p" },
    },
    { sentence: "an identity token", entry: { identitytoken: "t" }, auth: { identityToken: "t" } },
    { sentence: "a registry token", entry: { registrytoken: "t" }, auth: { registryToken: "t" } },
    {
      sentence: "nulls",
      entry: { auth: null, username: "u", password: "" },
      auth: { username: "u" },
    },
  ])("takes $sentence from both types", ({ entry, auth }) => {
    const old = secretOf("kubernetes.io/dockercfg", ".dockercfg", { "reg.io": entry });
    for (const secret of [modern({ auths: { "reg.io": entry } }), old]) {
      const read = readPullSecret(secret);
      const expected = { auth: { serverAddress: "reg.io", ...auth } };
      const source = { secret: { uid: "s1", namespace: "ns", name: "s" } };
      expect(read).toMatchObject({
        entries: [{ location: "reg.io", credential: { ...expected, ...source } }],
      });
    }
  });

  const SECRET = "hunter2";
  test.each([
    ["another type", secretOf("Opaque", ".dockerconfigjson", {}), 'its type is "Opaque"'],
    ["no data", secretOf("kubernetes.io/dockercfg", "x", {}), "it has no .dockercfg"],
    ["no JSON", modern(`{${SECRET}`), "is not a JSON object"],
    ["a list", modern([SECRET]), "is not a JSON object"],
    ["auths that are a text", modern({ auths: SECRET }), "its auths are not an object"],
    [
      "an entry that is a text",
      modern({ auths: { a: SECRET } }),
      'its entry for "a" is not an object',
    ],
    [
      "a password of numbers",
      modern({ auths: { a: { password: 1 } } }),
      "a password that is no string",
    ],
    ["an auth without colon", modern({ auths: { a: { auth: base64(SECRET) } } }), "user:password"],
    ["five megabytes of nothing", modern("x".repeat(5_000_000)), "is not a JSON object"],
    [
      "a server of a megabyte",
      modern({ auths: { ["a".repeat(1_000_000)]: 1 } }),
      "is not an object",
    ],
  ])("says what is wrong with %s, and quotes no secret", (_sentence, secret, words) => {
    const read = readPullSecret(secret);
    if (read.kind !== "unusable") throw new Error("it was taken");
    expect(read.why).toContain(words);
    expect(read.why).not.toContain(SECRET);
    expect(read.why.length).toBeLessThan(200);
  });

  test("reads five megabytes of entries, and __proto__ is an entry like others", () => {
    const auths = Object.fromEntries(
      Array.from({ length: 60_000 }, (_, index) => [
        `r${index}.io`,
        { auth: base64("user:password") },
      ]),
    );
    const text = JSON.stringify({ auths }).replace("{", '{"__proto__":{"auths":{}},');
    const read = readPullSecret(modern(text));
    if (read.kind !== "entries") throw new Error(read.why);
    expect(findCredentials(read.entries, "r59999.io/a")).toHaveLength(1);
  });
});
