/**
 * What the kernel does with packets now, for a trace: all rules with their counters, this node's addresses and routes,
 * the clients that session affinity remembers, and connections. Reads through iptables-save, ip and conntrack; changes
 * nothing. Used by `longshore explain service`.
 */

import { readFileSync } from "node:fs";
import { hasCode } from "../core/errors.ts";
import { type Exec, execOk } from "../core/exec.ts";
import { cidrContains, type Family, parseAddress, parseCidr } from "../core/ip.ts";
import { parseSavedRules } from "./trace/saved-rules.ts";
import type { Kernel } from "./trace/tracer.ts";

interface IpAddress {
  readonly addr_info: readonly { readonly local: string }[];
}

interface IpRoute {
  /** An address, a range, or `default`. */
  readonly dst: string;
  readonly dev?: string;
}

export interface ReadKernel extends Kernel {
  /** Of the node, without loopback. */
  readonly addresses: readonly string[];
}

export async function readKernel(
  exec: Exec,
  family: Family,
  signal: AbortSignal,
): Promise<ReadKernel> {
  const version = family === "IPv4" ? "-4" : "-6";
  const save = family === "IPv4" ? "iptables-save" : "ip6tables-save";
  const run = (file: string, ...args: string[]) =>
    execOk(exec, { file, args, timeoutMs: 120_000 }, signal);
  const rules = parseSavedRules(await run(save, "-c"));
  const interfaces = parseJson<IpAddress>(await run("ip", "-j", version, "addr", "show"));
  const routes = parseJson<IpRoute>(await run("ip", "-j", version, "route", "show"));
  const addresses = interfaces.flatMap((one) => one.addr_info.map(({ local }) => local));
  return {
    rules,
    addresses: addresses.filter((ip) => !isLoopback(ip)),
    isLocal: (ip) => addresses.includes(ip) || isLoopback(ip),
    isRecent: (list, ip) => readRecent(list).includes(` src=${ip} `),
    interfaceOf: (ip) => findRoute(routes, ip, family)?.dev,
  };
}

/** `ip -j` prints nothing where there is nothing. */
function parseJson<T>(text: string): readonly T[] {
  return text.trim() === "" ? [] : (JSON.parse(text) as T[]);
}

function isLoopback(ip: string): boolean {
  return ip === "::1" || ip.startsWith("127.");
}

function findRoute(routes: readonly IpRoute[], ip: string, family: Family): IpRoute | undefined {
  const address = parseAddress(ip);
  const bits = family === "IPv4" ? 32 : 128;
  const fitting = routes.flatMap((route) => {
    if (route.dst === "default") return { route, prefix: -1 };
    const range = parseCidr(route.dst.includes("/") ? route.dst : `${route.dst}/${bits}`);
    if (range === undefined || address === undefined || !cidrContains(range, address)) return [];
    return { route, prefix: range.prefix };
  });
  return fitting.sort((a, b) => b.prefix - a.prefix)[0]?.route;
}

function readRecent(list: string): string {
  try {
    return ` ${readFileSync(`/proc/net/xt_recent/${list}`, "utf8").replaceAll("\n", " ")}`;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return "";
  }
}

export interface ConnectionsTo {
  readonly family: Family;
  readonly protocol: "tcp" | "udp" | "sctp";
  readonly ip: string;
  readonly port: number;
}

/** Lines of the connection table; undefined where the tool to read it is missing. */
export async function readConnections(
  exec: Exec,
  { family, protocol, ip, port }: ConnectionsTo,
  signal: AbortSignal,
): Promise<readonly string[] | undefined> {
  const what = ["-p", protocol, "-f", family.toLowerCase()];
  const which = ["--orig-dst", ip, "--orig-port-dst", String(port)];
  try {
    const result = await execOk(
      exec,
      { file: "conntrack", args: ["-L", ...what, ...which] },
      signal,
    );
    return result.split("\n").filter((line) => line !== "");
  } catch (error) {
    if (!hasCode(error, "CommandMissing")) throw error;
    return undefined;
  }
}
