import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Service } from "../../../src/api/types.ts";
import {
  type AllocationRequest,
  allocateService,
  kubernetesServiceIp,
  type ServiceSpec,
} from "../../../src/controlplane/services.ts";

const other = {
  metadata: { name: "other", namespace: "default", uid: "u", resourceVersion: "1" },
  spec: {
    clusterIP: "10.96.0.5",
    clusterIPs: ["10.96.0.5"],
    ports: [{ port: 80, nodePort: 30_080 }],
  },
} as Service;

const base: AllocationRequest = {
  namespace: "default",
  name: "web",
  spec: { ports: [{ port: 80 }] },
  others: [other],
  serviceCidr: "10.96.0.0/16",
};

function allocate(spec: ServiceSpec, previous?: ServiceSpec): ServiceSpec | string {
  const request = { ...base, spec: { ...base.spec, ...spec } };
  const result = allocateService(previous === undefined ? request : { ...request, previous });
  return result.kind === "allocated" ? result.spec : `${result.field}: ${result.detail}`;
}

describe("the cluster IP of a service", () => {
  it("is taken from the range, above the band that is left to people", () => {
    const spec = allocate({}) as ServiceSpec;
    expect(spec.clusterIP).toMatch(/^10\.96\.([1-9]|\d\d+)\./);
    expect(spec).toMatchObject({ type: "ClusterIP", clusterIPs: [spec.clusterIP] });
  });

  it("is the requested one when that is free", () => {
    expect(allocate({ clusterIP: "10.96.0.6" })).toMatchObject({ clusterIP: "10.96.0.6" });
  });

  it.each<[string, ServiceSpec, ServiceSpec | undefined, string]>([
    [
      "is refused when taken",
      { clusterIP: "10.96.0.5" },
      undefined,
      "spec.clusterIPs: failed to allocate IP 10.96.0.5: provided IP is already allocated",
    ],
    [
      "is refused outside of the range",
      { clusterIP: "10.0.0.5" },
      undefined,
      "spec.clusterIPs: failed to allocate IP 10.0.0.5: the provided IP (10.0.0.5) is not in the valid range. The range of valid IPs is 10.96.0.0/16",
    ],
    [
      "is refused when it is no address",
      { clusterIP: "bogus" },
      undefined,
      "spec.clusterIPs[0]: must be a valid IP address, (e.g. 10.9.8.7)",
    ],
    [
      "may not change",
      { clusterIP: "10.96.0.7" },
      { type: "ClusterIP", clusterIP: "10.96.0.8" },
      "spec.clusterIPs[0]: may not change once set",
    ],
  ])("%s", (_sentence, spec, previous, expected) => {
    expect(allocate(spec, previous)).toBe(expected);
  });

  it("stays through an update that does not name it", () => {
    expect(allocate({}, { clusterIP: "10.96.0.8" })).toMatchObject({ clusterIP: "10.96.0.8" });
  });

  it("is None for a headless service and absent for ExternalName", () => {
    expect(allocate({ clusterIP: "None" })).toMatchObject({ clusterIPs: ["None"] });
    expect(allocate({ type: "ExternalName", clusterIP: "10.96.0.8" })).not.toHaveProperty(
      "clusterIP",
    );
  });

  it("is given when an ExternalName service becomes a ClusterIP one", () => {
    expect(allocate({ type: "ClusterIP" }, { type: "ExternalName" })).toHaveProperty("clusterIP");
  });

  it("uses the whole of a small range and then says that it is full", () => {
    const others: Service[] = [];
    for (let n = 0; n < 14; n++) {
      const result = allocateService({
        ...base,
        others,
        serviceCidr: "10.1.0.0/28",
        name: `s${n}`,
      });
      if (result.kind === "refused") throw new Error(result.detail);
      others.push({ ...other, spec: result.spec } as Service);
    }
    expect(new Set(others.map((it) => it.spec?.clusterIP)).size).toBe(14);
    const full = allocateService({ ...base, others, serviceCidr: "10.1.0.0/28" });
    expect(full).toMatchObject({ detail: "failed to allocate a serviceIP: range is full" });
  });

  it("of kubernetes is the first of the range", () => {
    expect(kubernetesServiceIp("10.96.0.0/16")).toBe("10.96.0.1");
  });
});

describe("the node ports of a service", () => {
  const nodePort = (port?: number): ServiceSpec => ({
    type: "NodePort",
    ports: [port === undefined ? { port: 80 } : { port: 80, nodePort: port }],
  });

  it("are given for NodePort", () => {
    expect(allocate(nodePort())).toMatchObject({ ports: [{ port: 80, nodePort: 30_086 }] });
  });

  it("are refused when taken or out of range", () => {
    expect(allocate(nodePort(30_080))).toBe(
      "spec.ports[0].nodePort: provided port is already allocated",
    );
    expect(allocate(nodePort(80))).toBe(
      "spec.ports[0].nodePort: provided port is not in the valid range. The range of valid ports is 30000-32767",
    );
  });

  it("may be shared by two protocols", () => {
    const spec: ServiceSpec = {
      type: "NodePort",
      ports: [{ port: 80, nodePort: 30_080, protocol: "UDP" }],
    };
    expect(allocate(spec)).toMatchObject({ ports: [{ nodePort: 30_080 }] });
  });

  it("stay through an update and go with the type", () => {
    const previous = { clusterIP: "10.96.0.8", ...nodePort(31_000) };
    expect(allocate(nodePort(), previous)).toMatchObject({ ports: [{ nodePort: 31_000 }] });
    const plain = allocate({ type: "ClusterIP", ports: nodePort(31_000).ports ?? [] }, previous);
    expect(plain).toMatchObject({ ports: [{ port: 80 }] });
    expect(JSON.stringify(plain)).not.toContain("nodePort");
  });
});

describe("allocation over any history", () => {
  it("never gives an address or a port to two services", () => {
    const step = fc.record({ name: fc.integer({ min: 0, max: 8 }), remove: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const services = new Map<number, Service>();
        for (const { name, remove } of steps) {
          const previous = services.get(name)?.spec;
          services.delete(name);
          if (remove) continue;
          const result = allocateService({
            ...base,
            name: `s${name}`,
            spec: { type: "NodePort", ports: [{ port: 80 }] },
            others: [...services.values()],
            serviceCidr: "10.1.0.0/28",
            ...(previous === undefined ? {} : { previous }),
          });
          if (result.kind === "refused") throw new Error(result.detail);
          services.set(name, { ...other, spec: result.spec } as Service);
        }
        const specs = [...services.values()].map((it) => it.spec);
        expect(new Set(specs.map((it) => it?.clusterIP)).size).toBe(specs.length);
        expect(new Set(specs.map((it) => it?.ports?.[0]?.nodePort)).size).toBe(specs.length);
      }),
      { numRuns: 50 },
    );
  });
});
