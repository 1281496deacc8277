/**
 * Which addresses of the podCIDR are in use and by which pod: filled once from the sandboxes that exist (their labels
 * are the state), then kept by what is given out and taken back, so that a new pod costs no listing. No IO; owned by
 * pod-network.ts. An address belongs to a sandbox until that has ended, whether or not it was removed.
 */

import type { Cidr } from "../core/ip.ts";
import type { Sandbox } from "../runtime/runtime.ts";
import { nextAddress } from "./ipam.ts";

interface Lease {
  readonly podUid: string;
  /** Its sandbox is still being made: no listing can have it yet. */
  isPending: boolean;
}

export class PodAddresses {
  readonly #podCidr: Cidr;
  readonly #leases = new Map<string, Lease>();
  #last: string | undefined;
  /** Addresses whose sandbox was not in the last listing. */
  #suspects: ReadonlySet<string> = new Set();

  constructor(podCidr: Cidr) {
    this.#podCidr = podCidr;
  }

  get inUse(): number {
    return this.#leases.size;
  }

  /** An address for a new sandbox of the pod, whose older ones have ended; undefined when none is free. */
  take(podUid: string): string | undefined {
    this.#drop((_ip, lease) => lease.podUid === podUid);
    const ip = nextAddress(this.#podCidr, new Set(this.#leases.keys()), this.#last);
    if (ip === undefined) return undefined;
    this.#leases.set(ip, { podUid, isPending: true });
    this.#last = ip;
    return ip;
  }

  /** The sandbox that this address was taken for exists: it stays until `release` or until listings lack it. */
  settle(ip: string, podUid: string): void {
    this.#leases.set(ip, { podUid, isPending: false });
  }

  /** Takes back one address of the pod, or all; one that another pod has by now stays. */
  release(podUid: string, ip?: string): void {
    this.#drop((own, lease) => lease.podUid === podUid && (ip ?? own) === own);
  }

  /** Adds what a listing has and frees what neither this one nor the one before it had. */
  reconcile(sandboxes: readonly Sandbox[]): void {
    const live = new Map(
      sandboxes
        .filter(({ state }) => state !== "exited")
        .flatMap(({ ips, pod }) => ips.map((ip) => [ip, pod.uid] as const)),
    );
    for (const [ip, podUid] of live) if (!this.#leases.has(ip)) this.settle(ip, podUid);
    this.#drop((ip, { isPending }) => !isPending && !live.has(ip) && this.#suspects.has(ip));
    this.#suspects = new Set([...this.#leases.keys()].filter((ip) => !live.has(ip)));
  }

  #drop(isGone: (ip: string, lease: Lease) => boolean): void {
    for (const [ip, lease] of this.#leases) if (isGone(ip, lease)) this.#leases.delete(ip);
  }
}
