import { expect, test } from "vitest";
import { leanService, leanSlice } from "../../../src/api/lean.ts";
import type { EndpointSlice, Service } from "../../../src/api/types.ts";

const meta = (name: string, labels: object, annotations: object = {}) => ({
  ...{ name, namespace: "default", uid: "u", resourceVersion: "7", labels, annotations },
  ...{ creationTimestamp: "2026-01-01T00:00:00Z", generateName: "x-", managedFields: [{}] },
  ownerReferences: [{ apiVersion: "v1", kind: "Service", name: "s", uid: "s" }],
});
const NAME = "service.kubernetes.io/service-proxy-name";
const TRIGGER = "endpoints.kubernetes.io/last-change-trigger-time";

test("of a Service its identity, its spec and its load balancer are kept", () => {
  const spec = { clusterIP: "10.96.0.1", ports: [{ port: 80 }], selector: { app: "a" } };
  const loadBalancer = { ingress: [{ ip: "192.0.2.1" }] };
  const service = {
    ...{ metadata: meta("s", { app: "a", [NAME]: "other" }, { note: "long" }), spec },
    status: { loadBalancer, conditions: [] },
  } as unknown as Service;
  expect(leanService(service)).toEqual({
    ...{ apiVersion: "v1", kind: "Service", spec, status: { loadBalancer } },
    metadata: {
      ...{ name: "s", namespace: "default", uid: "u", resourceVersion: "7" },
      labels: { [NAME]: "other" },
    },
  });
});

test("of an EndpointSlice what the rules are made of is kept, and when its change began", () => {
  const endpoint = {
    ...{ addresses: ["10.0.0.1"], conditions: { ready: true }, nodeName: "n", zone: "z" },
    hints: { forZones: [{ name: "z" }] },
  };
  const ports = [{ name: "http", port: 8080, protocol: "TCP" }];
  const slice = {
    metadata: meta("s-1", { "kubernetes.io/service-name": "s", x: "y" }, { [TRIGGER]: "t", n: "" }),
    ...{ addressType: "IPv4", ports },
    endpoints: [{ ...endpoint, hostname: "h", targetRef: { kind: "Pod", name: "p" } }],
  } as unknown as EndpointSlice;
  expect(leanSlice(slice)).toEqual({
    ...{ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4", ports },
    metadata: {
      ...{ name: "s-1", namespace: "default", uid: "u", resourceVersion: "7" },
      labels: { "kubernetes.io/service-name": "s" },
      annotations: { [TRIGGER]: "t" },
    },
    endpoints: [endpoint],
  });
});

test("what has next to nothing stays what it is", () => {
  const bare = { name: "s", namespace: "default", uid: "u", resourceVersion: "1" };
  const service = { apiVersion: "v1", kind: "Service", metadata: bare } as const;
  expect(leanService(service)).toEqual(service);
  const slice = { metadata: bare, addressType: "FQDN" } as unknown as EndpointSlice;
  expect(leanSlice(slice)).toMatchObject({ metadata: bare, endpoints: [] });
});
