/** Random histories of Services and EndpointSlices, for the properties that hold the proxy's increments to a full sync. */

import fc from "fast-check";
import type { MutableStore } from "../../src/api/store.ts";
import type { EndpointSlice, Service } from "../../src/api/types.ts";
import { makeService, makeSlice } from "../builders/services.ts";

export interface Stores {
  readonly services: MutableStore<Service>;
  readonly endpointSlices: MutableStore<EndpointSlice>;
}

type Change = (stores: Stores) => void;

const which = fc.integer({ min: 0, max: 3 });
const protocol = fc.constantFrom("TCP" as const, "UDP" as const);
const policy = fc.constantFrom("Cluster" as const, "Local" as const);

const applyService = fc
  .record({
    n: which,
    protocol,
    nodePort: fc.boolean(),
    affinity: fc.boolean(),
    internal: policy,
    external: policy,
  })
  .map(
    ({ n, protocol, nodePort, affinity, internal, external }): Change =>
      ({ services }) =>
        services.apply(
          makeService({
            name: `svc${n}`,
            clusterIp: `172.30.0.${n + 1}`,
            spec: {
              type: nodePort ? "NodePort" : "ClusterIP",
              ports: [{ protocol, port: 80, ...(nodePort ? { nodePort: 30000 + n } : {}) }],
              sessionAffinity: affinity ? "ClientIP" : "None",
              internalTrafficPolicy: internal,
              externalTrafficPolicy: external,
            },
          }),
        ),
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
