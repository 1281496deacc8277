import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LongshoreError } from "../../../src/core/errors.ts";
import type { Command, CommandResult } from "../../../src/core/exec.ts";
import { createLogger } from "../../../src/core/logger.ts";
import {
  parseCredentialProviders,
  parseGoDuration,
} from "../../../src/images/credential-plugin-config.ts";
import {
  type CredentialPlugin,
  loadCredentialPlugins,
} from "../../../src/images/credential-plugins.ts";
import { FakeClock } from "../../fakes/clock.ts";

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

  static async load(result: CommandResult | Error = answer()): Promise<Bench> {
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
    [bench.plugin] = await loadCredentialPlugins(join(binDir, "config.yaml"), options);
    return bench;
  }

  async get(repository: string): Promise<unknown> {
    const entries = await this.plugin?.get(repository, signal);
    return entries?.map(({ location, credential }) => [location, credential.auth.password]);
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

describe("the configuration", () => {
  const base = CONFIG.providers[0];
  const withProvider = (fields: object): object => ({
    ...CONFIG,
    providers: [{ ...base, ...fields }],
  });
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
    ["tokens of service accounts", withProvider({ tokenAttributes: {} }), "not supported"],
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

test.each([
  ["10s", 10_000],
  ["1h30m0s", 5_400_000],
  ["1.5s", 1_500],
  ["250ms", 250],
  ["0", 0],
  ["", undefined],
  ["10", undefined],
  ["-5s", undefined],
  [60, undefined],
])("the duration %j is %s ms", (text, expected) => {
  expect(parseGoDuration(text)).toBe(expected);
});
