/**
 * The pod network as pods and agent see it: addresses, and a sandbox's namespace joined to the node's bridge.
 * Implemented by pod-network.ts (own bridge, D5); later also by CNI.
 */

import type { Sandbox } from "../runtime/runtime.ts";

export interface PodNetwork {
  /** Makes the bridge, sysctls and masquerade rules; called at start, and again by `repair`. */
  start(signal: AbortSignal): Promise<void>;
  /**
   * Addresses for a new sandbox, IPv4 first; those of the pod's older sandboxes, which have ended, are free again.
   * `list` tells the sandboxes that exist and is asked once, the first time. Throws NetworkExhausted.
   */
  allocate(podUid: string, list: () => Promise<readonly Sandbox[]>): Promise<readonly string[]>;
  /** Gives addresses back early when the sandbox they were for could not be made. */
  release(podUid: string): void;
  /** Plumbs a ready sandbox: veth, address, routes, hairpin, host ports. Idempotent. */
  attach(sandbox: Sandbox, signal: AbortSignal): Promise<void>;
  /** Gives back what an ended sandbox had: addresses and host ports. Links go with the namespace. */
  detach(sandbox: Sandbox, signal: AbortSignal): Promise<void>;
  /** Frees links, addresses and host ports that belonged to none of the live sandboxes in this call and the one before. */
  collect(live: readonly Sandbox[], signal: AbortSignal): Promise<void>;
}

/** DNS of the cluster and of the node; input of computeResolvConf. */
export interface DnsSettings {
  readonly clusterDomain: string;
  readonly clusterDns: readonly string[];
  /** Text of the node's own resolv.conf. */
  readonly nodeResolvConf: string;
}
