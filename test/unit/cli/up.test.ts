import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  type AgentFlags,
  parseUpOptions,
  runUp,
  type StartControlPlane,
  type UpHost,
} from "../../../src/cli/up.ts";
import { at } from "../../../src/controlplane/objects.ts";
import { NODES, SERVICES } from "../../../src/controlplane/registry.ts";
import { Store } from "../../../src/controlplane/store.ts";
import type { Clock } from "../../../src/core/clock.ts";
import type { Logger } from "../../../src/core/logger.ts";

const quiet: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => quiet,
};
const still: Clock = {
  now: () => 0,
  monotonic: () => 0,
  after: () => ({ cancel: () => undefined }),
};

let dir: string;
let said: string[];
let store: Store;
let stop: AbortController;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "longshore-up-"));
  said = [];
  stop = new AbortController();
});
afterEach(() => rm(dir, { recursive: true, force: true }));

const host = (): UpHost => ({
  clock: still,
  random: () => 0,
  randomUid: () => "uid",
  hostname: "Box",
  stop: stop.signal,
  stdout: (text) => void said.push(`out ${text}`),
  stderr: (text) => void said.push(`err ${text}`),
  createLogger: () => quiet,
});

/** The API server without its HTTP. */
const startControlPlane: StartControlPlane = async ({
  dir: stateDir,
  extend,
  clock,
  random,
  log,
}) => {
  let uid = 0;
  const randomUid = () => `uid-${uid++}`;
  store = new Store({ path: ":memory:", clock, randomUid, log });
  store.open();
  const kubeletClient = { ca: "CA", cert: "", key: "" };
  const authority = { cert: "", key: "" };
  const context = { store, clock, random, randomUid, log, kubeletClient, authority };
  extend?.({ pkiDir: stateDir, ...context });
  return {
    url: "https://127.0.0.1:6443",
    caFile: `${stateDir}/ca.crt`,
    adminKubeconfig: `${stateDir}/admin.kubeconfig`,
    issueKubeconfig: (user, groups, path) => writeFile(path, `${user} ${groups.join(",")}`),
    stop: async () => {
      said.push("server stopped");
      store.close();
    },
  };
};

describe("longshore up", () => {
  it("starts the agent as a node, prints one line when it is Ready, and stops it before the server", async () => {
    let flags: AgentFlags = {};
    const startAgent = async (given: AgentFlags) => {
      flags = given;
      const status = { conditions: [{ type: "Ready", status: "True" }] };
      store.create(NODES, { apiVersion: "v1", kind: "Node", metadata: { name: "box" }, status });
      return { stop: async () => void said.push("agent stopped") };
    };
    const stdout = (text: string): void => {
      said.push(`out ${text}`);
      stop.abort();
    };
    const code = await runUp({ ...host(), stdout }, { dir }, { startControlPlane, startAgent });
    expect(code).toBe(0);
    expect(said).toEqual([
      expect.stringContaining("not for production"),
      `out KUBECONFIG=${dir}/admin.kubeconfig kubectl get nodes\n`,
      "agent stopped",
      "server stopped",
    ]);
    expect(flags).toEqual({
      kubeconfig: `${dir}/node.kubeconfig`,
      proxyKubeconfig: `${dir}/proxy.kubeconfig`,
      clientCaFile: `${dir}/ca.crt`,
      hostnameOverride: "box",
      clusterCidr: "10.244.0.0/16",
    });
    expect(await readFile(`${dir}/node.kubeconfig`, "utf8")).toBe("system:node:box system:nodes");
  });

  it("stops cleanly when told to before the node is Ready", async () => {
    const startAgent = async () => {
      stop.abort();
      return { stop: async () => void said.push("agent stopped") };
    };
    expect(await runUp(host(), { dir }, { startControlPlane, startAgent })).toBe(0);
    expect(said.slice(1)).toEqual(["agent stopped", "server stopped"]);
  });

  it("stops the server and fails when the agent cannot start", async () => {
    const startAgent = () => Promise.reject(new Error("no Docker"));
    const run = runUp(host(), { dir }, { startControlPlane, startAgent });
    await expect(run).rejects.toThrow("no Docker");
    expect(said.at(-1)).toBe("server stopped");
  });

  it("runs without an agent, and has the kubernetes service at the first address", async () => {
    let ip: unknown;
    const stdout = (): void => {
      ip = at(store.get(SERVICES, "default", "kubernetes"), "spec", "clusterIP");
      stop.abort();
    };
    const flags = { dir, controlPlaneOnly: true, serviceCidr: "10.9.0.0/24" };
    const startAgent = () => Promise.reject(new Error("not wanted"));
    expect(await runUp({ ...host(), stdout }, flags, { startControlPlane, startAgent })).toBe(0);
    expect(ip).toBe("10.9.0.1");
  });

  it("refuses flags that mean nothing", () => {
    expect(() => parseUpOptions({ port: "99999" }, "box")).toThrow("--port 99999 is not a port");
    expect(() => parseUpOptions({ serviceCidr: "x" }, "box")).toThrow('"x" is not an IPv4 CIDR');
  });
});
