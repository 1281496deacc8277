/**
 * Ports of the node that lead to pods (hostPort): which there are, kept by sandbox, and the chains that say so to the
 * kernel. The truth is the labels of the sandboxes, so an agent that was killed finds its rules again with `reconcile`,
 * and until then touches none. A node whose pods have no host port has no such chain. Owned by pod-network.ts.
 */

import { hasCode } from "../core/errors.ts";
import type { Exec } from "../core/exec.ts";
import type { Iptables } from "../core/iptables.ts";
import type { Logger } from "../core/logger.ts";
import type { HostPort, Sandbox } from "../runtime/runtime.ts";
import { BRIDGE } from "./bridge-commands.ts";
import {
  HOST_PORT_JUMPS,
  type HostPortMapping,
  hostPortRules,
  PORTS_CHAIN,
} from "./host-port-rules.ts";

export interface HostPortsOptions {
  readonly exec: Exec;
  readonly iptables: Iptables;
  readonly log: Logger;
}

interface Entry extends HostPortMapping {
  readonly sandboxId: string;
  readonly attempt: number;
}

export class HostPorts {
  readonly #options: HostPortsOptions;
  /** By pod UID: of its newest sandbox. */
  readonly #mappings = new Map<string, Entry>();
  /** Sandboxes that have ended, until no listing has them any more. */
  readonly #ended = new Set<string>();
  /** Those that the last listing lacked. */
  #suspects: ReadonlySet<string> = new Set();
  /** All sandboxes were listed once: what is not known has no rules. */
  #isKnown = false;
  #isReconciled = false;
  /** The kernel has not been told of all mappings, or did not take them. */
  #isStale = false;
  /** The kernel has our chains; undefined = nobody looked. */
  #isInstalled: boolean | undefined;
  /** One run at a time: the last to write must be the last to have looked. */
  #turn: Promise<void> = Promise.resolve();

  constructor(options: HostPortsOptions) {
    this.#options = options;
  }

  async add(sandbox: Sandbox, signal: AbortSignal): Promise<void> {
    this.#note(sandbox);
    await this.#tell(sandbox, signal);
  }

  async remove(sandbox: Sandbox, signal: AbortSignal): Promise<void> {
    if (sandbox.hostPorts.length > 0) this.#ended.add(sandbox.id);
    this.#drop(sandbox);
    await this.#tell(sandbox, signal);
  }

  /** A sandbox without host ports waits for nobody's rules. */
  async #tell({ hostPorts }: Sandbox, signal: AbortSignal): Promise<void> {
    if (hostPorts.length === 0 || !this.#isStale) return;
    await this.#sync(signal);
    await this.#forgetFlows(hostPorts, signal);
  }

  /** Takes up what a listing has; what neither this one nor the one before it had goes. Writes nothing yet. */
  learn(listed: readonly Sandbox[]): void {
    const ids = new Set(listed.map(({ id }) => id));
    for (const id of this.#ended) if (!ids.has(id)) this.#ended.delete(id);
    const unknown = [...this.#mappings].filter(([, { sandboxId }]) => !ids.has(sandboxId));
    const gone = unknown.filter(([, { sandboxId }]) => this.#suspects.has(sandboxId));
    for (const [podUid] of gone) this.#mappings.delete(podUid);
    if (gone.length > 0) this.#isStale = true;
    this.#suspects = new Set(unknown.map(([, { sandboxId }]) => sandboxId));
    this.#isKnown = true;
    // A listing may be older than a start, but what has ended stays so.
    for (const one of listed) {
      if (one.state === "exited") this.#drop(one);
      if (one.state === "ready") this.#note(one);
    }
  }

  /** To be called with every listing: also what an agent before this one left is put right. */
  async reconcile(listed: readonly Sandbox[], signal: AbortSignal): Promise<void> {
    this.learn(listed);
    this.#isInstalled ??= await this.#hasChains(signal);
    if (this.#isStale || (!this.#isReconciled && this.#isInstalled)) await this.#sync(signal);
    this.#isReconciled = true;
  }

  /** Puts right what others changed. */
  async repair(signal: AbortSignal): Promise<void> {
    if (this.#isInstalled === true) await this.#sync(signal);
  }

  #note({ id, pod, attempt, ips: [ip], hostPorts: ports, hostNetwork }: Sandbox): void {
    if (ip === undefined || hostNetwork || ports.length === 0) return;
    const known = this.#mappings.get(pod.uid);
    if (this.#ended.has(id) || known?.sandboxId === id) return;
    if (known !== undefined && known.attempt > attempt) return;
    const name = `${pod.namespace}/${pod.name}`;
    this.#mappings.set(pod.uid, { sandboxId: id, attempt, ip, pod: name, ports });
    this.#isStale = true;
  }

  #drop({ id, pod }: Sandbox): void {
    if (this.#mappings.get(pod.uid)?.sandboxId !== id) return;
    this.#mappings.delete(pod.uid);
    this.#isStale = true;
  }

  #sync(signal: AbortSignal): Promise<void> {
    const write = (): Promise<void> => this.#write(signal);
    const turn = this.#turn.then(write, write);
    // Whoever asked for it learns of its failure; the next one only waits.
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #write(signal: AbortSignal): Promise<void> {
    // A restarted agent that knows only some of them would take the others' rules away.
    if (!this.#isKnown) return;
    const { iptables } = this.#options;
    this.#isInstalled = true;
    this.#isStale = false;
    try {
      await iptables.restore(hostPortRules([...this.#mappings.values()]), signal);
      for (const jump of HOST_PORT_JUMPS) await iptables.ensureJump(jump, signal);
    } catch (error) {
      this.#isStale = true;
      throw error;
    }
    await this.#ensureLoopbackRoute(signal);
  }

  async #hasChains(signal: AbortSignal): Promise<boolean> {
    return (await this.#options.iptables.list("nat", PORTS_CHAIN, signal)) !== undefined;
  }

  async #ensureLoopbackRoute(signal: AbortSignal): Promise<void> {
    const { exec, log } = this.#options;
    const args = ["-q", "-w", `net.ipv4.conf.${BRIDGE}.route_localnet=1`];
    const { code, stderr } = await exec({ file: "sysctl", args }, signal);
    if (code !== 0)
      log.warn({ stderr: stderr.trim() }, "host ports do not answer on 127.0.0.1 of this node");
  }

  /** A flow of UDP stays with whom it was first sent to. */
  async #forgetFlows(ports: readonly HostPort[], signal: AbortSignal): Promise<void> {
    const { exec } = this.#options;
    for (const { protocol, hostPort, hostIp } of ports) {
      if (protocol !== "UDP") continue;
      const to = hostIp === "" ? [] : ["--orig-dst", hostIp];
      const args = ["-D", "-p", "udp", "--orig-port-dst", String(hostPort), ...to];
      try {
        // Exit status 1 says that there was none.
        await exec({ file: "conntrack", args }, signal);
      } catch (error) {
        // `longshore check` tells of a missing conntrack and what comes of it.
        if (!hasCode(error, "CommandMissing")) throw error;
      }
    }
  }
}
