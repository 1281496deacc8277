import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ObjectMeta, Pod } from "../../../src/api/types.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import type { Command, CommandResult } from "../../../src/core/exec.ts";
import { createLogger } from "../../../src/core/logger.ts";
import { parseCredentialProviders } from "../../../src/images/credential-plugin-config.ts";
import {
  type CredentialPlugin,
  loadCredentialPlugins,
} from "../../../src/images/credential-plugins.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { makePod } from "../pods/support.ts";

const CONFIG = {
  apiVersion: "kubelet.config.k8s.io/v1",
  kind: "CredentialProviderConfig",
  providers: [
    {
      name: "plugin",
      apiVersion: "credentialprovider.kubelet.k8s.io/v1",
      matchImages: ["*.reg.io", "reg.io:5000/team"],
      defaultCacheDuration: "10m",
      args: ["get"],
      env: [{ name: "REGION", value: "north" }],
    },
  ],
};
const TOKENS = {
  serviceAccountTokenAudience: "registry",
  cacheType: "ServiceAccount",
  requireServiceAccount: true,
};
const SECRET = "hunter2";
const { signal } = new AbortController();

let binDir = "";
beforeAll(async () => {
  binDir = await mkdtemp(join(tmpdir(), "longshore-plugins-"));
  await writeFile(join(binDir, "plugin"), "#!/bin/sh\n");
  await chmod(join(binDir, "plugin"), 0o755);
  await writeFile(join(binDir, "text"), "not a program");
  await writeFile(join(binDir, "config.yaml"), JSON.stringify(CONFIG));
});
afterAll(() => rm(binDir, { recursive: true }));

function answer(fields: object = {}): CommandResult {
  const stdout = JSON.stringify({
    kind: "CredentialProviderResponse",
    apiVersion: "credentialprovider.kubelet.k8s.io/v1",
    cacheKeyType: "Image",
    auth: { "*.reg.io": { username: "u", password: SECRET } },
    ...fields,
  });
  return { code: 0, stdout, stderr: "" };
}

class Bench {
  readonly clock = new FakeClock();
  readonly commands: Command[] = [];
  readonly warnings: string[] = [];
  result: CommandResult | Error = answer();
  plugin: CredentialPlugin | undefined;

  readonly tokens: unknown[] = [];
  readonly accounts = new Map<string, { metadata: ObjectMeta }>();

  static async load(
    result: CommandResult | Error = answer(),
    tokenAttributes?: object,
  ): Promise<Bench> {
    const bench = new Bench();
    bench.result = result;
    const write = (line: string): void => void bench.warnings.push(line);
    const log = createLogger({ level: "warn", pretty: false, write });
    const exec = async (command: Command): Promise<CommandResult> => {
      bench.commands.push(command);
      if (bench.result instanceof Error) throw bench.result;
      return bench.result;
    };
    const env = { PATH: "/bin", REGION: "south", UNSET: undefined };
    const options = { binDir, exec, env, clock: bench.clock, log };
    const provider = { ...CONFIG.providers[0], ...(tokenAttributes && { tokenAttributes }) };
    const path = join(binDir, "config.yaml");
    await writeFile(path, JSON.stringify({ ...CONFIG, providers: [provider] }));
    [bench.plugin] = await loadCredentialPlugins(path, options);
    return bench;
  }

  async get(repository: string, account?: string): Promise<unknown> {
    const pod = makePod(account === undefined ? {} : { serviceAccountName: account });
    const entries = await this.plugin?.get({ repository, pod, accounts: this }, signal);
    return entries?.map(({ location, credential }) => [location, credential.auth.password]);
  }

  async getServiceAccount(_namespace: string, name: string) {
    if (name === "unreadable") throw new LongshoreError("ApiForbidden", "not for nodes");
    return this.accounts.get(name);
  }

  async requestToken(pod: Pod, request: object): Promise<{ token: string }> {
    this.tokens.push({ pod: pod.metadata.uid, ...request });
    return { token: `token ${this.tokens.length}` };
  }
}

test("a plugin is asked on standard input, with its arguments and environment", async () => {
  const bench = await Bench.load();
  expect(await bench.get("a.reg.io/x")).toEqual([["*.reg.io", SECRET]]);
  expect(bench.commands).toEqual([
    {
      file: join(binDir, "plugin"),
      args: ["get"],
      env: { PATH: "/bin", REGION: "north" },
      input:
        '{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1","image":"a.reg.io/x"}',
      timeoutMs: 60_000,
    },
  ]);
});

test("a plugin is not asked about other images", async () => {
  const bench = await Bench.load();
  for (const repository of ["reg.io/x", "a.b.reg.io/x", "reg.io:5000/other/x"])
    expect(await bench.get(repository)).toEqual([]);
  expect(bench.commands).toEqual([]);
});

describe("an answer is kept", () => {
  test.each([
    { cacheKeyType: "Image", asked: 3 },
    { cacheKeyType: "Registry", asked: 2 },
    { cacheKeyType: "Global", asked: 1 },
  ])("for its $cacheKeyType", async ({ cacheKeyType, asked }) => {
    const bench = await Bench.load(answer({ cacheKeyType }));
    for (const repository of ["a.reg.io/x", "a.reg.io/x", "a.reg.io/y", "b.reg.io/x"])
      await bench.get(repository);
    expect(bench.commands).toHaveLength(asked);
  });

  test.each([
    { cacheDuration: undefined, afterMs: 599_999, asked: 1 },
    { cacheDuration: undefined, afterMs: 600_000, asked: 2 },
    { cacheDuration: "1h0m0s", afterMs: 3_599_999, asked: 1 },
    { cacheDuration: "0s", afterMs: 0, asked: 2 },
  ])("$cacheDuration: after $afterMs ms asked $asked times", async (row) => {
    const bench = await Bench.load(answer({ cacheDuration: row.cacheDuration }));
    await bench.get("a.reg.io/x");
    await bench.clock.advance(row.afterMs);
    await bench.get("a.reg.io/x");
    expect(bench.commands).toHaveLength(row.asked);
  });

  test("callers at the same time share a run", async () => {
    const bench = await Bench.load(answer({ cacheDuration: "0s" }));
    await Promise.all([bench.get("a.reg.io/x"), bench.get("a.reg.io/x")]);
    expect(bench.commands).toHaveLength(1);
  });
});

test.each([
  [
    "a non-zero exit code",
    { code: 3, stdout: SECRET, stderr: "no network" },
    "ended with 3: no network",
  ],
  ["no JSON", { code: 0, stdout: `{${SECRET}`, stderr: "" }, "not JSON"],
  ["null", { code: 0, stdout: "null", stderr: "" }, "did not print a CredentialProviderResponse"],
  ["another version", answer({ apiVersion: "v2" }), "did not print a CredentialProviderResponse"],
  ["no cacheKeyType", answer({ cacheKeyType: "Pod" }), "cacheKeyType"],
  ["a duration that is none", answer({ cacheDuration: 60 }), "cacheDuration"],
  ["auth that is a text", answer({ auth: SECRET }), "not an object"],
  ["a time-out", new LongshoreError("CommandTimeout", `plugin get ${SECRET}`), "within 60 s"],
  ["a program that does not start", new LongshoreError("CommandFailed", SECRET), "cannot be run"],
] as const)(
  "%s is one warning without secrets, and no credentials",
  async (_sentence, result, words) => {
    const bench = await Bench.load(result);
    expect(await bench.get("a.reg.io/x")).toEqual([]);
    expect(bench.warnings).toHaveLength(1);
    expect(bench.warnings[0]).toContain(words);
    expect(bench.warnings[0]).not.toContain(SECRET);
  },
);

describe("with tokens of service accounts", () => {
  const attributes = {
    ...TOKENS,
    requiredServiceAccountAnnotationKeys: ["role"],
    optionalServiceAccountAnnotationKeys: ["zone"],
  };
  async function load(fields: object = {}, result = answer()): Promise<Bench> {
    const bench = await Bench.load(result, { ...attributes, ...fields });
    const add = (name: string, annotations?: Record<string, string>): void =>
      void bench.accounts.set(name, {
        metadata: { name, uid: `uid-${name}`, ...(annotations && { annotations }) },
      });
    add("builder", { role: "r", other: "x" });
    add("second", { role: "r", zone: "z" });
    add("plain");
    return bench;
  }

  test("the plugin is given a token and the annotations that it wants", async () => {
    const bench = await load();
    await bench.get("a.reg.io/x", "second");
    expect(bench.tokens).toEqual([{ pod: "u1", audience: "registry", expirationSeconds: 3600 }]);
    expect(JSON.parse(bench.commands[0]?.input ?? "")).toMatchObject({
      serviceAccountToken: "token 1",
      serviceAccountAnnotations: { role: "r", zone: "z" },
    });
  });

  test("its credentials say whose they are", async () => {
    const bench = await load();
    const pod = makePod({ serviceAccountName: "builder" });
    const question = { repository: "a.reg.io/x", pod, accounts: bench };
    const entries = await bench.plugin?.get(question, signal);
    expect(entries?.[0]?.credential.serviceAccount).toEqual({
      ...{ uid: "uid-builder", namespace: "ns", name: "builder" },
    });
  });

  test("answers are kept for each account, and for no token", async () => {
    for (const [cacheType, asked] of [
      ["ServiceAccount", 2],
      ["Token", 3],
    ] as const) {
      const bench = await load({ cacheType });
      for (const account of ["builder", "builder", "second"])
        await bench.get("a.reg.io/x", account);
      expect({ cacheType, asked: bench.commands.length, tokens: bench.tokens.length }).toEqual({
        ...{ cacheType, asked, tokens: asked },
      });
    }
  });

  test("the token itself is an answer only where it is not kept", async () => {
    const echo = answer({ auth: { "*.reg.io": { username: "u", password: "token 1" } } });
    const kept = await load({}, echo);
    expect(await kept.get("a.reg.io/x", "builder")).toEqual([]);
    expect(kept.warnings[0]).toContain("gave the token itself back");
    const passed = await load({ cacheType: "Token" }, echo);
    expect(await passed.get("a.reg.io/x", "builder")).toEqual([["*.reg.io", "token 1"]]);
  });

  test.each(["plain", "away", "unreadable", undefined])(
    "the account %s, which may not use it, is not asked for",
    async (account) => {
      const bench = await load();
      expect(await bench.get("a.reg.io/x", account)).toEqual([]);
      expect(bench.commands).toEqual([]);
      expect(bench.warnings).toHaveLength(account === "unreadable" ? 1 : 0);
    },
  );

  test("a pod without an account is served as the node where that is allowed", async () => {
    const fields = { requireServiceAccount: false, requiredServiceAccountAnnotationKeys: [] };
    const bench = await load(fields);
    expect(await bench.get("a.reg.io/x")).toEqual([["*.reg.io", SECRET]]);
    expect(bench.tokens).toEqual([]);
  });
});

describe("the configuration", () => {
  const base = CONFIG.providers[0];
  const withProvider = (fields: object): object => ({
    ...CONFIG,
    providers: [{ ...base, ...fields }],
  });
  const withTokens = (fields: object): object =>
    withProvider({ tokenAttributes: { ...TOKENS, ...fields } });
  test.each([
    ["no document", "", "must start with"],
    ["another kind", { ...CONFIG, kind: "KubeletConfiguration" }, "must start with"],
    [
      "an old version",
      { ...CONFIG, apiVersion: "kubelet.config.k8s.io/v1alpha1" },
      "must start with",
    ],
    ["no YAML", "{", "not YAML"],
    ["no provider", { ...CONFIG, providers: [] }, "at least one provider"],
    ["a provider that is none", { ...CONFIG, providers: [null] }, "providers[0].name"],
    ["a path as name", withProvider({ name: "../sh" }), "providers[0].name"],
    ["no patterns", withProvider({ matchImages: [] }), "matchImages"],
    ["no duration", withProvider({ defaultCacheDuration: undefined }), "defaultCacheDuration"],
    ["a negative duration", withProvider({ defaultCacheDuration: "-1s" }), "defaultCacheDuration"],
    ["an unknown field", withProvider({ matchImage: ["a"] }), "unknown field matchImage"],
    ["an environment without values", withProvider({ env: [{ name: "A" }] }), "env"],
    ["tokens without an audience", withProvider({ tokenAttributes: {} }), "Audience must be given"],
    ["tokens without a cacheType", withTokens({ cacheType: undefined }), "cacheType must be"],
    ["tokens for whom", withTokens({ requireServiceAccount: "yes" }), "requireServiceAccount"],
    ["an unknown field of tokens", withTokens({ audience: "x" }), "unknown field audience"],
    [
      "annotations of no account",
      withTokens({ requireServiceAccount: false, requiredServiceAccountAnnotationKeys: ["a"] }),
      "need requireServiceAccount",
    ],
    [
      "an annotation twice",
      withTokens({ optionalServiceAccountAnnotationKeys: ["a", "a"] }),
      "named twice",
    ],
    ["another API", withProvider({ apiVersion: "v1" }), "apiVersion must be"],
  ])("with %s is refused", (_sentence, config, words) => {
    const text = typeof config === "string" ? config : JSON.stringify(config);
    expect(() => parseCredentialProviders(text, "/c.yaml")).toThrow(words);
    expect(() => parseCredentialProviders(text, "/c.yaml")).toThrow("/c.yaml");
  });

  test("needs its programs, and each once", async () => {
    const load = (path: string) =>
      loadCredentialPlugins(path, {
        ...{ binDir, env: {}, clock: new FakeClock() },
        exec: async () => answer(),
        log: createLogger({ level: "silent", pretty: false, write: () => undefined }),
      });
    const write = async (providers: readonly object[]): Promise<string> => {
      const path = join(binDir, "other.yml");
      await writeFile(path, JSON.stringify({ ...CONFIG, providers }));
      return path;
    };
    await expect(load(await write([{ ...base, name: "away" }]))).rejects.toThrow(
      /away .*not there/,
    );
    await expect(load(await write([{ ...base, name: "text" }]))).rejects.toThrow("not executable");
    await expect(load(await write([base as object, base as object]))).rejects.toThrow("twice");
    // config.yaml and other.yml of one folder name the same.
    await write([base as object]);
    await expect(load(binDir)).rejects.toThrow("twice");
    await expect(load("/nowhere")).rejects.toMatchObject({ code: "ConfigInvalid" });
  });
});
