/**
 * The container runtime as the rest of Longshore sees it: sandboxes, containers, images, exec, logs, events.
 * No Docker word here; runtime/docker is the one implementation, test/fakes/runtime.ts the other, and
 * test/contract/runtime runs one suite against both. Every call takes a signal, has a deadline of its own, and
 * fails with LongshoreError codes `Engine*`, `Image*`, `Container*` or `Aborted`.
 */

import type { Readable, Writable } from "node:stream";

/** The pod a sandbox or container belongs to, as its labels tell. */
export interface PodIdentity {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** A port of the node that leads to the pod. */
export interface HostPort {
  readonly protocol: "TCP" | "UDP" | "SCTP";
  /** Empty = every address of the node. */
  readonly hostIp: string;
  readonly hostPort: number;
  readonly containerPort: number;
}

export interface SandboxConfig {
  readonly pod: PodIdentity;
  /** Counts the sandboxes of one pod UID from 0. */
  readonly attempt: number;
  readonly hostname: string;
  readonly hostNetwork: boolean;
  readonly hostPid: boolean;
  readonly hostIpc: boolean;
  /** The pod's addresses, IPv4 first; kept in labels, they are the state of the IPAM. Empty with hostNetwork. */
  readonly ips: readonly string[];
  /** Kept in labels, like the addresses. */
  readonly hostPorts: readonly HostPort[];
  /** Dotted names, all of them namespaced: net.*, and of the IPC namespace kernel.* and fs.mqueue.*. */
  readonly sysctls: Readonly<Record<string, string>>;
  /** The pod's cgroup, as the engine names it; absent = the engine's own place. */
  readonly cgroupParent?: string;
  /** The engine's name of another OCI runtime, from the pod's RuntimeClass. */
  readonly runtimeHandler?: string;
  /** Facts the agent needs again after its restart (grace period…); never a secret. */
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Sandbox {
  readonly id: string;
  readonly pod: PodIdentity;
  readonly attempt: number;
  /** `ready` = its program runs and, unless hostNetwork, has its own network namespace. */
  readonly state: "created" | "ready" | "exited";
  readonly hostNetwork: boolean;
  readonly ips: readonly string[];
  readonly hostPorts: readonly HostPort[];
  /** PID of its program in the agent's PID namespace; 0 unless ready. */
  readonly pid: number;
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly annotations: Readonly<Record<string, string>>;
}

export type ContainerKind = "init" | "app" | "ephemeral";

export interface Mount {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly readOnly: boolean;
  readonly propagation: "private" | "rslave" | "rshared";
  /** With readOnly: what is mounted below is read-only too. */
  readonly isRecursivelyReadOnly?: true;
}

interface SeLinuxOptions {
  readonly user?: string;
  readonly role?: string;
  readonly type?: string;
  readonly level?: string;
}

/** A block device of the host's that a container has. */
export interface Device {
  readonly hostPath: string;
  readonly containerPath: string;
  readonly readOnly: boolean;
}

/** Absent = no limit. cpuShares is never absent: 2 without a request. */
export interface ContainerResources {
  readonly cpuShares: number;
  readonly cpuQuotaMicros?: number;
  readonly cpuPeriodMicros?: number;
  readonly memoryBytes?: number;
}

/** Everything needed to create a container; computed by container-config.ts (pure). */
export interface ContainerConfig {
  readonly pod: PodIdentity;
  readonly name: string;
  readonly kind: ContainerKind;
  /** How often this container was created before in this pod; = restartCount of the status. */
  readonly attempt: number;
  /** Hash of the parts of the spec whose change restarts the container. */
  readonly specHash: string;
  readonly sandboxId: string;
  /** The image as the spec names it. */
  readonly image: string;
  /** The image's ID as returned by Images.ensure/inspect. */
  readonly imageId: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly env: readonly string[];
  readonly workingDir?: string;
  readonly mounts: readonly Mount[];
  readonly devices: readonly Device[];
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  /** Absent = the image's, else SIGTERM. */
  readonly stopSignal?: string;
  readonly user?: string;
  readonly supplementalGroups: readonly string[];
  /** Whether the groups that the image gives its user are left out. */
  readonly hasStrictGroups?: boolean;
  readonly privileged: boolean;
  readonly readOnlyRootfs: boolean;
  /** allowPrivilegeEscalation: false. */
  readonly noNewPrivileges: boolean;
  /** `default` is the engine's own profile; the path is below the directory `seccomp` of the state directory. */
  readonly seccomp: "default" | "unconfined" | `localhost/${string}`;
  /** Absent = the engine's own profile, where the host has AppArmor; else the name of a loaded one. */
  readonly appArmor?: "unconfined" | `localhost/${string}`;
  /** Of no consequence where the host has no SELinux. */
  readonly seLinux?: SeLinuxOptions;
  /** procMount: Unmasked. */
  readonly unmaskedProc?: boolean;
  /** The engine's name of another OCI runtime, from the pod's RuntimeClass. */
  readonly runtimeHandler?: string;
  /** The pod's cgroup, as the engine names it; absent = the engine's own place. */
  readonly cgroupParent?: string;
  readonly addCapabilities: readonly string[];
  readonly dropCapabilities: readonly string[];
  readonly sharePid: boolean;
  /** The container whose processes this one is to see. */
  readonly pidOf?: string;
  readonly hostPid: boolean;
  readonly resources: ContainerResources & { readonly pidsLimit?: number };
  /** Only passed on where the host can (D11). */
  readonly oomScoreAdj?: number;
  /** Facts the agent needs again after its restart; never a secret. */
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Container {
  readonly id: string;
  readonly pod: PodIdentity;
  readonly name: string;
  readonly kind: ContainerKind;
  readonly attempt: number;
  readonly specHash: string;
  readonly sandboxId: string;
  readonly image: string;
  readonly imageId: string;
  readonly state: "created" | "running" | "exited";
  /** PID in the agent's PID namespace; 0 unless running. */
  readonly pid: number;
  /** Milliseconds since the epoch; startedAt and finishedAt are 0 when they have not happened. */
  readonly createdAt: number;
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** The engine's words when it could not start; else empty. */
  readonly error: string;
  /** What it runs with now. */
  readonly resources: ContainerResources;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Image {
  /** `sha256:…`. */
  readonly id: string;
  readonly tags: readonly string[];
  readonly digests: readonly string[];
  readonly sizeBytes: number;
  /** User of the image: empty, a number or a name, with an optional group. */
  readonly user: string;
}

/** An image that a pod shows as a volume. */
export interface ImageHold {
  readonly podUid: string;
  readonly imageId: string;
}

/** Where the files of an image are. */
export type ImageFiles =
  /** Directories on the host that lie upon each other, the uppermost first. */
  | { readonly kind: "layers"; readonly directories: readonly string[] }
  /** Nowhere yet: they can be written to an empty directory. */
  | { readonly kind: "archive"; readonly unpack: (directory: string) => Promise<void> };

export interface ImageCredentials {
  readonly username?: string;
  readonly password?: string;
  readonly serverAddress?: string;
  readonly identityToken?: string;
  readonly registryToken?: string;
}

export interface RuntimeInfo {
  /** e.g. `docker`. */
  readonly name: string;
  readonly version: string;
  readonly apiVersion: string;
  readonly cgroupDriver: "cgroupfs" | "systemd";
  readonly cgroupVersion: 1 | 2;
  readonly storageDriver: string;
  readonly rootDir: string;
  /** Whether the engine confines containers with AppArmor. */
  readonly hasAppArmor: boolean;
  /** Whether it labels them for SELinux. */
  readonly hasSeLinux: boolean;
  /** Whether root in its containers is another user of the host: it cannot be so for some of them only. */
  readonly mapsUsers: boolean;
  /** What the engine can run containers with; the default one has no name. */
  readonly handlers: readonly RuntimeHandler[];
}

export interface RuntimeHandler {
  readonly name: string;
  /** Can make what is mounted below a read-only mount read-only too. */
  readonly recursiveReadOnlyMounts: boolean;
}

export interface LogOptions {
  readonly follow: boolean;
  /** Records from the end, of both streams together, before the `since` filter; undefined = all. */
  readonly tail?: number;
  /** Milliseconds since the epoch, fractions allowed; lines strictly before are dropped. */
  readonly sinceMs?: number;
}

export interface LogRecord {
  readonly stream: "stdout" | "stderr";
  /** RFC 3339 with nanoseconds, as the engine wrote it. */
  readonly time: string;
  /** The bytes of one record with its newline, if it had one. */
  readonly data: Buffer;
}

export interface ExecRequest {
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly stdin: boolean;
}

export interface AttachRequest {
  /** Of no consequence when the container was made without one. */
  readonly stdin: boolean;
}

/** A running command. The streams must be consumed; a signal that fires ends them, but not the process. */
export interface ExecSession {
  /** Ends the command's standard input when ended. Writable also when stdin was not asked for (and ignored then). */
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Ends at once with a tty. */
  readonly stderr: Readable;
  /** Resolves after both streams ended and the process did; 137 when we let go of it before. */
  readonly exitCode: Promise<number>;
  resize(columns: number, rows: number): Promise<void>;
  /** Ends the process with its children, if it still runs and can be seen, and in any case the streams. */
  kill(): Promise<void>;
}

export interface ExecResult {
  readonly exitCode: number;
  /** stdout and stderr in order of arrival, cut at 10 KiB. */
  readonly output: string;
}

export type RuntimeEvent =
  /** Something about this pod changed, at this time in milliseconds since the epoch if that is known: look at it. */
  | { readonly kind: "pod-changed"; readonly podUid: string; readonly at?: number }
  /** The event stream was lost and is back: look at everything. */
  | { readonly kind: "resync" };

export interface RuntimeState {
  readonly sandboxes: readonly Sandbox[];
  /** Includes exited ones that were not removed. Newest attempt first within a (pod, name). */
  readonly containers: readonly Container[];
}

/** What a container holds of the host's disk, in bytes. */
export interface ContainerUsage {
  readonly writableBytes: number;
  readonly logBytes: number;
}

export interface Runtime {
  info(signal: AbortSignal): Promise<RuntimeInfo>;
  /** Makes the built-in sandbox image present. Called once before the first sandbox. */
  prepare(signal: AbortSignal): Promise<void>;
  /** Everything this node's agent made, or what belongs to one pod. */
  list(signal: AbortSignal, podUid?: string): Promise<RuntimeState>;

  /** Creates and starts a sandbox; resolves when it is `ready`. A half-made one is removed before it throws. */
  runSandbox(config: SandboxConfig, signal: AbortSignal): Promise<Sandbox>;
  /** Stops the sandbox's program; already stopped or absent is success. */
  stopSandbox(id: string, signal: AbortSignal): Promise<void>;
  /** Removes a sandbox with its anonymous state; absent is success. */
  removeSandbox(id: string, signal: AbortSignal): Promise<void>;

  /** Returns the new container's ID. */
  createContainer(config: ContainerConfig, signal: AbortSignal): Promise<string>;
  /** Throws ContainerStartFailed with the engine's words; already running is success. */
  startContainer(id: string, signal: AbortSignal): Promise<void>;
  /** Stop signal, up to `graceSeconds`, SIGKILL. Resolves when it does not run; already so is success. */
  stopContainer(id: string, graceSeconds: number, signal: AbortSignal): Promise<void>;
  /**
   * Gives a container other resources while it runs; a limit that is absent stays as it is. Throws EngineConflict where
   * it uses more memory than it is to have.
   */
  updateResources(id: string, resources: ContainerResources, signal: AbortSignal): Promise<void>;
  removeContainer(id: string, signal: AbortSignal): Promise<void>;
  /** Costly. Throws EngineNotFound. */
  containerUsage(id: string, signal: AbortSignal): Promise<ContainerUsage>;

  /** undefined when the image is not present. Throws ImageInvalidName. */
  inspectImage(ref: string, signal: AbortSignal): Promise<Image | undefined>;
  /**
   * Pulls; throws ImagePullFailed (or ImageRegistryUnavailable) with the registry's words, or ImageInvalidName. What
   * makes no progress is given up.
   */
  pullImage(
    ref: string,
    credentials: ImageCredentials | undefined,
    signal: AbortSignal,
  ): Promise<Image>;
  listImages(signal: AbortSignal): Promise<readonly Image[]>;
  /** Keeps an image on the node until it is released, and tells where its files are. */
  holdImage(hold: ImageHold, signal: AbortSignal): Promise<ImageFiles>;
  /** Of one pod, or of all. Nothing may be mounted from them any more. */
  releaseImages(podUid: string | undefined, signal: AbortSignal): Promise<void>;

  /**
   * Joins the container's own program from now on. `exitCode` is 0 when its outputs have ended, `kill` only lets go.
   * Throws EngineConflict when it does not run.
   */
  attach(containerId: string, request: AttachRequest, signal: AbortSignal): Promise<ExecSession>;
  exec(containerId: string, request: ExecRequest, signal: AbortSignal): Promise<ExecSession>;
  /** Runs to the end or until `timeoutMs`, when the process is killed and CommandTimeout thrown. */
  execSync(
    containerId: string,
    command: readonly string[],
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<ExecResult>;
  logs(containerId: string, options: LogOptions, signal: AbortSignal): AsyncIterable<LogRecord>;
  /** Delivers events until the signal fires; reconnects by itself and says `resync` each time it is (re)connected. */
  watchEvents(onEvent: (event: RuntimeEvent) => void, signal: AbortSignal): Promise<void>;
}
