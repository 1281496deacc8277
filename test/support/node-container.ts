/**
 * A node in a container: Docker-in-Docker with its own Engine, its own iptables and the built binary, for the
 * end-to-end tier. Without --privileged, because a machine may lack CAP_SYS_RESOURCE (facts: docs/adr/0011).
 * Everything a test does to a node goes through here; `stop` leaves nothing on the host.
 */

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";

const IMAGE = "longshore-node:test";
const NETWORK = "longshore-e2e";
const SUBNET = "172.30.77.0/24";
const BINARY = resolve(import.meta.dirname, "../../dist/longshore");
const CLUSTER_KUBECONFIG = "/var/lib/longshore/controlplane/admin.kubeconfig";

/** Every capability that Engine 20.10 knows, but SYS_RESOURCE. */
const CAPABILITIES =
  "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ".split(
    " ",
  );

/** Makes the kernel's files writable and keeps uncaught service addresses from leaving by the default route. */
const PREPARE = `
mount -o remount,rw /sys 2>/dev/null || mount -o remount,bind,rw /sys
mount -o remount,rw /sys/fs/cgroup 2>/dev/null || true
for m in /sys/fs/cgroup/*; do mountpoint -q "$m" && mount -o remount,bind,rw "$m"; done
mount -o remount,bind,rw /proc/sys
mount --make-rshared /
ip link add guard0 type veth peer name guard1; ip link set guard0 up; ip link set guard1 up; ip route add 10.96.0.0/12 dev guard0
mkdir -p /etc/docker && echo '{"bip":"10.200.0.1/24","log-driver":"json-file"}' >/etc/docker/daemon.json
`;

/** So that a test can stop the Engine and see it come back, as a service manager would bring it. */
const DOCKERD_LOOP =
  "while true; do rm -f /var/run/docker.pid; dockerd >>/var/log/dockerd.log 2>&1; sleep 0.5; done";

const BUSYBOX_IMAGE = `
d=$(mktemp -d); mkdir -p $d/bin $d/tmp $d/etc $d/www; chmod 1777 $d/tmp; cp /bin/busybox $d/bin/busybox
for a in $($d/bin/busybox --list); do [ $a = busybox ] || ln -s busybox $d/bin/$a; done
printf 'root:x:0:0:root:/root:/bin/sh\\nnobody:x:65534:65534:nobody:/:/bin/false\\n' >$d/etc/passwd
tar -C $d -c . | docker import -c 'CMD ["sh"]' -c 'ENV PATH=/bin' - busybox:latest >/dev/null; rm -rf $d
`;

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string;
  /** Milliseconds, default 60,000; the client is killed then. */
  readonly timeoutMs?: number;
}

/** Runs a program of the host. */
export function run(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
  return new Promise((done, fail) => {
    const child = spawn(argv[0] as string, argv.slice(1), { stdio: ["pipe", "pipe", "pipe"] });
    const timer = setTimeout(() => child.kill("SIGKILL"), options.timeoutMs ?? 60_000);
    const out = { stdout: "", stderr: "" };
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out.stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      out.stderr += text;
    });
    child.on("error", fail);
    child.on("close", (code) => {
      clearTimeout(timer);
      done({ code: code ?? 137, ...out });
    });
    child.stdin.on("error", () => undefined);
    child.stdin.end(options.input ?? "");
  });
}

async function runOk(argv: readonly string[], options?: RunOptions): Promise<string> {
  const result = await run(argv, options);
  if (result.code === 0) return result.stdout;
  throw new Error(`${argv.join(" ")} ended with ${result.code}: ${result.stderr}${result.stdout}`);
}

/** Asks until `look` gives something, at most `timeoutMs`; the last error or answer is in the failure's message. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  timeoutMs = 60_000,
): Promise<T> {
  const end = Date.now() + timeoutMs;
  let last: unknown;
  while (Date.now() < end) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
      last = found;
    } catch (error) {
      last = error;
    }
    await new Promise((wake) => setTimeout(wake, 300));
  }
  throw new Error(`not within ${timeoutMs / 1000} s: ${what}; last: ${String(last)}`);
}

export interface NodeOptions {
  /** `dockerd` is quick; `systemd` is a whole machine. */
  readonly init?: "dockerd" | "systemd";
  /** `docker run` arguments of the test's own. */
  readonly extra?: readonly string[];
}

export class NodeContainer {
  readonly id: string;
  readonly name = "node1";

  private constructor(id: string) {
    this.id = id;
  }

  /** For a container that another process started (the shared node). */
  static attach(id: string): NodeContainer {
    return new NodeContainer(id);
  }

  /** Starts the container and waits for its Engine; the busybox image is there, the agent is not started. */
  static async start(options: NodeOptions = {}): Promise<NodeContainer> {
    const network = await run(["docker", "network", "create", "--subnet", SUBNET, NETWORK]);
    if (network.code !== 0 && !network.stderr.includes("already exists"))
      throw new Error(network.stderr);
    const id = `longshore-e2e-${randomBytes(4).toString("hex")}`;
    const init = options.init === "systemd" ? "exec /sbin/init" : DOCKERD_LOOP;
    await runOk([
      ...["docker", "run", "-d", "--name", id, "--hostname", "node1", "--network", NETWORK],
      ...CAPABILITIES.map((capability) => `--cap-add=${capability}`),
      ...["seccomp", "apparmor", "systempaths"].map((part) => `--security-opt=${part}=unconfined`),
      ...["--device-cgroup-rule", "a *:* rwm", "--cgroupns=private"],
      ...(options.init === "systemd" ? ["--stop-signal", "SIGRTMIN+3"] : ["--init"]),
      ...["--tmpfs", "/run", "--tmpfs", "/run/lock", "--tmpfs", "/tmp:exec"],
      ...["-v", "/var/lib/docker", "-v", "/var/lib/containerd", "-v", "/var/lib/longshore"],
      ...["-v", `${BINARY}:/usr/local/bin/longshore:ro`, ...(options.extra ?? [])],
      ...[IMAGE, "sh", "-c", `${PREPARE}${init}`],
    ]);
    const node = new NodeContainer(id);
    await eventually("the node's Engine answers", async () => {
      const { code } = await node.exec(["docker", "info"]);
      return code === 0;
    });
    await node.sh(BUSYBOX_IMAGE);
    return node;
  }

  exec(argv: readonly string[], options: RunOptions = {}): Promise<Result> {
    const input = options.input === undefined ? [] : ["-i"];
    const env = ["-e", `KUBECONFIG=${CLUSTER_KUBECONFIG}`];
    return run(["docker", "exec", ...input, ...env, this.id, ...argv], options);
  }

  /** A shell script on the node; throws unless it ends with 0. */
  sh(script: string, options?: RunOptions): Promise<string> {
    const input = options?.input === undefined ? [] : ["-i"];
    const env = ["-e", `KUBECONFIG=${CLUSTER_KUBECONFIG}`];
    return runOk(["docker", "exec", ...input, ...env, this.id, "bash", "-c", script], options);
  }

  /** kubectl with the admin's kubeconfig; throws unless it ends with 0. */
  async kubectl(...args: readonly string[]): Promise<string> {
    const result = await this.exec(["kubectl", ...args]);
    if (result.code === 0) return result.stdout;
    throw new Error(`kubectl ${args.join(" ")}: ${result.stderr}`);
  }

  async json<T = Record<string, never>>(...args: readonly string[]): Promise<T> {
    return JSON.parse(await this.kubectl(...args, "-o", "json")) as T;
  }

  async apply(manifest: string | object): Promise<void> {
    const input = typeof manifest === "string" ? manifest : JSON.stringify(manifest);
    const result = await this.exec(["kubectl", "apply", "-f", "-"], { input });
    if (result.code !== 0) throw new Error(`kubectl apply: ${result.stderr}`);
  }

  /** Starts `longshore up` in the background; resolves when it says that the node is Ready. */
  async up(...flags: readonly string[]): Promise<void> {
    await this.background("up", `longshore up --node-name node1 ${flags.join(" ")}`);
    await eventually("longshore up is Ready", async () => {
      const text = await this.sh("cat /var/log/up.out");
      return text.includes("KUBECONFIG=");
    });
  }

  /** Runs a command line in the background; its output goes to /var/log/NAME.out and .log, its pid to /run/NAME.pid. */
  async background(name: string, line: string): Promise<void> {
    await this.sh(
      `: >/var/log/${name}.out; setsid sh -c 'echo $$ >/run/${name}.pid; exec ${line}' >/var/log/${name}.out 2>>/var/log/${name}.log </dev/null &`,
    );
  }

  async kill(name: string, signal: "TERM" | "KILL" = "KILL"): Promise<void> {
    await this.sh(
      `kill -${signal} $(cat /run/${name}.pid); for i in $(seq 100); do kill -0 $(cat /run/${name}.pid) 2>/dev/null || exit 0; sleep 0.1; done; exit 1`,
    );
  }

  /** IDs of the running containers the agent made, by `pod/container` (sandboxes as `pod/POD`). */
  async containerIds(): Promise<Map<string, string>> {
    const text = await this.sh(
      `docker ps --no-trunc --filter label=io.kubernetes.pod.uid --format '{{.Label "io.kubernetes.pod.name"}}/{{.Label "io.kubernetes.container.name"}} {{.ID}}'`,
    );
    return new Map(
      text
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => line.split(" ") as [string, string]),
    );
  }

  logs(name = "up"): Promise<string> {
    return this.sh(`tail -n 200 /var/log/${name}.log`);
  }

  async stop(): Promise<void> {
    await run(["docker", "rm", "-fv", this.id], { timeoutMs: 120_000 });
  }
}
