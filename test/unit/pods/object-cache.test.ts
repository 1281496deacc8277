import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ApiClient, ListOptions, WatchEvent } from "../../../src/api/client.ts";
import type { Resource } from "../../../src/api/resources.ts";
import type { StoredObject } from "../../../src/api/types.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import type { Logger } from "../../../src/core/logger.ts";
import { ObjectCache } from "../../../src/pods/object-cache.ts";
import { FakeClock, settle } from "../../fakes/clock.ts";
import { makePod } from "./support.ts";

const LOG: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => LOG };
const { signal } = new AbortController();
const POD = makePod({
  containers: [{ name: "web", envFrom: [{ configMapRef: { name: "cm" } }] }],
  volumes: [{ name: "v", secret: { secretName: "s" } }],
});

function object(name: string, resourceVersion = "5"): StoredObject {
  return { metadata: { name, namespace: "ns", uid: name, resourceVersion } };
}

/** Lists one object per name and hands out watch events by hand; an ended watch closes as a server does. */
class OneObjectServer {
  readonly asked: string[] = [];
  readonly created: object[] = [];
  /** Of the next create. */
  refusal: LongshoreError | undefined;
  readonly watching = new Map<string, (event: WatchEvent<StoredObject>) => void>();

  client(): ApiClient {
    return {
      get: async (_resource: unknown, { name }: { name: string }) => {
        this.asked.push(`get ${name}`);
        if (name === "none") throw new LongshoreError("ApiNotFound", "no");
        return object(name);
      },
      list: async ({ plural }: Resource<StoredObject>, options: ListOptions) => {
        this.asked.push(`list ${plural} ${options.namespace} ${options.fieldSelector}`);
        const name = options.fieldSelector?.split("=")[1] ?? "";
        return { items: [object(name)], resourceVersion: "5" };
      },
      watch: (_resource: unknown, options: ListOptions, stop: AbortSignal) =>
        this.#watch(options.fieldSelector?.split("=")[1] ?? "", stop),
      create: async (_resource: unknown, _namespace: unknown, body: object) => {
        this.created.push(body);
        const { refusal } = this;
        this.refusal = undefined;
        if (refusal !== undefined) throw refusal;
        return object("made");
      },
      createSubresource: async (_resource: unknown, ref: object, body: object) => {
        this.asked.push(JSON.stringify({ ref, body }));
        return { status: { token: "t", expirationTimestamp: "2026-01-01T01:00:00Z" } };
      },
    } as unknown as ApiClient;
  }

  async *#watch(name: string, stop: AbortSignal): AsyncIterable<WatchEvent<StoredObject>> {
    while (!stop.aborted) {
      const next = Promise.withResolvers<WatchEvent<StoredObject> | undefined>();
      this.watching.set(name, next.resolve);
      stop.addEventListener("abort", () => next.resolve(undefined), { once: true });
      const event = await next.promise;
      if (event !== undefined) yield event;
    }
    this.watching.delete(name);
  }
}

describe("the object cache", () => {
  let server: OneObjectServer;
  let cache: ObjectCache;
  const told: string[] = [];

  beforeEach(() => {
    told.length = 0;
    server = new OneObjectServer();
    cache = new ObjectCache({
      client: server.client(),
      clock: new FakeClock(),
      random: () => 0.5,
      log: LOG,
      onChange: (podUid) => void told.push(podUid),
    });
  });
  afterEach(() => cache.stop());

  test("reads each object a pod refers to once, by name, however often it is asked", async () => {
    cache.retainPod(POD);
    cache.retainPod(POD);
    for (let i = 0; i < 3; i++) {
      expect((await cache.getConfigMap("ns", "cm", signal))?.metadata.name).toBe("cm");
      expect((await cache.getSecret("ns", "s", signal))?.metadata.name).toBe("s");
    }
    expect(server.asked).toEqual([
      "list configmaps ns metadata.name=cm",
      "list secrets ns metadata.name=s",
    ]);
  });

  test("asks once for each of fifty ConfigMaps that five pods mount and read again and again", async () => {
    const names = Array.from({ length: 50 }, (_, index) => `cm-${index}`);
    const volumes = names.map((name) => ({ name, configMap: { name } }));
    const pods = ["a", "b", "c", "d", "e"].map((uid) =>
      makePod({ containers: [{ name: "web" }], volumes }, { uid }),
    );
    for (const pod of pods) cache.retainPod(pod);
    for (const _pod of pods)
      await Promise.all(names.map((name) => cache.getConfigMap("ns", name, signal)));
    await settle();
    expect(server.asked).toHaveLength(50);
    expect(new Set(server.asked).size).toBe(50);
    expect(server.watching.size).toBe(50);
  });

  test("does not watch what cannot change, and still has it", async () => {
    cache.retainPod(POD);
    await settle();
    expect([...server.watching.keys()].sort()).toEqual(["cm", "s"]);
    const immutable = { ...object("cm", "6"), immutable: true };
    server.watching.get("cm")?.({ kind: "applied", object: immutable });
    await settle();
    expect([...server.watching.keys()]).toEqual(["s"]);
    expect(await cache.getConfigMap("ns", "cm", signal)).toEqual(immutable);
    expect(server.asked).toHaveLength(2);
    expect(told).toContain("u1");
  });

  test("tells the pods that refer to an object when it changes", async () => {
    cache.retainPod(POD);
    await settle();
    told.length = 0;
    server.watching.get("cm")?.({ kind: "applied", object: object("cm", "6") });
    await settle();
    expect(told).toEqual(["u1"]);
  });

  test("stops watching when the last pod lets go", async () => {
    const other = makePod(POD.spec, { uid: "u2", name: "q" });
    cache.retainPod(POD);
    cache.retainPod(other);
    await settle();
    cache.releasePod("u1");
    await settle();
    expect([...server.watching.keys()].sort()).toEqual(["cm", "s"]);
    cache.releasePod("u2");
    await settle();
    expect([...server.watching.keys()]).toEqual([]);
  });

  test("asks directly for what no pod refers to", async () => {
    expect(await cache.getSecret("ns", "none", signal)).toBeUndefined();
    expect(server.asked).toEqual(["get none"]);
  });

  test("watches all trust bundles once for the pods that show any", async () => {
    const source = (name: string) => ({ clusterTrustBundle: { name, path: "ca" } });
    const sources = { sources: [source("a"), source("b")] };
    cache.retainPod(makePod({ containers: [], volumes: [{ name: "v", projected: sources }] }));
    await settle();
    expect(server.asked).toEqual(["list clustertrustbundles undefined undefined"]);
    expect(await cache.listClusterTrustBundles(signal)).toHaveLength(1);
    expect(server.asked).toHaveLength(1);
    server.watching.get("")?.({ kind: "modified", object: object("a", "6") } as never);
    await settle();
    expect(told).toEqual(["u1"]);
  });

  test("tells only the pod of a certificate request", async () => {
    const podCertificate = { signerName: "example.com/s", keyType: "ED25519", keyPath: "k" };
    const volumes = [{ name: "v", projected: { sources: [{ podCertificate }] } }];
    const one = makePod({ containers: [], nodeName: "n", volumes });
    cache.retainPod(one);
    cache.retainPod({ ...one, metadata: { ...one.metadata, uid: "u2" } });
    await settle();
    told.length = 0;
    const made = { ...object("req-1", "6"), spec: { podUID: "u2" } };
    server.watching.get("n")?.({ kind: "applied", object: made });
    await settle();
    expect(told).toEqual(["u2"]);
  });

  test("requests a certificate for the pod, as the API server's version wants it", async () => {
    const proof = {
      pkcs10: Buffer.from("r"),
      publicKey: Buffer.from("k"),
      possession: Buffer.from("p"),
    };
    const ask = () =>
      cache.requestPodCertificate(
        makePod({ nodeName: "n1" }),
        { signerName: "example.com/s", proof },
        signal,
      );
    expect(await ask()).toBe("made");
    expect(server.created[0]).toMatchObject({
      metadata: { generateName: "req-", ownerReferences: [{ kind: "Pod", name: "p", uid: "u1" }] },
      spec: {
        ...{ signerName: "example.com/s", podName: "p", podUID: "u1", stubPKCS10Request: "cg==" },
        ...{ nodeName: "n1", nodeUID: "n1" },
        ...{ serviceAccountName: "default", serviceAccountUID: "default" },
      },
    });
    server.refusal = new LongshoreError("ApiInvalid", "spec.pkixPublicKey: Required value");
    expect(await ask()).toBe("made");
    expect(server.created[2]).toMatchObject({
      spec: { pkixPublicKey: "aw==", proofOfPossession: "cA==" },
    });
    server.refusal = new LongshoreError("ApiNotFound", "no such path");
    await expect(ask()).rejects.toThrow(
      "the API server does not serve PodCertificateRequests (certificates.k8s.io/v1beta1)",
    );
  });

  test("requests a token bound to the pod", async () => {
    const token = await cache.requestToken(POD, { expirationSeconds: 600, audience: "a" }, signal);
    expect(token).toEqual({ token: "t", expiresAt: Date.parse("2026-01-01T01:00:00Z") });
    expect(server.asked[0]).toContain(
      '"boundObjectRef":{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u1"}',
    );
  });
});
