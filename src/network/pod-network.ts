/**
 * The pod network of one node (D5): a bridge on the node's podCIDR, a veth pair per sandbox, masquerading for what
 * leaves the cluster. Owns the bridge `longshore0`, the links `lsh*` and two LONGSHORE-* chains (those of host ports are
 * host-ports.ts'), and puts them right whenever `start` or `repair` runs. Called by the pod workers, and by the agent for start and repair.
 */

import { hasCode, LongshoreError } from "../core/errors.ts";
import { type CommandResult, type Exec, execOk } from "../core/exec.ts";
import { type Cidr, parseCidr } from "../core/ip.ts";
import type { Iptables } from "../core/iptables.ts";
import type { Logger } from "../core/logger.ts";
import type { Netlink } from "../core/netlink.ts";
import type { Sandbox } from "../runtime/runtime.ts";
import * as commands from "./bridge-commands.ts";
import { HostPorts } from "./host-ports.ts";
import { gatewayOf } from "./ipam.ts";
import * as messages from "./link-messages.ts";
import type { PodNetwork } from "./network.ts";
import { PodAddresses } from "./pod-addresses.ts";

export interface BridgePodNetworkOptions {
  /** This node's range, IPv4. */
  readonly podCidr: string;
  /** All pods of the cluster; what goes elsewhere is masqueraded. The podCIDR when absent. */
  readonly clusterCidr?: string;
  readonly exec: Exec;
  /** Absent = everything by ip(8). */
  readonly netlink?: Netlink;
  readonly iptables: Iptables;
  readonly log: Logger;
  /** MTU of the node's uplink, default 1500. */
  readonly hostMtu?: number;
}

const FORWARD_TRIES = 5;

const DEFAULT_MTU = 1500;

export class BridgePodNetwork implements PodNetwork {
  readonly #options: BridgePodNetworkOptions;
  readonly #podCidr: Cidr;
  readonly #clusterCidr: Cidr;
  readonly #mtu: number;
  readonly #addresses: PodAddresses;
  readonly #hostPorts: HostPorts;
  readonly #warned = new Set<string>();
  #loading: Promise<void> | undefined;
  /** Links that belonged to no sandbox when last looked at. */
  #suspects: ReadonlySet<string> = new Set();

  constructor(options: BridgePodNetworkOptions) {
    this.#options = options;
    this.#podCidr = ipv4Range("podCIDR", options.podCidr);
    this.#addresses = new PodAddresses(this.#podCidr);
    this.#hostPorts = new HostPorts(options);
    this.#clusterCidr = ipv4Range("cluster CIDR", options.clusterCidr ?? options.podCidr);
    this.#mtu = options.hostMtu ?? DEFAULT_MTU;
  }

  async start(signal: AbortSignal): Promise<void> {
    await this.#ensureSysctls(signal);
    await this.#ensureBridge(signal);
    await this.#ensureRules(signal);
  }

  /** Puts right what others changed: after an Engine restart, a firewall reload, a removed bridge. */
  async repair(signal: AbortSignal): Promise<void> {
    await this.start(signal);
    const links = await this.#links(signal);
    if (links.length > 0)
      await this.#ofThoseLeft("putting links on the bridge", commands.portsBatch(links), signal);
    await this.#hostPorts.repair(signal);
  }

  async allocate(
    podUid: string,
    list: () => Promise<readonly Sandbox[]>,
  ): Promise<readonly string[]> {
    await this.#load(list);
    const ip = this.#addresses.take(podUid);
    if (ip !== undefined) return [ip];
    throw new LongshoreError(
      "NetworkExhausted",
      `no free address in podCIDR ${this.#options.podCidr}: ${this.#addresses.inUse} in use`,
    );
  }

  release(podUid: string): void {
    this.#addresses.release(podUid);
  }

  async attach(sandbox: Sandbox, signal: AbortSignal): Promise<void> {
    await this.#plumb(sandbox, signal);
    for (const ip of sandbox.ips) this.#addresses.settle(ip, sandbox.pod.uid);
    await this.#hostPorts.add(sandbox, signal);
  }

  async #plumb(sandbox: Sandbox, signal: AbortSignal): Promise<void> {
    const ip = sandbox.ips[0];
    if (sandbox.hostNetwork) return;
    if (ip === undefined || sandbox.pid === 0) {
      throw new LongshoreError(
        "NetworkFailed",
        `sandbox ${sandbox.id} has no address or no process`,
      );
    }
    const link = commands.linkName(sandbox.id);
    if (this.#tryNetlink(link, sandbox.pid, ip)) return;
    const batch = commands.linkBatch(link, sandbox.pid, ip, this.#mtu);
    let made = await this.#tryIp(["-batch", "-"], batch, signal);
    if (/File exists/.test(made.stderr)) {
      if (await this.#isPlumbed(sandbox.pid, signal)) {
        await this.#ip(["-batch", "-"], commands.portsBatch([link]), signal);
        return;
      }
      // Left half-made by an agent that was killed.
      await this.#removeLinks([link], signal);
      made = await this.#tryIp(["-batch", "-"], batch, signal);
    }
    if (made.code !== 0) throw failed(`making the link of sandbox ${sandbox.id}`, made);
    const inside = await this.#inSandbox(
      sandbox.pid,
      ["-batch", "-"],
      commands.sandboxBatch(this.#podCidr, ip),
      signal,
    );
    if (inside.code !== 0) throw failed(`setting up eth0 of sandbox ${sandbox.id}`, inside);
  }

  /** The quick way; false when it failed, and ip(8) is to find out what is there and say what is wrong. */
  #tryNetlink(link: string, pid: number, ip: string): boolean {
    const { netlink, log } = this.#options;
    if (netlink === undefined) return false;
    const gateway = gatewayOf(this.#podCidr);
    const pod = { link, pid, mac: commands.macOf(ip), mtu: this.#mtu };
    try {
      netlink.within(undefined, (socket) => {
        const bridgeIndex = messages.indexOf(socket.ask(messages.findLink(commands.BRIDGE)));
        for (const message of messages.makeLink({ ...pod, bridgeIndex })) socket.ask(message);
      });
      netlink.within(pid, (socket) => {
        const eth0 = messages.indexOf(socket.ask(messages.findLink("eth0")));
        const setUp = messages.setUpSandbox(eth0, ip, this.#podCidr.prefix, gateway);
        for (const message of setUp) socket.ask(message);
      });
      return true;
    } catch (error) {
      if (!hasCode(error, "NetworkFailed")) throw error;
      log.debug({ err: error, link }, "a sandbox could not be joined by netlink; ip is tried");
      return false;
    }
  }

  /** The link went with the namespace that the sandbox's end left; `collect` sees to it. */
  async detach(sandbox: Sandbox, signal: AbortSignal): Promise<void> {
    for (const ip of sandbox.ips) this.#addresses.release(sandbox.pod.uid, ip);
    await this.#hostPorts.remove(sandbox, signal);
  }

  async collect(live: readonly Sandbox[], signal: AbortSignal): Promise<void> {
    this.#addresses.reconcile(live);
    await this.#hostPorts.reconcile(live, signal);
    const wanted = new Set(live.map((sandbox) => commands.linkName(sandbox.id)));
    const unknown = (await this.#links(signal)).filter((link) => !wanted.has(link));
    // Unknown once may only be newer than `live`; the next listing has it then.
    const orphans = unknown.filter((link) => this.#suspects.has(link));
    this.#suspects = new Set(unknown);
    if (orphans.length === 0) return;
    this.#options.log.info({ orphans }, "removing links of sandboxes that are gone");
    await this.#removeLinks(orphans, signal);
  }

  /** Once for all callers; a listing that failed is asked for again. */
  #load(list: () => Promise<readonly Sandbox[]>): Promise<void> {
    if (this.#loading === undefined) {
      const loading = list().then((sandboxes) => {
        this.#addresses.reconcile(sandboxes);
        this.#hostPorts.learn(sandboxes);
      });
      this.#loading = loading;
      loading.catch(() => {
        this.#loading = undefined;
      });
    }
    return this.#loading;
  }

  async #ensureSysctls(signal: AbortSignal): Promise<void> {
    const forward = "net.ipv4.ip_forward";
    if (!(await this.#ensureSysctl(forward, signal)))
      this.#warnOnce(forward, "pods cannot reach anything outside this node");
    const bridged = "net.bridge.bridge-nf-call-iptables";
    if (await this.#ensureSysctl(bridged, signal)) return;
    await this.#tryRun("modprobe", ["br_netfilter"], signal);
    if (!(await this.#ensureSysctl(bridged, signal)))
      this.#warnOnce(bridged, "pods cannot reach Services backed by pods of this same node");
  }

  /** True when the setting is 1 in the end; it is written only when it is not. */
  async #ensureSysctl(name: string, signal: AbortSignal): Promise<boolean> {
    const read = await this.#tryRun("sysctl", ["-n", name], signal);
    if (read?.code !== 0) return false;
    if (read.stdout.trim() === "1") return true;
    return (await this.#tryRun("sysctl", ["-q", "-w", `${name}=1`], signal))?.code === 0;
  }

  /** Undefined when the program is not installed. */
  async #tryRun(
    file: string,
    args: readonly string[],
    signal: AbortSignal,
  ): Promise<CommandResult | undefined> {
    try {
      return await this.#options.exec({ file, args }, signal);
    } catch (error) {
      if (!hasCode(error, "CommandMissing")) throw error;
      return undefined;
    }
  }

  #warnOnce(sysctl: string, consequence: string): void {
    if (this.#warned.has(sysctl)) return;
    this.#warned.add(sysctl);
    this.#options.log.warn({ sysctl }, `${sysctl} is not 1 and cannot be set: ${consequence}`);
  }

  async #ensureBridge(signal: AbortSignal): Promise<void> {
    const made = await this.#tryIp(["link", "add", commands.BRIDGE, "type", "bridge"], "", signal);
    if (made.code !== 0 && !/File exists/.test(made.stderr))
      throw failed(`making the bridge ${commands.BRIDGE}`, made);
    const show = ["-o", "-4", "address", "show", "dev", commands.BRIDGE];
    const present = commands.parseAddresses(await this.#ip(show, "", signal));
    await this.#ip(
      ["-batch", "-"],
      commands.bridgeBatch(this.#podCidr, this.#mtu, present),
      signal,
    );
  }

  async #ensureRules(signal: AbortSignal): Promise<void> {
    const { iptables } = this.#options;
    await iptables.restore(commands.rulesText(this.#podCidr, this.#clusterCidr), signal);
    await iptables.ensureJump(commands.POSTROUTING_JUMP, signal);
    // The proxy puts its jumps in front at its own time, also between our look and our insertion: so look again.
    for (let tries = 0; tries < FORWARD_TRIES; tries++) {
      const listing = (await iptables.list("filter", "FORWARD", signal)) ?? "";
      const { wanted, present } = commands.computeForwardPosition(listing);
      if (present === wanted) return;
      if (present > 0) await iptables.removeJump(commands.FORWARD_JUMP, signal);
      await iptables.ensureJump(commands.FORWARD_JUMP, signal, wanted);
    }
  }

  async #isPlumbed(pid: number, signal: AbortSignal): Promise<boolean> {
    const routes = await this.#inSandbox(pid, ["-4", "route", "show", "default"], "", signal);
    return routes.code === 0 && routes.stdout.includes("dev eth0");
  }

  async #removeLinks(links: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#ofThoseLeft("removing pod links", commands.removeBatch(links), signal);
  }

  /** Runs a batch whose links may go at any time: -force goes on after one that is gone. */
  async #ofThoseLeft(doing: string, batch: string, signal: AbortSignal): Promise<void> {
    const result = await this.#tryIp(["-force", "-batch", "-"], batch, signal);
    const errors = result.stderr
      .split("\n")
      .filter((line) => line !== "" && !/Cannot find device|^Command failed/.test(line));
    if (result.code !== 0 && errors.length > 0) throw failed(doing, result);
  }

  async #links(signal: AbortSignal): Promise<string[]> {
    return commands.parseLinks(await this.#ip(["-o", "link", "show", "type", "veth"], "", signal));
  }

  #inSandbox(pid: number, args: readonly string[], input: string, signal: AbortSignal) {
    return this.#options.exec(
      { file: "nsenter", args: ["-t", String(pid), "-n", "ip", ...args], input },
      signal,
    );
  }

  #tryIp(args: readonly string[], input: string, signal: AbortSignal): Promise<CommandResult> {
    return this.#options.exec({ file: "ip", args, input }, signal);
  }

  #ip(args: readonly string[], input: string, signal: AbortSignal): Promise<string> {
    return execOk(this.#options.exec, { file: "ip", args, input }, signal);
  }
}

function ipv4Range(what: string, text: string): Cidr {
  const range = parseCidr(text);
  if (range?.family !== "IPv4" || range.prefix > 30) {
    throw new LongshoreError(
      "ConfigInvalid",
      `${what} ${JSON.stringify(text)} is not an IPv4 range of /30 or larger`,
    );
  }
  return range;
}

function failed(doing: string, result: CommandResult): LongshoreError {
  return new LongshoreError("NetworkFailed", `${doing}: ${result.stderr.trim().slice(0, 500)}`);
}
