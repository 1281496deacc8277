/** A Service and an EndpointSlice that no API server would store, in many ways: what the proxy must survive. */

import type { EndpointSlice, Service } from "../../src/api/types.ts";
import { makeService, makeSlice } from "../builders/services.ts";

const base = makeService({ name: "bad", clusterIp: "172.30.0.2" });
const baseSlice = makeSlice({ service: "bad", ips: ["10.180.0.2"], port: 80 });
const evil = 'x"\n-A KUBE-SERVICES -j ACCEPT\n';

/** What is wrong, and the fields of the Service and of the slice that make it so. */
export const RUBBISH: readonly [string, object, object][] = [
  ["a name with a line break", { metadata: { ...base.metadata, name: evil } }, {}],
  ["a namespace that is an option", { metadata: { ...base.metadata, namespace: `-j${evil}` } }, {}],
  ["a port name with quotes", { spec: { ...base.spec, ports: [{ name: evil, port: 80 }] } }, {}],
  ["a very long name", { metadata: { ...base.metadata, name: "a".repeat(300) } }, {}],
  ["an address that is none", { spec: { ...base.spec, clusterIPs: [`1.2.3.4 ${evil}`] } }, {}],
  [
    "ports beyond the last",
    {
      spec: {
        ...base.spec,
        ports: [{ port: 65_536 }, { port: 0 }, { port: -1 }, { port: 1.5 }, { port: "80" }],
      },
    },
    {},
  ],
  [
    "a protocol nobody knows",
    { spec: { ...base.spec, ports: [{ port: 80, protocol: evil }] } },
    {},
  ],
  [
    "a port that is there twice",
    { spec: { ...base.spec, ports: [{ port: 80 }, { port: 81 }] } },
    {},
  ],
  [
    "a NodePort that is none",
    { spec: { ...base.spec, ports: [{ port: 80, nodePort: 99_999 }] } },
    {},
  ],
  [
    "an endpoint that is no address",
    {},
    { endpoints: [{ addresses: [evil] }, { addresses: [""] }] },
  ],
  ["an endpoint port that is none", {}, { ports: [{ name: "", port: 70_000 }] }],
  [
    "fields of another shape",
    { spec: { ...base.spec, externalIPs: 7, ports: [{ port: 80 }] } },
    {},
  ],
  ["endpoints of another shape", {}, { endpoints: [{}, null] }],
];

/** The slice names the Service, whatever that is called. */
export function makeRubbish(
  service: object,
  slice: object,
): { readonly service: Service; readonly endpointSlice: EndpointSlice } {
  const bad: Service = { ...base, ...service };
  const labels = { "kubernetes.io/service-name": bad.metadata.name };
  const metadata = { ...baseSlice.metadata, namespace: bad.metadata.namespace, labels };
  return { service: bad, endpointSlice: { ...baseSlice, metadata, ...slice } };
}
