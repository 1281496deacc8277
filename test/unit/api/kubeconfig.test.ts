/** Kubeconfig files: what each form of credential becomes, how it rotates, and what is said of a broken one. */

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dump } from "js-yaml";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadKubeconfig } from "../../../src/api/kubeconfig.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import type { Command, Exec } from "../../../src/core/exec.ts";
import { FakeClock } from "../../fakes/clock.ts";

type Fields = Record<string, unknown>;

interface Parts {
  readonly root: Fields;
  readonly context: Fields;
  readonly cluster: Fields;
  readonly user: Fields;
}

const signal = new AbortController().signal;
const base64 = (text: string): string => Buffer.from(text).toString("base64");
let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-kubeconfig-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function write(mutate: (parts: Parts) => void): Promise<string> {
  const parts: Parts = {
    root: {},
    context: { cluster: "c", user: "u" },
    cluster: { server: "https://192.0.2.1:6443", "certificate-authority-data": base64("CA") },
    user: {},
  };
  mutate(parts);
  const config = {
    "current-context": "x",
    contexts: [{ name: "x", context: parts.context }],
    clusters: [{ name: "c", cluster: parts.cluster }],
    users: [{ name: "u", user: parts.user }],
    ...parts.root,
  };
  const path = join(folder, "kubeconfig");
  await writeFile(path, dump(config));
  return path;
}

async function setUp(mutate: (parts: Parts) => void, exec: Exec = refuseExec) {
  const clock = new FakeClock();
  const path = await write(mutate);
  const credentials = await loadKubeconfig(path, { clock, exec, env: { PATH: "/bin" } });
  return { clock, credentials };
}

const refuseExec: Exec = () => Promise.reject(new Error("no plugin is expected to run"));

test("inline data becomes TLS material and the server's address", async () => {
  const { credentials } = await setUp(({ cluster, user }) => {
    cluster["tls-server-name"] = "kubernetes";
    user["client-certificate-data"] = base64("CERT");
    user["client-key-data"] = base64("KEY");
  });
  expect(credentials.server.href).toBe("https://192.0.2.1:6443/");
  await expect(credentials.current(signal)).resolves.toEqual({
    tls: { ca: "CA", cert: "CERT", key: "KEY", servername: "kubernetes", rejectUnauthorized: true },
  });
});

test("files are relative to the kubeconfig and are read again when they change", async () => {
  for (const [name, text] of Object.entries({ crt: "CERT-1", key: "KEY-1", tok: "one\n" })) {
    await writeFile(join(folder, name), text);
  }
  const { clock, credentials } = await setUp(({ user }) => {
    user["client-certificate"] = "crt";
    user["client-key"] = "key";
    user.tokenFile = "tok";
  });
  const before = await credentials.current(signal);
  expect(before.authorization).toBe("Bearer one");
  await writeFile(join(folder, "crt"), "CERT-2");
  await writeFile(join(folder, "tok"), "two\n");
  await clock.advance(59_000);
  expect((await credentials.current(signal)).tls).toBe(before.tls);
  await clock.advance(1_000);
  const after = await credentials.current(signal);
  expect(after.tls.cert).toBe("CERT-2");
  expect(after.authorization).toBe("Bearer two");
  await rm(join(folder, "tok"));
  credentials.expire();
  expect((await credentials.current(signal)).authorization).toBe("Bearer two");
});

test("insecure-skip-tls-verify turns verification off, and a context without user sends nothing", async () => {
  const { credentials } = await setUp(({ cluster, context }) => {
    delete cluster["certificate-authority-data"];
    cluster["insecure-skip-tls-verify"] = true;
    delete context.user;
  });
  await expect(credentials.current(signal)).resolves.toEqual({
    tls: { rejectUnauthorized: false },
  });
});

describe("exec plugins", () => {
  const plugin = { apiVersion: "client.authentication.k8s.io/v1", command: "get-token" };

  function answering(statuses: readonly Fields[], commands: Command[]): Exec {
    return async (command) => {
      commands.push(command);
      const status = statuses[commands.length - 1];
      const answer = { apiVersion: plugin.apiVersion, kind: "ExecCredential", status };
      return { code: 0, stdout: JSON.stringify(answer), stderr: "" };
    };
  }

  test("the answer is kept until it expires, and callers share one run", async () => {
    const commands: Command[] = [];
    const statuses = [
      { token: "one", expirationTimestamp: "2026-01-01T00:10:00Z" },
      { token: "two" },
    ];
    const { clock, credentials } = await setUp(
      ({ user }) => {
        user.exec = { ...plugin, args: ["--a"], env: [{ name: "B", value: "2" }] };
      },
      answering(statuses, commands),
    );
    const both = await Promise.all([credentials.current(signal), credentials.current(signal)]);
    expect(both.map((c) => c.authorization)).toEqual(["Bearer one", "Bearer one"]);
    await clock.advance(599_000);
    await credentials.current(signal);
    expect(commands).toHaveLength(1);
    expect(commands[0]).toMatchObject({ file: "get-token", args: ["--a"] });
    expect(commands[0]?.env).toMatchObject({ PATH: "/bin", B: "2" });
    expect(JSON.parse(commands[0]?.env?.KUBERNETES_EXEC_INFO ?? "")).toEqual({
      apiVersion: plugin.apiVersion,
      kind: "ExecCredential",
      spec: { interactive: false },
    });
    await clock.advance(1_000);
    expect((await credentials.current(signal)).authorization).toBe("Bearer two");
  });

  test("after a 401 the plugin is asked again", async () => {
    const commands: Command[] = [];
    const { credentials } = await setUp(
      ({ user }) => {
        user.exec = plugin;
      },
      answering([{ token: "one" }, { token: "two" }], commands),
    );
    await credentials.current(signal);
    credentials.expire();
    expect((await credentials.current(signal)).authorization).toBe("Bearer two");
  });

  test("a plugin that is not installed is reported with its hint", async () => {
    const missing: Exec = async () => {
      throw new LongshoreError("CommandMissing", "not on PATH");
    };
    const { credentials } = await setUp(({ user }) => {
      user.exec = { ...plugin, installHint: "apt install get-token" };
    }, missing);
    await expect(credentials.current(signal)).rejects.toMatchObject({
      code: "ApiUnauthorized",
      message: expect.stringMatching(/get-token.*apt install get-token/),
    });
  });

  test.each<[string, Exec]>([
    ["fails", async () => ({ code: 3, stdout: "hunter2", stderr: "denied" })],
    [
      "hangs",
      async ({ file, args }) => {
        throw new LongshoreError("CommandTimeout", `${file} ${args.join(" ")} did not end`);
      },
    ],
  ])("a plugin that %s is reported without its arguments and output", async (_, exec) => {
    const { credentials } = await setUp(({ user }) => {
      user.exec = { ...plugin, args: ["--client-secret=hunter2"] };
    }, exec);
    const error: unknown = await credentials.current(signal).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "ApiUnauthorized" });
    for (let shown = error; shown instanceof Error; shown = shown.cause)
      expect(shown.message).not.toContain("hunter2");
  });

  test("an answer that is no ExecCredential is refused without quoting it", async () => {
    const babbling: Exec = async () => ({ code: 0, stdout: "hunter2", stderr: "" });
    const { credentials } = await setUp(({ user }) => {
      user.exec = plugin;
    }, babbling);
    const error = await credentials.current(signal).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: "ApiUnauthorized" });
    expect(String(error)).not.toContain("hunter2");
  });
});

describe("what is wrong is said with file, field and remedy", () => {
  const exec = { apiVersion: "client.authentication.k8s.io/v1", command: "p" };
  const cases: readonly [string, (parts: Parts) => void, RegExp][] = [
    ["no current context", (p) => (p.root["current-context"] = ""), /current-context is missing/],
    ["unknown context", (p) => (p.root["current-context"] = "y"), /contexts has no entry "y"/],
    ["unknown cluster", (p) => (p.context.cluster = "z"), /clusters has no entry "z"/],
    ["unknown user", (p) => (p.context.user = "z"), /users has no entry "z"/],
    ["clusters not a list", (p) => (p.root.clusters = "c"), /clusters is not a list/],
    ["no server", (p) => delete p.cluster.server, /clusters\[c\]\.cluster\.server is missing/],
    ["server no URL", (p) => (p.cluster.server = "host:6443"), /server is no URL; write https:/],
    ["proxy", (p) => (p.cluster["proxy-url"] = "http://p"), /proxy-url is not supported; remove/],
    [
      "CA and insecure",
      (p) => (p.cluster["insecure-skip-tls-verify"] = true),
      /insecure-skip-tls-verify contradicts/,
    ],
    ["bad base64", (p) => (p.user["client-key-data"] = "%"), /client-key-data is not base64/],
    [
      "certificate without key",
      (p) => (p.user["client-certificate-data"] = base64("C")),
      /user\.client-key is missing; give the certificate together/,
    ],
    ["missing file", (p) => (p.user.tokenFile = "nowhere"), /users\[u\]\.user\.tokenFile cannot/],
    ["token a number", (p) => (p.user.token = 1), /user\.token is not a string; put it in quotes/],
    ["auth-provider", (p) => (p.user["auth-provider"] = {}), /auth-provider is not supported/],
    ["password", (p) => (p.user.password = "hunter2"), /user\.password is not supported/],
    ["user no object", (p) => (p.root.users = [{ name: "u", user: "me" }]), /is not an object/],
    ["exec version", (p) => (p.user.exec = { ...exec, apiVersion: "v0" }), /use client.*v1beta1/],
    ["exec interactive", (p) => (p.user.exec = { ...exec, interactiveMode: "Always" }), /nobody/],
    ["exec command", (p) => (p.user.exec = { ...exec, command: "" }), /exec\.command is missing/],
  ];
  test.each(cases)("%s", async (_what, mutate, message) => {
    const path = await write(mutate);
    const loading = loadKubeconfig(path, { clock: new FakeClock(), exec: refuseExec, env: {} });
    const error = await loading.catch((e: unknown) => e);
    expect(error).toMatchObject({
      code: "KubeconfigInvalid",
      message: expect.stringMatching(message),
    });
    expect(String(error)).toContain(path);
    expect(String(error)).not.toContain("hunter2");
  });

  test("text that is not YAML, without quoting it, and a file that is not there", async () => {
    const deps = { clock: new FakeClock(), exec: refuseExec, env: {} };
    const path = join(folder, "broken");
    await writeFile(path, "a: b\ntoken: [hunter2\n");
    const error = await loadKubeconfig(path, deps).catch((e: unknown) => e);
    expect(error).toMatchObject({
      code: "KubeconfigInvalid",
      message: expect.stringMatching(/is not YAML .*line 3/),
    });
    expect(JSON.stringify(error) + String(error)).not.toContain("hunter2");
    await expect(loadKubeconfig(join(folder, "none"), deps)).rejects.toMatchObject({
      code: "KubeconfigInvalid",
      message: expect.stringContaining("cannot be read"),
    });
  });
});
