/**
 * Service account tokens of the embedded control plane over HTTPS, asked for by every kubectl of this machine and by
 * a node, used as bearer tokens and reviewed.
 */

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Cluster, startControlPlaneWithControllers } from "../../src/cli/up.ts";
import { systemClock } from "../../src/core/clock.ts";
import { type CommandResult, createExec } from "../../src/core/exec.ts";
import { createLogger } from "../../src/core/logger.ts";
import { localKubectls } from "../support/local-kubectls.ts";

const exec = createExec(systemClock);
const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
const [anyKubectl = "kubectl"] = localKubectls;

let dir = "";
let cluster: Cluster;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "longshore-tokens-"));
  cluster = await startControlPlaneWithControllers({
    ...{ dir, address: "127.0.0.1", port: 0, nodeName: "n", clock: systemClock, log },
    ...{ serviceCidr: "10.96.0.0/16", clusterCidr: "10.244.0.0/16" },
    random: Math.random,
    randomUid: () => crypto.randomUUID(),
  });
  await kubectl("apply", {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web" },
    spec: { nodeName: "n", containers: [{ name: "c", image: "busybox" }] },
  });
});

afterAll(async () => {
  await cluster.stop();
  rmSync(dir, { recursive: true });
});

function run(file: string, args: readonly string[], stdin?: string): Promise<CommandResult> {
  const env = { PATH: process.env.PATH ?? "", HOME: dir, KUBECONFIG: cluster.files.admin };
  const input = stdin === undefined ? {} : { input: stdin };
  return exec({ file, args, env, timeoutMs: 20_000, ...input }, new AbortController().signal);
}

async function kubectl(verb: "apply" | "create", object: object): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await run(
    anyKubectl,
    [verb, "-f", "-", "-o", "json"],
    JSON.stringify(object),
  );
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout);
}

/** Status code and body of a GET with a bearer token. */
function get(path: string, token: string): Promise<readonly [number | undefined, string]> {
  const { promise, resolve, reject } =
    Promise.withResolvers<readonly [number | undefined, string]>();
  const options = {
    ca: readFileSync(cluster.files.clientCa),
    headers: { authorization: `Bearer ${token}` },
  };
  request(`${cluster.url}${path}`, options, (response) => {
    let body = "";
    response.setEncoding("utf8").on("data", (text) => (body += text));
    response.on("end", () => resolve([response.statusCode, body]));
  })
    .on("error", reject)
    .end();
  return promise;
}

const PODS = "/api/v1/namespaces/default/pods";

describe.skipIf(localKubectls.length === 0).each(localKubectls)("%s", (program) => {
  test("creates tokens, bound and not, that the API server knows", async () => {
    for (const more of [
      [],
      ["--bound-object-kind=Pod", "--bound-object-name=web", "--duration=10m"],
    ]) {
      const { code, stdout, stderr } = await run(program, ["create", "token", "default", ...more]);
      expect([code, stderr]).toEqual([0, ""]);
      expect((await get(PODS, stdout.trim()))[0]).toBe(200);
    }
    const short = await run(program, ["create", "token", "default", "--duration=5m"]);
    expect(short.stderr).toContain("may not specify a duration less than 10 minutes");
  });
});

describe.skipIf(localKubectls.length === 0)("a token", () => {
  const create = async (...args: readonly string[]): Promise<string> => {
    const { code, stdout, stderr } = await run(anyKubectl, ["create", "token", ...args]);
    if (code !== 0) throw new Error(stderr);
    return stdout.trim();
  };
  const review = async (spec: object) => {
    const kind = { apiVersion: "authentication.k8s.io/v1", kind: "TokenReview" };
    return (await kubectl("create", { ...kind, spec })).status;
  };

  test("is reviewed with user, audience and extras", async () => {
    const token = await create("default", "--bound-object-kind=Pod", "--bound-object-name=web");
    expect(await review({ token })).toEqual({
      authenticated: true,
      audiences: ["https://kubernetes.default.svc.cluster.local"],
      user: {
        username: "system:serviceaccount:default:default",
        uid: expect.any(String),
        groups: [
          ...["system:serviceaccounts", "system:serviceaccounts:default"],
          "system:authenticated",
        ],
        extra: expect.objectContaining({ "authentication.kubernetes.io/pod-name": ["web"] }),
      },
    });
    expect(await review({ token, audiences: ["vault"] })).toMatchObject({
      user: {},
      error: expect.stringContaining("is invalid for the target audiences"),
    });
  });

  test("opens its own namespace, and not what is secret or elsewhere", async () => {
    const token = await create("default");
    const secrets = await get("/api/v1/namespaces/default/secrets", token);
    expect(secrets[0]).toBe(403);
    expect(secrets[1]).toContain(
      'secrets is forbidden: User \\"system:serviceaccount:default:default\\" cannot list resource \\"secrets\\" in API group \\"\\" in the namespace \\"default\\"',
    );
    expect((await get("/api/v1/nodes", token))[0]).toBe(403);
    expect((await get("/.well-known/openid-configuration", token))[0]).toBe(200);
    expect((await get(PODS, `${token}x`))[0]).toBe(401);
  });

  test("is worth nothing once its pod is gone", async () => {
    const token = await create("default", "--bound-object-kind=Pod", "--bound-object-name=web");
    expect((await get(PODS, token))[0]).toBe(200);
    const gone = await run(anyKubectl, ["delete", "pod", "web", "--force", "--grace-period=0"]);
    expect(gone.code).toBe(0);
    expect((await get(PODS, token))[0]).toBe(401);
  });
});
