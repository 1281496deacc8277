/**
 * Is another service proxy at work on this host? Signs are read from the kernel, the process table and the health
 * port, and judged by a pure function. Two proxies undo each other's rules, so the agent warns and `longshore check`
 * has a row; neither stops. Our own rules bear a mark: the chain LONGSHORE-PROXY beside the canary.
 */

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { withDeadline } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode } from "../core/errors.ts";
import type { Exec } from "../core/exec.ts";
import type { Family } from "../core/ip.ts";
import type { Iptables } from "../core/iptables.ts";
import { CANARY } from "./chains.ts";
import { SERVER } from "./health.ts";

/** In table mangle, empty: whoever made the canary beside it is Longshore. */
export const OWNER_MARK = "LONGSHORE-PROXY";

export interface ForeignFacts {
  /** Families with a canary and without our mark. */
  readonly canaries: readonly Family[];
  /** Somebody other than Longshore answers on the health port. */
  readonly isHealthPortTaken: boolean;
  /** A running process named kube-proxy. */
  readonly processId?: number;
  /** The table of kube-proxy's nftables mode. */
  readonly hasNftTable: boolean;
  /** The interface of its ipvs mode. */
  readonly hasIpvsDevice: boolean;
}

/** One sentence for each sign; empty = nobody else. */
export function computeForeignSigns(facts: ForeignFacts): readonly string[] {
  return [
    ...facts.canaries.map((family) => `${family} chain ${CANARY} in mangle is not Longshore's`),
    ...(facts.isHealthPortTaken ? ["port 10256 is answered by another program"] : []),
    ...(facts.processId === undefined ? [] : [`process ${facts.processId} is kube-proxy`]),
    ...(facts.hasNftTable ? ["nftables has a table kube-proxy"] : []),
    ...(facts.hasIpvsDevice ? ["there is an interface kube-ipvs0"] : []),
  ];
}

/** What to do about it. */
export const FOREIGN_REMEDY =
  "remove the other one from this node (its rules go with `kube-proxy --cleanup`), or run the agent with --proxy=off";

export interface ForeignSource {
  readonly iptables: readonly Iptables[];
  readonly exec: Exec;
  /** "/" on a real host. */
  readonly root: string;
  readonly healthPort: number;
  readonly clock: Clock;
}

const ANSWER_MS = 2_000;

export async function readForeignFacts(
  source: ForeignSource,
  signal: AbortSignal,
): Promise<ForeignFacts> {
  const canaries: Family[] = [];
  for (const iptables of source.iptables) {
    if ((await iptables.list("mangle", CANARY, signal)) === undefined) continue;
    if ((await iptables.list("mangle", OWNER_MARK, signal)) === undefined)
      canaries.push(iptables.family);
  }
  const processId = await findProcess(source.root, "kube-proxy");
  return {
    canaries,
    isHealthPortTaken: await isAnsweredByOthers(source, signal),
    ...(processId === undefined ? {} : { processId }),
    hasNftTable: await hasNftTable(source.exec, signal),
    hasIpvsDevice: (await namesIn(join(source.root, "sys/class/net"))).includes("kube-ipvs0"),
  };
}

async function isAnsweredByOthers(
  { clock, healthPort }: ForeignSource,
  signal: AbortSignal,
): Promise<boolean> {
  if (healthPort === 0) return false;
  const deadline = {
    ...{ clock, ms: ANSWER_MS, signal },
    code: "CommandTimeout",
    message: `port ${healthPort} took a connection and did not answer`,
  } as const;
  try {
    return await withDeadline(deadline, async (inner) => {
      const answer = await fetch(`http://127.0.0.1:${healthPort}/livez`, { signal: inner });
      await answer.body?.cancel();
      return answer.headers.get("server") !== SERVER;
    });
  } catch (error) {
    if (signal.aborted) throw error;
    // Otherwise nobody listens, or who does speaks no HTTP: then our own server says that the port is taken.
    return hasCode(error, "CommandTimeout");
  }
}

async function hasNftTable(exec: Exec, signal: AbortSignal): Promise<boolean> {
  try {
    const { stdout } = await exec({ file: "nft", args: ["list", "tables"] }, signal);
    return /^table (?:ip|ip6) kube-proxy$/m.test(stdout);
  } catch (error) {
    if (!hasCode(error, "CommandMissing")) throw error;
    return false;
  }
}

async function findProcess(root: string, name: string): Promise<number | undefined> {
  for (const entry of await namesIn(join(root, "proc"))) {
    if (!/^\d+$/.test(entry)) continue;
    if ((await readGone(join(root, "proc", entry, "comm"))).trim() === name) return Number(entry);
  }
  return undefined;
}

async function namesIn(dir: string): Promise<readonly string[]> {
  try {
    return await readdir(dir);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return [];
  }
}

/** Processes end while one looks at them. */
async function readGone(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== "ENOENT" && code !== "ESRCH") throw error;
    return "";
  }
}
