/**
 * A Runtime in memory for tests of pods, probes and node. It keeps state, fails before it changes anything, emits
 * events as the Engine does, and throws on what a correct caller never does (joining a missing sandbox). Tests script
 * exits with `exit`, failures with `failNext` and command results with `onExec`. test/contract/runtime keeps it honest.
 */

import { once } from "node:events";
import { PassThrough } from "node:stream";
import { LongshoreError } from "../../src/core/errors.ts";
import type {
  AttachRequest,
  Container,
  ContainerConfig,
  ContainerResources,
  ContainerUsage,
  ExecRequest,
  ExecResult,
  ExecSession,
  Image,
  ImageCredentials,
  ImageFiles,
  ImageHold,
  LogOptions,
  LogRecord,
  Runtime,
  RuntimeEvent,
  RuntimeInfo,
  RuntimeState,
  Sandbox,
  SandboxConfig,
} from "../../src/runtime/runtime.ts";

type Method = keyof Runtime;
type ExecScript = (
  containerId: string,
  command: readonly string[],
) => { readonly exitCode: number; readonly output: string } | "hang";

export interface FakeRuntimeOptions {
  readonly now: () => number;
  /** Images that exist at the start. */
  readonly images?: readonly string[];
  /** Images that a pull finds. */
  readonly registry?: readonly string[];
}

const VALID_REF = /^[a-z0-9][a-z0-9._/:@-]*(:[\w.-]+)?$/;

function withTag(ref: string): string {
  return /:[^/]+$/.test(ref) ? ref : `${ref}:latest`;
}

export class FakeRuntime implements Runtime {
  /** Every call in order, as `method argument`. */
  readonly calls: string[] = [];
  readonly #options: FakeRuntimeOptions;
  readonly #sandboxes = new Map<string, Sandbox>();
  readonly #containers = new Map<string, Container>();
  readonly #configs = new Map<string, ContainerConfig>();
  readonly #logs = new Map<string, LogRecord[]>();
  readonly #images = new Map<string, Image>();
  readonly #failures = new Map<Method, LongshoreError[]>();
  readonly #listeners = new Set<(event: RuntimeEvent) => void>();
  readonly #logWaiters = new Set<() => void>();
  readonly #attached = new Map<string, PassThrough[]>();
  #execScript: ExecScript = () => ({ exitCode: 0, output: "" });
  #nextId = 1;

  constructor(options: FakeRuntimeOptions) {
    this.#options = options;
    for (const ref of options.images ?? []) this.#addImage(ref);
  }

  // For tests.

  /** The next call of `method` throws `error` and changes nothing; repeated calls queue up. */
  failNext(method: Method, error: LongshoreError): void {
    this.#failures.set(method, [...(this.#failures.get(method) ?? []), error]);
  }

  onExec(script: ExecScript): void {
    this.#execScript = script;
  }

  /** A running container's process ends by itself. */
  exit(containerId: string, exitCode: number, how: { readonly oomKilled?: boolean } = {}): void {
    const container = this.#running(containerId);
    this.#end(container, exitCode, how.oomKilled ?? false);
  }

  /** The sandbox's program dies, and with it what runs in the sandbox. */
  killSandbox(id: string): void {
    const sandbox = this.#sandboxes.get(id);
    if (sandbox === undefined) throw new LongshoreError("Bug", `no sandbox ${id}`);
    this.#sandboxes.set(id, { ...sandbox, state: "exited", pid: 0 });
    this.#emit({ kind: "pod-changed", podUid: sandbox.pod.uid });
  }

  write(containerId: string, stream: "stdout" | "stderr", text: string): void {
    const time = new Date(this.#options.now()).toISOString().replace("Z", "000000Z");
    const records = this.#logs.get(this.#running(containerId).id) ?? [];
    records.push({ stream, time, data: Buffer.from(text) });
    for (const output of this.#attached.get(containerId) ?? []) output.write(text);
    this.#wakeLogs();
  }

  /** The configuration a container was created with. */
  configOf(containerId: string): ContainerConfig {
    const config = this.#configs.get(containerId);
    if (config === undefined) throw new LongshoreError("Bug", `no container ${containerId}`);
    return config;
  }

  removeImage(ref: string): void {
    this.#images.delete(withTag(ref));
  }

  /** The event stream breaks and comes back. */
  resync(): void {
    this.#emit({ kind: "resync" });
  }

  // Runtime.

  async info(signal: AbortSignal): Promise<RuntimeInfo> {
    this.#enter("info", "", signal);
    return {
      name: "docker",
      version: "20.10.24",
      apiVersion: "1.41",
      cgroupDriver: "cgroupfs",
      cgroupVersion: 2,
      storageDriver: "overlay2",
      rootDir: "/var/lib/docker",
      hasAppArmor: false,
      hasSeLinux: false,
      mapsUsers: false,
      handlers: [{ name: "", recursiveReadOnlyMounts: false }],
    };
  }

  async prepare(signal: AbortSignal): Promise<void> {
    this.#enter("prepare", "", signal);
  }

  async list(signal: AbortSignal, podUid?: string): Promise<RuntimeState> {
    this.#enter("list", podUid ?? "", signal);
    const isWanted = ({ pod }: { readonly pod: { readonly uid: string } }): boolean =>
      podUid === undefined || pod.uid === podUid;
    return {
      sandboxes: [...this.#sandboxes.values()]
        .filter(isWanted)
        .sort((a, b) => b.attempt - a.attempt),
      containers: [...this.#containers.values()]
        .filter(isWanted)
        .sort((a, b) => b.attempt - a.attempt),
    };
  }

  async runSandbox(config: SandboxConfig, signal: AbortSignal): Promise<Sandbox> {
    this.#enter("runSandbox", config.pod.name, signal);
    const isTaken = [...this.#sandboxes.values()].some(
      ({ pod, attempt }) => pod.uid === config.pod.uid && attempt === config.attempt,
    );
    if (isTaken)
      throw new LongshoreError(
        "EngineConflict",
        `sandbox ${config.attempt} of pod ${config.pod.name} already exists`,
      );
    const { pod, attempt, hostNetwork, ips, hostPorts, annotations } = config;
    const id = this.#newId("sandbox");
    const sandbox: Sandbox = {
      ...{ id, pod, attempt, hostNetwork, ips, hostPorts, annotations },
      state: "ready",
      pid: 1000 + this.#nextId,
      createdAt: this.#options.now(),
    };
    this.#sandboxes.set(id, sandbox);
    this.#emit({ kind: "pod-changed", podUid: pod.uid });
    return sandbox;
  }

  async stopSandbox(id: string, signal: AbortSignal): Promise<void> {
    this.#enter("stopSandbox", id, signal);
    if (this.#sandboxes.get(id)?.state === "ready") this.killSandbox(id);
  }

  async removeSandbox(id: string, signal: AbortSignal): Promise<void> {
    this.#enter("removeSandbox", id, signal);
    const sandbox = this.#sandboxes.get(id);
    if (sandbox === undefined) return;
    this.#sandboxes.delete(id);
    this.#emit({ kind: "pod-changed", podUid: sandbox.pod.uid });
  }

  async createContainer(config: ContainerConfig, signal: AbortSignal): Promise<string> {
    this.#enter("createContainer", config.name, signal);
    const { pod, name, kind, attempt, specHash, sandboxId, image, imageId, annotations } = config;
    if (!this.#sandboxes.has(sandboxId))
      throw new LongshoreError("EngineNotFound", `no sandbox ${sandboxId} for container ${name}`);
    if (![...this.#images.values()].some(({ id }) => id === imageId))
      throw new LongshoreError("EngineNotFound", `no image ${imageId} for container ${name}`);
    this.#replaceLeftover(config);
    const id = this.#newId(name);
    this.#containers.set(id, {
      ...{ id, pod, name, kind, attempt, specHash, sandboxId, image, imageId, annotations },
      ...{ state: "created", pid: 0, createdAt: this.#options.now(), startedAt: 0, finishedAt: 0 },
      ...{ exitCode: 0, oomKilled: false, error: "", resources: config.resources },
    });
    this.#configs.set(id, config);
    this.#logs.set(id, []);
    return id;
  }

  async startContainer(id: string, signal: AbortSignal): Promise<void> {
    try {
      this.#enter("startContainer", id, signal);
    } catch (error) {
      const broken = this.#containers.get(id);
      if (broken !== undefined)
        this.#containers.set(id, { ...broken, exitCode: 127, error: (error as Error).message });
      throw error;
    }
    const container = this.#containers.get(id);
    if (container === undefined)
      throw new LongshoreError(
        "ContainerStartFailed",
        `failed to start "${id}": no such container`,
      );
    if (container.state === "running") return;
    if (this.#sandboxes.get(container.sandboxId)?.state !== "ready")
      throw new LongshoreError(
        "ContainerStartFailed",
        `cannot join the namespaces of sandbox ${container.sandboxId}: it does not run`,
      );
    this.#containers.set(id, {
      ...container,
      state: "running",
      pid: 1000 + this.#nextId++,
      startedAt: this.#options.now(),
    });
    this.#emit({ kind: "pod-changed", podUid: container.pod.uid });
  }

  async stopContainer(id: string, graceSeconds: number, signal: AbortSignal): Promise<void> {
    this.#enter("stopContainer", `${id} ${graceSeconds}`, signal);
    const container = this.#containers.get(id);
    if (container?.state === "running") this.#end(container, 137, false);
  }

  async updateResources(
    id: string,
    resources: ContainerResources,
    signal: AbortSignal,
  ): Promise<void> {
    this.#enter("updateResources", `${id} ${JSON.stringify(resources)}`, signal);
    const container = this.#existing(id);
    this.#containers.set(id, {
      ...container,
      resources: { ...container.resources, ...resources },
    });
    this.#emit({ kind: "pod-changed", podUid: container.pod.uid });
  }

  /** Nothing of it is on a disk. */
  async containerUsage(id: string, signal: AbortSignal): Promise<ContainerUsage> {
    this.#enter("containerUsage", id, signal);
    this.#existing(id);
    return { writableBytes: 0, logBytes: 0 };
  }

  async removeContainer(id: string, signal: AbortSignal): Promise<void> {
    this.#enter("removeContainer", id, signal);
    const container = this.#containers.get(id);
    if (container === undefined) return;
    this.#containers.delete(id);
    this.#wakeLogs();
    this.#emit({ kind: "pod-changed", podUid: container.pod.uid });
  }

  async inspectImage(ref: string, signal: AbortSignal): Promise<Image | undefined> {
    this.#enter("inspectImage", ref, signal);
    this.#checkName(ref);
    return (
      this.#images.get(withTag(ref)) ?? [...this.#images.values()].find(({ id }) => id === ref)
    );
  }

  async pullImage(
    ref: string,
    _credentials: ImageCredentials | undefined,
    signal: AbortSignal,
  ): Promise<Image> {
    this.#enter("pullImage", ref, signal);
    this.#checkName(ref);
    if (!(this.#options.registry ?? []).includes(ref))
      throw new LongshoreError(
        "ImagePullFailed",
        `pull access denied for ${ref}, repository does not exist or may require 'docker login'`,
      );
    return this.#addImage(ref);
  }

  async listImages(signal: AbortSignal): Promise<readonly Image[]> {
    this.#enter("listImages", "", signal);
    return [...this.#images.values()];
  }

  async holdImage({ podUid, imageId }: ImageHold, signal: AbortSignal): Promise<ImageFiles> {
    this.#enter("holdImage", `${podUid} ${imageId}`, signal);
    return { kind: "layers", directories: [`/layers/${imageId}`] };
  }

  async releaseImages(podUid: string | undefined, signal: AbortSignal): Promise<void> {
    this.#enter("releaseImages", podUid ?? "", signal);
  }

  async attach(id: string, _request: AttachRequest, signal: AbortSignal): Promise<ExecSession> {
    this.#enter("attach", id, signal);
    this.#running(id);
    const stdout = new PassThrough();
    this.#attached.set(id, [...(this.#attached.get(id) ?? []), stdout]);
    const letGo = async (): Promise<void> => void stdout.end();
    return {
      ...{ stdin: new PassThrough(), stdout, stderr: new PassThrough().end() },
      exitCode: once(stdout, "finish").then(() => 0),
      ...{ resize: async () => undefined, kill: letGo },
    };
  }

  async exec(id: string, request: ExecRequest, signal: AbortSignal): Promise<ExecSession> {
    this.#enter("exec", id, signal);
    this.#running(id);
    const result = this.#execScript(id, request.command);
    const stdout = new PassThrough();
    const stderr = new PassThrough();
    const ended = Promise.withResolvers<number>();
    const finish = (code: number): void => {
      stdout.end();
      stderr.end();
      ended.resolve(code);
    };
    if (result !== "hang") {
      stdout.write(result.output);
      finish(result.exitCode);
    }
    return {
      stdin: new PassThrough(),
      ...{ stdout, stderr, exitCode: ended.promise },
      resize: async () => undefined,
      kill: async () => finish(137),
    };
  }

  async execSync(
    id: string,
    command: readonly string[],
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<ExecResult> {
    this.#enter("execSync", `${id} ${command.join(" ")}`, signal);
    this.#running(id);
    const result = this.#execScript(id, command);
    if (result === "hang")
      throw new LongshoreError(
        "CommandTimeout",
        `command ${JSON.stringify(command.join(" "))} timed out after ${timeoutMs / 1000}s`,
      );
    return { exitCode: result.exitCode, output: result.output.slice(0, 10 * 1024) };
  }

  async *logs(id: string, options: LogOptions, signal: AbortSignal): AsyncIterable<LogRecord> {
    this.#enter("logs", id, signal);
    this.#existing(id);
    const records = this.#logs.get(id) ?? [];
    const since = options.sinceMs ?? 0;
    let next = options.tail === undefined ? 0 : Math.max(0, records.length - options.tail);
    for (;;) {
      for (; next < records.length; next++) {
        const record = records[next];
        if (record !== undefined && Date.parse(record.time) >= since) yield record;
      }
      if (!options.follow || this.#containers.get(id)?.state !== "running") return;
      const woken = Promise.withResolvers<void>();
      const wake = (): void => woken.resolve();
      this.#logWaiters.add(wake);
      signal.addEventListener("abort", wake, { once: true });
      await woken.promise;
      this.#logWaiters.delete(wake);
      if (signal.aborted) return;
    }
  }

  async watchEvents(onEvent: (event: RuntimeEvent) => void, signal: AbortSignal): Promise<void> {
    this.#listeners.add(onEvent);
    onEvent({ kind: "resync" });
    const ended = Promise.withResolvers<void>();
    if (signal.aborted) ended.resolve();
    signal.addEventListener("abort", () => ended.resolve(), { once: true });
    await ended.promise;
    this.#listeners.delete(onEvent);
  }

  #enter(method: Method, argument: string, signal: AbortSignal): void {
    this.calls.push(`${method} ${argument}`.trim());
    if (signal.aborted) throw new LongshoreError("Aborted", `${method} was given up`);
    const failure = this.#failures.get(method)?.shift();
    if (failure !== undefined) throw failure;
  }

  #emit(event: RuntimeEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  #end(container: Container, exitCode: number, oomKilled: boolean): void {
    this.#containers.set(container.id, {
      ...container,
      ...{ state: "exited", pid: 0, exitCode, oomKilled, finishedAt: this.#options.now() },
    });
    for (const output of this.#attached.get(container.id) ?? []) output.end();
    this.#attached.delete(container.id);
    this.#wakeLogs();
    this.#emit({ kind: "pod-changed", podUid: container.pod.uid });
  }

  #wakeLogs(): void {
    for (const wake of this.#logWaiters) wake();
  }

  #existing(id: string): Container {
    const container = this.#containers.get(id);
    if (container === undefined) throw new LongshoreError("EngineNotFound", `no container ${id}`);
    return container;
  }

  #running(id: string): Container {
    const container = this.#existing(id);
    if (container.state !== "running")
      throw new LongshoreError("EngineConflict", `container ${id} is not running`);
    return container;
  }

  /** Like the Engine's names: one container per (pod, name, attempt); a half-made one gives way. */
  #replaceLeftover({ pod, name, attempt }: ContainerConfig): void {
    for (const [id, other] of this.#containers) {
      if (other.pod.uid !== pod.uid || other.name !== name || other.attempt !== attempt) continue;
      if (other.state === "running")
        throw new LongshoreError("EngineConflict", `container ${name} ${attempt} already runs`);
      this.#containers.delete(id);
    }
  }

  #checkName(ref: string): void {
    if (ref.startsWith("sha256:") || VALID_REF.test(ref)) return;
    throw new LongshoreError("ImageInvalidName", `couldn't parse image name "${ref}"`);
  }

  #addImage(ref: string): Image {
    const tag = withTag(ref);
    const image = { id: `sha256:${tag}`, tags: [tag], digests: [], sizeBytes: 1_000_000, user: "" };
    this.#images.set(tag, image);
    return image;
  }

  #newId(stem: string): string {
    return `${stem}-${this.#nextId++}`;
  }
}
