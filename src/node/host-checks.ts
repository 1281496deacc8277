/**
 * What this host can and cannot do (D11): facts are read once, judged by a pure function, printed by
 * `longshore check` and logged once by the agent. A check that is `failed` keeps the agent from working; one that is
 * `degraded` costs only the pods that ask for it.
 */

import { readFile } from "node:fs/promises";
import { hasCode, LongshoreError } from "../core/errors.ts";
import type { Exec } from "../core/exec.ts";

interface EngineFacts {
  readonly version: string;
  readonly mapsUsers: boolean;
}

export interface HostFacts {
  readonly isRoot: boolean;
  /** Hexadecimal CapBnd of /proc/self/status. */
  readonly capabilities: bigint;
  readonly cgroupVersion: 1 | 2;
  /** Version line of each program, or undefined where it is missing. */
  readonly programs: Readonly<Record<ProgramName, string | undefined>>;
  /** Values of /proc/sys files, or undefined where there is none. */
  readonly sysctls: Readonly<Record<SysctlName, string | undefined>>;
  readonly hasIpv6: boolean;
  /** Version of the Engine, or the error that came instead. */
  readonly engine: EngineFacts | { readonly error: string };
  readonly swapBytes: number;
}

export type ProgramName = "iptables" | "iptables-restore" | "ip" | "nsenter" | "conntrack";
export type SysctlName =
  | "net/ipv4/ip_forward"
  | "net/bridge/bridge-nf-call-iptables"
  | "net/netfilter/nf_conntrack_max";

export interface HostCheck {
  readonly name: string;
  readonly state: "ok" | "degraded" | "failed";
  readonly detail: string;
  /** What will not work; empty when ok. */
  readonly consequence: string;
  /** What to do about it; empty when ok. */
  readonly remedy: string;
}

const CAP_SYS_ADMIN = 21n;
const CAP_SYS_RESOURCE = 24n;

/** Programs, what fails without them, and Debian's package. */
const PROGRAMS: readonly {
  readonly name: ProgramName;
  readonly severity: "degraded" | "failed";
  readonly consequence: string;
  readonly package: string;
}[] = [
  {
    name: "iptables",
    severity: "failed",
    consequence: "no pod network and no Services",
    package: "iptables",
  },
  {
    name: "iptables-restore",
    severity: "failed",
    consequence: "no pod network and no Services",
    package: "iptables",
  },
  { name: "ip", severity: "failed", consequence: "no pod network", package: "iproute2" },
  { name: "nsenter", severity: "failed", consequence: "no pod network", package: "util-linux" },
  {
    name: "conntrack",
    severity: "degraded",
    consequence: "UDP flows to a vanished endpoint last until they time out",
    package: "conntrack",
  },
];

export function computeHostChecks(facts: HostFacts): readonly HostCheck[] {
  return [
    checkRoot(facts),
    checkEngine(facts),
    ...PROGRAMS.map((program) => checkProgram(facts, program)),
    checkForwarding(facts),
    checkBridgeFilter(facts),
    checkOomScores(facts),
    ok("cgroup version", `v${facts.cgroupVersion}`),
    facts.hasIpv6
      ? ok("IPv6", "present")
      : degraded(
          "IPv6",
          "absent",
          "IPv4 Services only",
          "enable IPv6 in the kernel if you need it",
        ),
    checkSwap(facts),
  ];
}

function ok(name: string, detail: string): HostCheck {
  return { name, state: "ok", detail, consequence: "", remedy: "" };
}

function degraded(name: string, detail: string, consequence: string, remedy: string): HostCheck {
  return { name, state: "degraded", detail, consequence, remedy };
}

function failed(name: string, detail: string, consequence: string, remedy: string): HostCheck {
  return { name, state: "failed", detail, consequence, remedy };
}

function has(facts: HostFacts, capability: bigint): boolean {
  return ((facts.capabilities >> capability) & 1n) === 1n;
}

/** Whether negative OOM scores can be set. */
export function hasSysResource(facts: HostFacts): boolean {
  return has(facts, CAP_SYS_RESOURCE);
}

function checkRoot(facts: HostFacts): HostCheck {
  if (facts.isRoot && has(facts, CAP_SYS_ADMIN)) return ok("privileges", "root with CAP_SYS_ADMIN");
  return failed(
    "privileges",
    facts.isRoot ? "root without CAP_SYS_ADMIN" : "not root",
    "no mounts, no network, no pods",
    "run as root on the host (systemd unit: deploy/longshore.service)",
  );
}

function checkEngine({ engine }: HostFacts): HostCheck {
  if ("error" in engine)
    return failed(
      "Docker Engine",
      engine.error,
      "no pod can start",
      "start the Engine (systemctl start docker) or give --container-runtime-endpoint",
    );
  const [major = 0, minor = 0] = engine.version.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 10))
    return failed(
      "Docker Engine",
      engine.version,
      "calls the agent needs are missing",
      "install Docker Engine 20.10 or later",
    );
  if (engine.mapsUsers) return failed("Docker Engine", ...MAPPED_USERS);
  return ok("Docker Engine", engine.version);
}

const MAPPED_USERS = [
  "it maps the users of containers (userns-remap)",
  "in pods that share the host's users the files of images belong to other users than the image says",
  "take userns-remap out of /etc/docker/daemon.json and restart the Engine",
] as const;

/** For the agent's start. Throws Unsupported for an Engine that pods would only seem to run on. */
export function ensureUnmapped({ mapsUsers }: Pick<EngineFacts, "mapsUsers">): void {
  if (!mapsUsers) return;
  const [what, consequence, remedy] = MAPPED_USERS;
  throw new LongshoreError("Unsupported", `the Engine: ${what}: ${consequence}; ${remedy}`);
}

function checkProgram(facts: HostFacts, program: (typeof PROGRAMS)[number]): HostCheck {
  const version = facts.programs[program.name];
  if (version !== undefined) return ok(program.name, version);
  return {
    name: program.name,
    state: program.severity,
    detail: "not installed",
    consequence: program.consequence,
    remedy: `install the package ${program.package}`,
  };
}

function checkForwarding(facts: HostFacts): HostCheck {
  const value = facts.sysctls["net/ipv4/ip_forward"];
  if (value === "1") return ok("IP forwarding", "on");
  return degraded(
    "IP forwarding",
    value === undefined ? "unknown" : "off",
    "pods reach nothing outside their node until it is on",
    "the agent switches it on at start; keep other tools from switching it off",
  );
}

function checkBridgeFilter(facts: HostFacts): HostCheck {
  const value = facts.sysctls["net/bridge/bridge-nf-call-iptables"];
  if (value === "1") return ok("bridge netfilter", "on");
  return degraded(
    "bridge netfilter",
    value === undefined ? "module br_netfilter not loaded" : "off",
    "a pod cannot reach another pod of this node through a Service",
    "modprobe br_netfilter; the agent then switches it on",
  );
}

function checkOomScores(facts: HostFacts): HostCheck {
  if (hasSysResource(facts)) return ok("OOM scores", "CAP_SYS_RESOURCE present");
  return degraded(
    "OOM scores",
    "no CAP_SYS_RESOURCE",
    "Guaranteed pods get no negative OOM score: they are killed as early as others",
    "grant CAP_SYS_RESOURCE to the agent and the Engine",
  );
}

function checkSwap(facts: HostFacts): HostCheck {
  if (facts.swapBytes === 0) return ok("swap", "none");
  return degraded(
    "swap",
    `${Math.round(facts.swapBytes / 1024 / 1024)} MiB`,
    "memory limits bound memory only; containers may not swap, the host may",
    "swapoff -a if you want the kubelet's default",
  );
}

export interface HostFactsSource {
  readonly exec: Exec;
  readonly isRoot: boolean;
  /** "/" on a real host; tests give a folder. */
  readonly root: string;
  /** Rejects when the Engine does not answer. */
  readonly engine: () => Promise<EngineFacts>;
}

export async function readHostFacts(
  source: HostFactsSource,
  signal: AbortSignal,
): Promise<HostFacts> {
  const read = (path: string): Promise<string | undefined> => readOptional(`${source.root}${path}`);
  const sysctl = async (name: SysctlName): Promise<string | undefined> =>
    (await read(`proc/sys/${name}`))?.trim();
  const program = (name: ProgramName): Promise<string | undefined> =>
    programVersion(source.exec, name, signal);
  const status = (await read("proc/self/status")) ?? "";
  return {
    isRoot: source.isRoot,
    capabilities: BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)/m.exec(status)?.[1] ?? "0"}`),
    cgroupVersion: (await read("sys/fs/cgroup/cgroup.controllers")) === undefined ? 1 : 2,
    programs: {
      iptables: await program("iptables"),
      "iptables-restore": await program("iptables-restore"),
      ip: await program("ip"),
      nsenter: await program("nsenter"),
      conntrack: await program("conntrack"),
    },
    sysctls: {
      "net/ipv4/ip_forward": await sysctl("net/ipv4/ip_forward"),
      "net/bridge/bridge-nf-call-iptables": await sysctl("net/bridge/bridge-nf-call-iptables"),
      "net/netfilter/nf_conntrack_max": await sysctl("net/netfilter/nf_conntrack_max"),
    },
    hasIpv6: (await read("proc/net/if_inet6")) !== undefined,
    engine: await source.engine().then(
      ({ version, mapsUsers }) => ({ version, mapsUsers }),
      (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }),
    ),
    swapBytes:
      Number(/^SwapTotal:\s+(\d+)/m.exec((await read("proc/meminfo")) ?? "")?.[1] ?? 0) * 1024,
  };
}

async function programVersion(
  exec: Exec,
  name: ProgramName,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    const args = [name === "ip" ? "-V" : "--version"];
    const { stdout, stderr } = await exec({ file: name, args, timeoutMs: 5_000 }, signal);
    return (stdout || stderr).trim().split("\n")[0] ?? "";
  } catch (error) {
    if (!hasCode(error, "CommandMissing")) throw error;
    return undefined;
  }
}

async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === "ENOENT" || code === "EACCES" || code === "ENOTDIR") return undefined;
    throw error;
  }
}
