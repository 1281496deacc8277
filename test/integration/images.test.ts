/** Images on the real Engine and a real registry: credentials, shared pulls, who may use what is there, silence. */

import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import type { Container, ObjectMeta, Pod, Secret } from "../../src/api/types.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createExec } from "../../src/core/exec.ts";
import { createLogger } from "../../src/core/logger.ts";
import { ImageAccess } from "../../src/images/access.ts";
import { loadNodeCredentials } from "../../src/images/node-credentials.ts";
import { lookUpCredentials } from "../../src/pods/image-credentials.ts";
import { ImageManager } from "../../src/pods/images.ts";
import type { ImageState } from "../../src/pods/snapshot.ts";
import { createDockerRuntime } from "../../src/runtime/docker/docker-runtime.ts";
import { eventually } from "../support/node-container.ts";
import { PASSWORDS, Registry } from "../support/registry.ts";

const SILENCE_MS = 1_500;
let registry: Registry;
let image: string;

beforeAll(async () => {
  registry = await Registry.start();
  image = await registry.push("team/app:1");
});
afterAll(() => registry.stop());

/** The node's side of images: an agent without pods. */
class Node {
  readonly events: string[] = [];
  readonly logs: string[] = [];
  readonly secrets = new Map<string, Secret>();
  readonly accounts = new Map<string, { metadata: ObjectMeta }>();
  readonly #rootDir: string;
  /** Of the pods. */
  account = "default";
  images!: ImageManager;

  constructor(rootDir: string) {
    this.#rootDir = rootDir;
  }

  /** Also what a restart of the agent does. */
  async start(plugins?: string): Promise<void> {
    const log = createLogger({
      level: "info",
      pretty: false,
      write: (line) => this.logs.push(line),
    });
    const clock = systemClock;
    const runtime = createDockerRuntime({
      ...{ endpoint: "unix:///var/run/docker.sock", clock, log, random: Math.random },
      ...{ hasSysResource: false, imagePullProgressDeadlineMs: SILENCE_MS },
      ...{ exec: createExec(clock), seccompDir: "/nonexistent" },
    });
    const rootDir = this.#rootDir;
    const access = new ImageAccess({
      ...{ rootDir, clock, log },
      imagePullCredentialsVerificationPolicy: "NeverVerifyPreloadedImages",
      preloadedImagesVerificationAllowlist: [],
    });
    await access.start(runtime, new AbortController().signal);
    const config = {
      rootDir,
      ...(plugins === undefined
        ? {}
        : { imageCredentialProviderConfig: plugins, imageCredentialProviderBinDir: rootDir }),
    };
    const env = { PATH: process.env.PATH };
    const nodeCredentials = await loadNodeCredentials(config, {
      env,
      exec: createExec(clock),
      clock,
      log,
    });
    const sources = {
      objects: {
        getSecret: async (_: string, name: string) => this.secrets.get(name),
        getServiceAccount: async (_: string, name: string) => this.accounts.get(name),
        // The registry knows no tokens: the account's is a password that it takes.
        requestToken: async () => ({ token: PASSWORDS.bob, expiresAt: 0 }),
      },
      nodeCredentials,
      events: {
        record: (about: { name: string }, _type: string, reason: string, message: string) =>
          void this.events.push(`${about.name} ${reason} ${message}`),
      },
    };
    this.images = new ImageManager({
      ...{ runtime, access, clock, log, events: sources.events, maxParallel: 4 },
      ...{ registryPullQPS: 0, registryBurst: 0 },
      credentials: (pod, name, signal) => lookUpCredentials(sources, pod, name, signal),
      onDone: () => undefined,
    });
  }

  addSecret(name: string, user: string, password: string, type = "dockerconfigjson"): void {
    const auth = Buffer.from(`${user}:${password}`).toString("base64");
    const auths = { [registry.host]: { auth } };
    const content = JSON.stringify(type === "dockercfg" ? auths : { auths });
    this.secrets.set(name, {
      ...{ apiVersion: "v1", kind: "Secret", type: `kubernetes.io/${type}` },
      metadata: { name, namespace: "ns", uid: `uid-${name}`, resourceVersion: "1" },
      data: { [`.${type}`]: Buffer.from(content).toString("base64") },
    });
  }

  /** Begins to obtain the image for a pod with these secrets, and waits for what comes of it. */
  async obtain(name: string, secrets: readonly string[], spec: Partial<Container> = {}) {
    await this.ensure(name, secrets, spec);
    return this.settled(name, spec);
  }

  ensure(name: string, secrets: readonly string[], spec: Partial<Container> = {}): Promise<void> {
    const container = containerOf(spec);
    const pod: Pod = {
      ...{ apiVersion: "v1", kind: "Pod" },
      metadata: { name, namespace: "ns", uid: `uid-${name}`, resourceVersion: "1" },
      spec: {
        containers: [container],
        imagePullSecrets: secrets.map((secret) => ({ name: secret })),
        serviceAccountName: this.account,
      },
    };
    return this.images.ensure(pod, container, new AbortController().signal);
  }

  async settled(name: string, spec: Partial<Container> = {}): Promise<ImageState> {
    return eventually(`the image of ${name} is settled`, async () => {
      const state = this.images.state(`uid-${name}`, containerOf(spec));
      return state.kind === "pulling" ? undefined : state;
    });
  }
}

function containerOf(spec: Partial<Container>): Container {
  return { name: "main", image, imagePullPolicy: "IfNotPresent", ...spec };
}

let rootDir: string;
let node: Node;

beforeEach(async () => {
  rootDir = await mkdtemp(join(tmpdir(), "longshore-images-"));
  node = new Node(rootDir);
  await node.start();
  node.addSecret("alice", "alice", PASSWORDS.alice);
  node.addSecret("bob", "bob", PASSWORDS.bob, "dockercfg");
  node.addSecret("wrong", "alice", "guess");
  registry.pulls.length = 0;
});
afterEach(async () => {
  registry.shut("pass");
  await node.images.stop();
  await registry.forget(image);
  await rm(rootDir, { recursive: true });
});

test("both types of secrets pull, and an image with a digest, with a tag too, is what it names", async () => {
  expect(await node.obtain("a", ["alice"])).toMatchObject({ kind: "present" });
  expect(registry.pulls).toEqual(["alice team/app"]);
  expect(await node.obtain("b", ["bob"], { imagePullPolicy: "Always" })).toMatchObject({
    kind: "present",
  });
  expect(registry.pulls).toEqual(["alice team/app", "bob team/app"]);
  const answer = await fetch(`http://${registry.host}/v2/team/app/manifests/1`, {
    headers: {
      accept: "application/vnd.docker.distribution.manifest.v2+json",
      authorization: `Basic ${Buffer.from(`alice:${PASSWORDS.alice}`).toString("base64")}`,
    },
  });
  const digest = answer.headers.get("docker-content-digest");
  await registry.forget(image);
  for (const named of [`${image}@${digest}`, `${image.replace(/:1$/, "")}@${digest}`]) {
    expect(await node.obtain("c", ["alice"], { image: named })).toMatchObject({ kind: "present" });
    await registry.forget(named);
  }
});

test("without credentials, or with wrong ones, the registry's words are told", async () => {
  const none = await node.obtain("none", []);
  expect(none).toMatchObject({ kind: "failed", reason: "ErrImagePull" });
  expect(none).toMatchObject({ message: expect.stringContaining("no basic auth credentials") });
  const wrong = await node.obtain("wrong", ["wrong"]);
  expect(wrong).toMatchObject({ message: expect.stringContaining("unauthorized") });
  expect(node.events).toContain("wrong Failed Error: ErrImagePull");
  expect(registry.pulls).toEqual([]);
});

test("secrets that are missing or rubbish are told, and the next one works", async () => {
  node.secrets.set("rubbish", {
    ...node.secrets.get("alice"),
    data: { ".dockerconfigjson": "e30x" },
  } as Secret);
  node.secrets.set("huge", {
    ...node.secrets.get("alice"),
    data: { ".dockerconfigjson": Buffer.alloc(5_000_000, "x").toString("base64") },
  } as Secret);
  const state = await node.obtain("a", ["away", "rubbish", "huge", "wrong", "alice"]);
  expect(state).toMatchObject({ kind: "present" });
  expect(node.events.filter((event) => event.includes("FailedToRetrieveImagePullSecret"))).toEqual([
    "a FailedToRetrieveImagePullSecret The image pull secret rubbish is of no use: its .dockerconfigjson is not a JSON object.",
    "a FailedToRetrieveImagePullSecret The image pull secret huge is of no use: its .dockerconfigjson is not a JSON object.",
    "a FailedToRetrieveImagePullSecret Unable to retrieve some image pull secrets (away); attempting to pull the image may not succeed.",
  ]);
});

test("five pods that want one image at once are one pull", async () => {
  const names = ["p1", "p2", "p3", "p4", "p5"];
  await Promise.all(names.map((name) => node.ensure(name, ["alice"])));
  for (const name of names) expect(await node.settled(name)).toMatchObject({ kind: "present" });
  expect(registry.pulls).toEqual(["alice team/app"]);
});

test("an image that one pod pulled with its secret is not there for a pod without, after a restart too", async () => {
  await node.obtain("owner", ["alice"]);
  await node.images.stop();
  await node.start();
  expect(await node.obtain("again", ["alice"])).toMatchObject({ kind: "present" });
  expect(registry.pulls).toEqual(["alice team/app"]);
  expect(await node.obtain("thief", [])).toMatchObject({ reason: "ErrImagePull" });
  expect(await node.obtain("thief2", ["wrong"])).toMatchObject({ reason: "ErrImagePull" });
  expect(await node.obtain("thief3", [], { imagePullPolicy: "Never" })).toMatchObject({
    reason: "ErrImageNeverPull",
    message: `Container image "${image}" is not present with pull policy of Never`,
  });
  expect(await node.obtain("bob", ["bob"])).toMatchObject({ kind: "present" });
  expect(await node.obtain("bob2", ["bob"])).toMatchObject({ kind: "present" });
  expect(registry.pulls).toEqual(["alice team/app", "bob team/app"]);
});

test("a credential plugin that is a shell script gives credentials for the whole node", async () => {
  const script = `#!/bin/sh
read request; echo "$request" >>"$LOG"
case "$request" in *'"image":"${registry.host}/team/app"'*) ;; *) echo "not mine" >&2; exit 1 ;; esac
echo '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Registry","cacheDuration":"1h","auth":{"127.0.0.1:*":{"username":"x","password":"x"},"${registry.host}":{"username":"'$1'","password":"'$PASSWORD'"}}}'
`;
  await writeFile(join(rootDir, "plugin"), script);
  await chmod(join(rootDir, "plugin"), 0o755);
  const provider = {
    name: "plugin",
    apiVersion: "credentialprovider.kubelet.k8s.io/v1",
    matchImages: [registry.host],
    defaultCacheDuration: "0s",
    args: ["bob"],
    env: [
      { name: "PASSWORD", value: PASSWORDS.bob },
      { name: "LOG", value: join(rootDir, "asked") },
    ],
  };
  const config = join(rootDir, "providers.yaml");
  const head = { apiVersion: "kubelet.config.k8s.io/v1", kind: "CredentialProviderConfig" };
  await writeFile(config, JSON.stringify({ ...head, providers: [provider] }));
  await node.start(config);
  expect(await node.obtain("a", [])).toMatchObject({ kind: "present" });
  expect(await node.obtain("b", [], { imagePullPolicy: "Always" })).toMatchObject({
    kind: "present",
  });
  expect(await node.obtain("c", [])).toMatchObject({ kind: "present" });
  expect(registry.pulls).toEqual(["bob team/app", "bob team/app"]);
  expect(node.logs).toEqual([]);
});

test("a plugin with tokens of service accounts gives each account its own right to an image", async () => {
  const script = `#!/bin/sh
read request
token=$(echo "$request" | sed 's/.*"serviceAccountToken":"\\([^"]*\\)".*/\\1/')
user=$(echo "$request" | sed 's/.*"example.io.user":"\\([^"]*\\)".*/\\1/')
echo '{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1","cacheKeyType":"Image","auth":{"${registry.host}":{"username":"'$user'","password":"'$token'"}}}'
`;
  await writeFile(join(rootDir, "plugin"), script, { mode: 0o755 });
  const provider = {
    name: "plugin",
    apiVersion: "credentialprovider.kubelet.k8s.io/v1",
    matchImages: [registry.host],
    defaultCacheDuration: "1h",
    tokenAttributes: {
      serviceAccountTokenAudience: "registry",
      cacheType: "Token",
      requireServiceAccount: true,
      requiredServiceAccountAnnotationKeys: ["example.io/user"],
    },
  };
  const config = join(rootDir, "providers.yaml");
  const head = { apiVersion: "kubelet.config.k8s.io/v1", kind: "CredentialProviderConfig" };
  await writeFile(config, JSON.stringify({ ...head, providers: [provider] }));
  await node.start(config);
  const metadata = { namespace: "ns", annotations: { "example.io/user": "bob" } };
  for (const name of ["builder", "other"])
    node.accounts.set(name, { metadata: { ...metadata, name, uid: `uid-${name}` } });
  node.accounts.set("plain", { metadata: { namespace: "ns", name: "plain", uid: "uid-plain" } });
  const asAccount = async (name: string, account: string) => {
    node.account = account;
    return node.obtain(name, []);
  };
  expect(await asAccount("a", "plain")).toMatchObject({ reason: "ErrImagePull" });
  expect(await asAccount("b", "builder")).toMatchObject({ kind: "present" });
  expect(await asAccount("c", "builder")).toMatchObject({ kind: "present" });
  expect(registry.pulls).toEqual(["bob team/app"]);
  expect(await asAccount("d", "plain")).toMatchObject({ reason: "ErrImagePull" });
  expect(await asAccount("e", "other")).toMatchObject({ kind: "present" });
  expect(registry.pulls).toEqual(["bob team/app", "bob team/app"]);
});

test("the node's own config.json serves pods without secrets", async () => {
  const auth = Buffer.from(`alice:${PASSWORDS.alice}`).toString("base64");
  const config = { auths: { [registry.host]: { auth } } };
  await writeFile(join(rootDir, "config.json"), JSON.stringify(config));
  expect(await node.obtain("a", [])).toMatchObject({ kind: "present" });
});

test("a registry that answers 503 is RegistryUnavailable", async () => {
  registry.shut("unavailable");
  const state = await node.obtain("a", ["alice"]);
  expect(state).toMatchObject({ kind: "failed", reason: "RegistryUnavailable" });
});

test("a pull without progress is given up, and works once the registry answers again", async () => {
  registry.shut("silent");
  const state = await node.obtain("a", ["alice"]);
  expect(state).toMatchObject({
    reason: "ErrImagePull",
    message: "the pull made no progress for 1.5 s and was given up",
  });
  registry.shut("pass");
  expect(await node.obtain("b", ["alice"])).toMatchObject({ kind: "present" });
});

test("a pod that goes takes its pull along without a word", async () => {
  registry.shut("silent");
  await node.ensure("a", ["alice"]);
  await eventually("the Engine asks for a layer", async () => registry.held > 0, 20_000);
  node.images.forgetPod("uid-a");
  await node.images.stop();
  registry.shut("pass");
  await node.start();
  expect(node.events).toEqual([`a Pulling Pulling image "${image}"`]);
  expect(await node.obtain("b", [])).toMatchObject({ reason: "ErrImagePull" });
});
