/**
 * A program that makes and takes away the volumes of one pod without end, to be killed at any instant by
 * test/integration/volumes-killed.test.ts, which finds here what the pod has. Its one argument is the root directory.
 */

import { join } from "node:path";
import type { Pod, Volume } from "../../src/api/types.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createExec } from "../../src/core/exec.ts";
import { createLogger } from "../../src/core/logger.ts";
import { createSyscalls } from "../../src/core/syscalls-linux.ts";
import { VolumeManager } from "../../src/volumes/volume-manager.ts";

export const MARKER = "longshore-churned-secret-7d1e";
export const UID = "churn-1";
const signal = new AbortController().signal;
const quiet = createLogger({ level: "silent", pretty: false, write: () => undefined });
const metadata = { name: "churn", namespace: "d", uid: UID, resourceVersion: "1" };
const encoded = Buffer.from(MARKER).toString("base64");

/** What the host has and nobody may touch. */
export const hostDirectory = (root: string): string => join(root, "host");

function createPod(root: string): Pod {
  const volumes: readonly Volume[] = [
    { name: "disk", emptyDir: {} },
    { name: "memory", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
    { name: "config", configMap: { name: "c" } },
    { name: "secret", secret: { secretName: "s" } },
    { name: "token", projected: { sources: [{ serviceAccountToken: { path: "token" } }] } },
    { name: "host", hostPath: { path: hostDirectory(root), type: "Directory" } },
    { name: "claimed", persistentVolumeClaim: { claimName: "p" } },
  ];
  const volumeMounts = volumes.map(({ name }) => ({ name, mountPath: `/${name}` }));
  return {
    ...{ apiVersion: "v1", kind: "Pod", metadata },
    spec: { volumes: [...volumes], containers: [{ name: "c", volumeMounts }] },
  };
}

const exec = createExec(systemClock);

export class Churn {
  readonly #root: string;
  readonly #manager: VolumeManager;

  private constructor(root: string) {
    this.#root = root;
    const object = { metadata: { ...metadata, uid: "claim" } };
    const claim = { apiVersion: "v1" as const, kind: "PersistentVolumeClaim" as const, ...object };
    const volume = { apiVersion: "v1" as const, kind: "PersistentVolume" as const, ...object };
    this.#manager = new VolumeManager({
      rootDir: root,
      objects: {
        getConfigMap: async () => ({
          ...{ apiVersion: "v1", kind: "ConfigMap", metadata, data: { key: "value" } },
        }),
        getSecret: async () => ({
          ...{ apiVersion: "v1", kind: "Secret", metadata, data: { key: encoded } },
        }),
        listClusterTrustBundles: async () => [],
        requestToken: async () => ({ token: MARKER, expiresAt: systemClock.now() + 3_600_000 }),
        getClaim: async () => ({
          ...claim,
          spec: { volumeName: "p" },
          status: { phase: "Bound" },
        }),
        getPersistentVolume: async () => ({
          ...volume,
          spec: { claimRef: { uid: "claim" }, local: { path: hostDirectory(root) } },
        }),
      },
      syscalls: createSyscalls({ exec }),
      exec,
      images: { holdImage: refuse, releaseImages: refuse },
      certificates: { get: refuse, forget: () => undefined },
      clock: systemClock,
      log: quiet,
    });
  }

  static async open(root: string): Promise<Churn> {
    const churn = new Churn(root);
    await churn.#manager.start();
    return churn;
  }

  /** All volumes, and a part of each; what is shown, by name. */
  async mount(): Promise<ReadonlyMap<string, string>> {
    const facts = { podIps: [], hostIps: [], nodeName: "n", nodeLabels: {}, allocatable: {} };
    const mounted = await this.#manager.ensure(createPod(this.#root), facts, signal);
    const shown = new Map<string, string>();
    for (const [index, volume] of [...mounted.values()].entries()) {
      const subPath = { secret: "key", config: "key", token: "token" }[volume.name] ?? "sub";
      const request = { podUid: UID, volume, subPath, container: "c", index };
      shown.set(volume.name, await this.#manager.bindSubPath(request, signal));
    }
    return shown;
  }

  unmount(): Promise<void> {
    return this.#manager.teardown(UID, signal);
  }
}

async function refuse(): Promise<never> {
  throw new Error("nobody mounts images here");
}

if (import.meta.main) {
  const churn = await Churn.open(process.argv[2] ?? "");
  process.stdout.write("at work\n");
  for (;;) {
    await churn.mount();
    await churn.unmount();
  }
}
