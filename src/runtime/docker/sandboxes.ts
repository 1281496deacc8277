/**
 * Sandboxes on the Engine (D4): a container in the host's network namespace whose program leaves it at once for one of
 * its own; that start takes less than half of one with Docker's own network set-up. Loads the program's image on
 * first use. Promises that a sandbox is `ready` only when it has left the host's namespace: a container that joined
 * earlier would land in the host's.
 */

import { readlink } from "node:fs/promises";
import { arch } from "node:os";
import type Docker from "dockerode";
import { pack } from "tar-stream";
import { orAborted, sleep } from "../../core/abort.ts";
import { hasCode, LongshoreError } from "../../core/errors.ts";
import { type Exec, execOk } from "../../core/exec.ts";
import { hashValue } from "../../core/hash.ts";
import type { Logger } from "../../core/logger.ts";
import { encodeSandbox } from "../labels.ts";
import { buildPause } from "../pause/elf.ts";
import { UNSHARE_REFUSED } from "../pause/program.ts";
import type { Sandbox, SandboxConfig } from "../runtime.ts";
import { sysctlNamespace, sysctlPath } from "../sysctls.ts";
import { createNamed, removeContainer } from "./containers.ts";
import type { Engine } from "./engine.ts";
import { statusOf } from "./errors.ts";
import { translateInspect } from "./translate.ts";

/** How a sandbox gets its network namespace: by its program, or by the Engine where that is refused. */
type NetworkStyle = "unshare" | "none";

const POLL_MS = 2;
const LEAVE_DEADLINE_MS = 10_000;
const STOP_GRACE_SECONDS = 5;

export class Sandboxes {
  readonly #engine: Engine;
  readonly #log: Logger;
  readonly #exec: Exec;
  #style: NetworkStyle = "unshare";
  #image: Promise<string> | undefined;

  constructor(engine: Engine, exec: Exec, log: Logger) {
    this.#engine = engine;
    this.#exec = exec;
    this.#log = log;
  }

  /** Makes the image of the sandbox's program present, once for all callers; returns its tag. */
  ensureImage(signal: AbortSignal): Promise<string> {
    if (this.#image === undefined) {
      const loading = this.#loadImage(new AbortController().signal);
      this.#image = loading;
      loading.catch(() => {
        if (this.#image === loading) this.#image = undefined;
      });
    }
    return orAborted(this.#image, signal);
  }

  async run(config: SandboxConfig, signal: AbortSignal): Promise<Sandbox> {
    const image = await this.ensureImage(signal);
    const options = computeSandboxOptions(config, image, this.#style);
    const id = await createNamed(this.#engine, options, signal);
    try {
      await this.#engine.call(`start the sandbox of pod ${config.pod.name}`, signal, (docker) =>
        docker.getContainer(id).start(),
      );
      const sandbox = await this.#untilReady(config, id, signal);
      if (options.Cmd?.length === 0) await this.#writeNetSysctls(config, sandbox.pid, signal);
      return sandbox;
    } catch (error) {
      await this.#discard(id);
      if (!hasCode(error, "Unsupported")) throw error;
      this.#style = "none";
      this.#log.warn({ err: error }, "sandboxes use network mode none, which starts slower");
      return this.run(config, signal);
    }
  }

  /** The Engine refuses them where it does not make the namespace; what has just been made has no other user yet. */
  async #writeNetSysctls(config: SandboxConfig, pid: number, signal: AbortSignal): Promise<void> {
    for (const [name, input] of Object.entries(config.sysctls)) {
      if (sysctlNamespace(name) !== "net") continue;
      const args = ["--target", String(pid), "--net", "tee", `/proc/sys/${sysctlPath(name)}`];
      await execOk(this.#exec, { file: "nsenter", args, input }, signal);
    }
  }

  /** Also when we are told to stop: a half-made sandbox is of no use to anybody. */
  async #discard(id: string): Promise<void> {
    try {
      await removeContainer(this.#engine, id, new AbortController().signal);
    } catch (error) {
      // What made the sandbox fail says more; the next one of this pod finds the leftover by its name.
      this.#log.warn({ err: error, id }, "a half-made sandbox could not be removed");
    }
  }

  async stop(id: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#engine.call(`stop sandbox ${id.slice(0, 12)}`, signal, (docker) =>
        docker.getContainer(id).stop({ t: STOP_GRACE_SECONDS }),
      );
    } catch (error) {
      if (!hasCode(error, "EngineNotFound") && statusOf(error) !== 304) throw error;
    }
  }

  async #loadImage(signal: AbortSignal): Promise<string> {
    const machine = arch();
    if (machine !== "x64" && machine !== "arm64")
      throw new LongshoreError("Unsupported", `no sandbox program for the architecture ${machine}`);
    const program = buildPause(machine);
    const tag = hashValue(program.toString("hex"));
    const image = `longshore/pause:${tag}`;
    return this.#engine.call("load the sandbox image", signal, async (docker) => {
      const present = await docker.listImages({ filters: { reference: [image] } });
      if (present.length > 0) return image;
      const archive = pack();
      archive.entry({ name: "pause", mode: 0o755, mtime: new Date(0) }, program);
      archive.finalize();
      await docker.importImage(archive as unknown as NodeJS.ReadableStream, {
        repo: "longshore/pause",
        tag,
        changes: ['ENTRYPOINT ["/pause"]'],
      });
      return image;
    });
  }

  /** Polls, because nothing tells when a process changes its namespace; it takes microseconds after the exec. */
  async #untilReady(config: SandboxConfig, id: string, signal: AbortSignal): Promise<Sandbox> {
    const { clock } = this.#engine;
    const own = config.hostNetwork ? undefined : await readlink("/proc/thread-self/ns/net");
    const deadline = clock.monotonic() + LEAVE_DEADLINE_MS;
    for (;;) {
      const sandbox = await this.#inspect(id, signal);
      if (own === undefined || (await hasLeft(sandbox.pid, own))) return sandbox;
      if (clock.monotonic() > deadline)
        throw new LongshoreError(
          "EngineTimeout",
          `the sandbox of pod ${config.pod.name} made no network namespace within ${LEAVE_DEADLINE_MS / 1000} s`,
        );
      await sleep(clock, POLL_MS, signal);
    }
  }

  /** The sandbox while it runs. Throws Unsupported when the kernel or the Engine refused it its namespace. */
  async #inspect(id: string, signal: AbortSignal): Promise<Sandbox> {
    const raw = await this.#engine.call("look at a new sandbox", signal, (docker) =>
      docker.getContainer(id).inspect(),
    );
    const seen = translateInspect(raw);
    if (seen.role !== "sandbox")
      throw new LongshoreError("Bug", `container ${id} is no sandbox: ${JSON.stringify(seen)}`);
    if (seen.sandbox.state !== "exited") return seen.sandbox;
    throw new LongshoreError(
      raw.State.ExitCode === UNSHARE_REFUSED ? "Unsupported" : "EngineServerError",
      `the sandbox of pod ${seen.sandbox.pod.name} ended at once with ${raw.State.ExitCode} ${raw.State.Error}`,
    );
  }
}

async function hasLeft(pid: number, own: string): Promise<boolean> {
  try {
    return (await readlink(`/proc/${pid}/ns/net`)) !== own;
  } catch (error) {
    // It ended meanwhile; the next look at the container says so.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

/** What the Engine is asked for. Pure. */
export function computeSandboxOptions(
  config: SandboxConfig,
  image: string,
  style: NetworkStyle,
): Docker.ContainerCreateOptions {
  const { name, namespace, uid } = config.pod;
  const unshares = !config.hostNetwork && style === "unshare";
  return {
    name: `k8s_POD_${name}_${namespace}_${uid}_${config.attempt}`,
    Image: image,
    // Any argument tells the program to stay in the namespace it has.
    Cmd: unshares ? [] : ["stay"],
    Hostname: config.hostNetwork ? "" : config.hostname,
    Labels: encodeSandbox(config),
    HostConfig: {
      NetworkMode: config.hostNetwork || unshares ? "host" : "none",
      IpcMode: config.hostIpc ? "host" : "shareable",
      PidMode: config.hostPid ? "host" : "",
      Sysctls: unshares
        ? Object.fromEntries(
            Object.entries(config.sysctls).filter(([name]) => sysctlNamespace(name) !== "net"),
          )
        : { ...config.sysctls },
      ...(config.cgroupParent === undefined ? {} : { CgroupParent: config.cgroupParent }),
      ...(config.runtimeHandler === undefined ? {} : { Runtime: config.runtimeHandler }),
      CapDrop: ["ALL"],
      CapAdd: unshares ? ["SYS_ADMIN"] : [],
      SecurityOpt: unshares ? ["seccomp=unconfined", "apparmor=unconfined"] : ["no-new-privileges"],
      ReadonlyRootfs: true,
      RestartPolicy: { Name: "no" },
      LogConfig: { Type: "none", Config: {} },
      CpuShares: 2,
    },
  };
}
