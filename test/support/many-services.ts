/** Services and EndpointSlices by the thousand, with addresses as a cluster hands them out. */

import { MutableStore } from "../../src/api/store.ts";
import type { EndpointSlice, Service } from "../../src/api/types.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { Iptables } from "../../src/core/iptables.ts";
import { Proxier } from "../../src/proxy/proxier.ts";
import { makeService, makeSlice, PROXIER_RULES } from "../builders/services.ts";
import { recordingLog } from "./netns.ts";

/** The n-th address of 172.16.0.0/12. */
export function clusterIpOf(n: number): string {
  return `172.${16 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`;
}

export function serviceOf(n: number): Service {
  return makeService({ name: `service-${n}`, clusterIp: clusterIpOf(n + 1) });
}

/** @param shift moves the endpoints to other addresses */
export function sliceOf(n: number, endpoints: number, shift = 0): EndpointSlice {
  const ips = Array.from({ length: endpoints }, (_, i) => {
    const host = n * 16 + i + shift;
    return `10.${(host >> 16) & 255}.${(host >> 8) & 255}.${host & 255}`;
  });
  return makeSlice({ service: `service-${n}`, ips, port: 8080 });
}

/** Stores and a proxier on them. `synced` waits until the kernel has every change told so far. */
export function makeProxy(iptables: Iptables) {
  const services = new MutableStore<Service>();
  const endpointSlices = new MutableStore<EndpointSlice>();
  const { log, messages } = recordingLog();
  const proxier = new Proxier({
    services,
    endpointSlices,
    rules: () => PROXIER_RULES,
    iptables,
    conntrack: { cleanStale: async () => 0 },
    clock: systemClock,
    log,
    syncPeriodMs: 30_000,
    minSyncPeriodMs: 1,
  });
  const synced = async (): Promise<void> => {
    while (proxier.state.pendingSince !== undefined) {
      if (proxier.state.lastError !== undefined) throw new Error(messages.join("; "));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };
  return { services, endpointSlices, proxier, synced, messages };
}
