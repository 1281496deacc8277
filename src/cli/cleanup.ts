/**
 * `longshore cleanup`: removes everything Longshore made on this host, whether or not it runs properly: containers,
 * sandboxes and cgroups, mounts and directories, service rules, the pod network. Refuses while an agent runs. Each part is
 * tried even when another failed; the exit code is 1 then.
 */

import { readdir, rmdir, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { removeCgroups } from "../cgroups/cleanup.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import { createIptables } from "../core/iptables.ts";
import type { Logger } from "../core/logger.ts";
import { createSyscalls } from "../core/syscalls-linux.ts";
import { removeNetwork } from "../network/cleanup.ts";
import { removeProxyRules } from "../proxy/cleanup.ts";
import { createDockerRuntime } from "../runtime/docker/docker-runtime.ts";
import type { ClaimSource } from "../volumes/claims.ts";
import type { ImagePort } from "../volumes/image-volume.ts";
import type { PodCertificates } from "../volumes/pod-certificates.ts";
import { removeTree } from "../volumes/remove-tree.ts";
import { VolumeManager } from "../volumes/volume-manager.ts";
import type { ObjectSource } from "../volumes/volumes.ts";
import type { Host } from "./host.ts";

type Step = readonly [what: string, run: () => Promise<void>];

export async function runCleanup(
  host: Host,
  options: Readonly<Record<string, unknown>>,
): Promise<number> {
  const log = host.createLogger("warn");
  const rootDir = String(options.rootDir);
  const endpoint = String(options.containerRuntimeEndpoint);
  const steps: readonly Step[] = [
    ["containers", () => removeContainers(host, endpoint, log)],
    ["cgroups", () => removeCgroups("/sys/fs/cgroup")],
    ["volumes", () => removeVolumes(host, rootDir, log)],
    ["service rules", () => removeRules(host)],
    ["pod network", () => removeNetwork(host.exec, host.stop)],
  ];
  await refuseWhileRunning(host);
  let failures = 0;
  for (const [what, run] of steps) {
    try {
      await run();
      host.stderr(`longshore: removed ${what}\n`);
    } catch (error) {
      failures += 1;
      host.stderr(`longshore: could not remove ${what}: ${messageOf(error)}\n`);
    }
  }
  if (failures > 0) return 1;
  if (options.keepState !== true) await removeState(rootDir, host);
  return 0;
}

/** The directory itself may be a mount of somebody's, which stays. */
async function removeState(rootDir: string, host: Host): Promise<void> {
  // The agent binds it onto itself where it must be shared with an Engine in another mount namespace.
  await createSyscalls({ exec: host.exec }).unmount(join(rootDir, "pods"));
  for (const entry of await readdir(rootDir, { withFileTypes: true })) {
    const path = join(rootDir, entry.name);
    if (entry.isDirectory()) await removeTree(path, host.stop);
    else await unlink(path);
  }
  try {
    await rmdir(rootDir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EBUSY") throw error;
  }
}

/** An agent at work would make anew what is removed here. Its health endpoint is the sign that there is one. */
async function refuseWhileRunning(host: Host): Promise<void> {
  if (!(await isListening(10_248, host.stop))) return;
  throw new LongshoreError(
    "AddressInUse",
    "an agent runs on this host (port 10248 answers): stop it first, e.g. systemctl stop longshore",
  );
}

function isListening(port: number, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1", signal });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

async function removeContainers(host: Host, endpoint: string, log: Logger): Promise<void> {
  const { clock, random, exec } = host;
  const runtime = createDockerRuntime({
    ...{ endpoint, clock, random, exec, log },
    ...{ seccompDir: "", hasSysResource: false },
  });
  const state = await runtime.list(host.stop);
  for (const { id } of state.containers) await runtime.removeContainer(id, host.stop);
  for (const { id } of state.sandboxes) await runtime.removeSandbox(id, host.stop);
  await runtime.releaseImages(undefined, host.stop);
}

async function removeVolumes(host: Host, rootDir: string, log: Logger): Promise<void> {
  const volumes = new VolumeManager({
    rootDir,
    objects: NO_OBJECTS,
    syscalls: createSyscalls({ exec: host.exec }),
    exec: host.exec,
    images: NO_IMAGES,
    certificates: NO_CERTIFICATES,
    clock: host.clock,
    log,
  });
  await volumes.start();
  for (const uid of await volumes.listPodUids()) await volumes.teardown(uid, host.stop);
}

async function removeRules(host: Host): Promise<void> {
  for (const family of ["IPv4", "IPv6"] as const) {
    const iptables = createIptables({ exec: host.exec, family });
    if (await iptables.isUsable(host.stop)) await removeProxyRules(iptables, host.stop);
  }
}

/** Released before, with the containers. */
const NO_IMAGES: ImagePort = {
  holdImage: () => Promise.reject(new LongshoreError("Bug", "a teardown holds no image")),
  releaseImages: async () => undefined,
};

const NO_CERTIFICATES: Pick<PodCertificates, "get" | "forget"> = {
  get: () => Promise.reject(new LongshoreError("Bug", "a teardown asks for no certificate")),
  forget: () => undefined,
};

/** A teardown reads no objects. */
const NO_OBJECTS: ObjectSource & ClaimSource = {
  getConfigMap: async () => undefined,
  getSecret: async () => undefined,
  getClaim: async () => undefined,
  getPersistentVolume: async () => undefined,
  listClusterTrustBundles: async () => [],
  requestToken: () => Promise.reject(new LongshoreError("Bug", "a teardown asks for no token")),
};
