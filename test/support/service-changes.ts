/** Random histories of Services and EndpointSlices, for the properties that hold the proxy's increments to a full sync. */

import fc from "fast-check";
import { MutableStore } from "../../src/api/store.ts";
import type { EndpointSlice, Service } from "../../src/api/types.ts";
import { makeService, makeSlice } from "../builders/services.ts";

export interface Stores {
  readonly services: MutableStore<Service>;
  readonly endpointSlices: MutableStore<EndpointSlice>;
}

type Change = (stores: Stores) => void;

export function emptyStores(): Stores {
  const stores = {
    services: new MutableStore<Service>(),
    endpointSlices: new MutableStore<EndpointSlice>(),
  };
  stores.services.replace([]);
  stores.endpointSlices.replace([]);
  return stores;
}

/** More than a shared chain holds undivided. */
const which = fc.integer({ min: 0, max: 79 });
const protocol = fc.constantFrom("TCP" as const, "UDP" as const);
const policy = fc.constantFrom("Cluster" as const, "Local" as const);

const applyService = fc
  .record({
    n: which,
    protocol,
    type: fc.constantFrom("ClusterIP" as const, "NodePort" as const, "LoadBalancer" as const),
    affinity: fc.boolean(),
    internal: policy,
    external: policy,
    ranges: fc.constantFrom<string[]>([], ["203.0.113.0/24"], ["192.0.2.0/24", "rubbish"]),
  })
  .map(
    ({ n, protocol, type, affinity, internal, external, ranges }): Change =>
      ({ services }) => {
        const service = makeService({
          name: `svc${n}`,
          clusterIp: `172.30.${n % 3}.${n + 1}`,
          spec: {
            type,
            ports: [
              { protocol, port: 80, ...(type === "ClusterIP" ? {} : { nodePort: 30_000 + n }) },
            ],
            sessionAffinity: affinity ? "ClientIP" : "None",
            internalTrafficPolicy: internal,
            externalTrafficPolicy: external,
            // Some answer at the same address, as they may.
            ...(n % 4 === 0 ? { externalIPs: ["198.51.100.1"] } : {}),
            ...(type === "LoadBalancer"
              ? { healthCheckNodePort: 31_000 + n, loadBalancerSourceRanges: ranges }
              : {}),
          },
        });
        const ingress = type === "LoadBalancer" ? [{ ip: `198.51.100.${n}` }] : [];
        services.apply({ ...service, status: { loadBalancer: { ingress } } });
      },
  );

const applySlice = fc
  .record({
    n: which,
    protocol,
    hosts: fc.uniqueArray(fc.integer({ min: 1, max: 5 }), { maxLength: 4 }),
    ready: fc.boolean(),
  })
  .map(
    ({ n, protocol, hosts, ready }): Change =>
      ({ endpointSlices }) =>
        endpointSlices.apply(
          makeSlice({
            service: `svc${n}`,
            ips: hosts.map((host) => `10.180.0.${host}`),
            port: 80,
            protocol,
            conditions: { ready, serving: true, terminating: !ready },
          }),
        ),
  );

const remove = fc.record({ n: which, isService: fc.boolean() }).map(
  ({ n, isService }): Change =>
    ({ services, endpointSlices }) => {
      if (isService) services.delete(makeService({ name: `svc${n}`, clusterIp: "172.30.0.1" }));
      else endpointSlices.delete(makeSlice({ service: `svc${n}`, ips: [], port: 80 }));
    },
);

/** One change of the world. */
export const anyChange: fc.Arbitrary<Change> = fc.oneof(
  applyService,
  applySlice,
  applySlice,
  remove,
);
