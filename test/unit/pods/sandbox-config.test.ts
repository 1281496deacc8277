import { describe, expect, it } from "vitest";
import { LongshoreError } from "../../../src/core/errors.ts";
import { computeHostname } from "../../../src/pods/hostname.ts";
import {
  computeSandboxConfig,
  findRuntimeHandler,
  inheritedOf,
} from "../../../src/pods/sandbox-config.ts";
import { makePod, makeSandbox } from "./support.ts";

const never = new AbortController().signal;
const INPUT = { attempt: 3, ips: ["10.0.0.2"], clusterDomain: "cluster.local", placement: {} };
const configure = (spec: object, runtimeHandler?: string) =>
  computeSandboxConfig(makePod(spec), { ...INPUT, runtimeHandler });

describe("the sandbox of a pod", () => {
  it("asks for little when the spec says little", () => {
    expect(configure({})).toEqual({
      ...{ pod: { namespace: "ns", name: "p", uid: "u1" }, attempt: 3, hostname: "p" },
      ...{ hostNetwork: false, hostPid: false, hostIpc: false, ips: ["10.0.0.2"] },
      ...{ hostPorts: [], sysctls: {}, annotations: {} },
    });
  });

  it("has the host ports of those that last, unless it is in the host's network", () => {
    const port = (hostPort: number, more: object = {}) => ({
      hostPort,
      containerPort: 80,
      ...more,
    });
    const containers = [{ name: "a", ports: [port(1, { hostIP: "0.0.0.0" }), port(0)] }];
    const initContainers = [
      { name: "i", ports: [port(2)] },
      {
        name: "s",
        restartPolicy: "Always",
        ports: [port(3, { hostIP: "127.0.0.1", protocol: "UDP" })],
      },
    ];
    expect(configure({ containers, initContainers }).hostPorts).toEqual([
      { protocol: "UDP", hostIp: "127.0.0.1", hostPort: 3, containerPort: 80 },
      { protocol: "TCP", hostIp: "", hostPort: 1, containerPort: 80 },
    ]);
    expect(configure({ containers, hostNetwork: true }).hostPorts).toEqual([]);
  });

  it("has the pod's kernel parameters, by their dotted names", () => {
    const sysctls = [
      { name: "kernel/msgmax", value: "9" },
      { name: "net/ipv4/conf/eth0.1/forwarding", value: "1" },
    ];
    expect(configure({ securityContext: { sysctls } }).sysctls).toEqual({
      "kernel.msgmax": "9",
      "net.ipv4.conf.eth0/1.forwarding": "1",
    });
  });

  const long = "a".repeat(60);
  it.each([
    [{}, { hostname: "p" }, "p"],
    [{ hostname: "h" }, { hostname: "h" }, "h"],
    [{ hostname: `${long}---b` }, { hostname: long }, long],
    [{ hostname: "h", subdomain: "s" }, { hostname: "h", fqdn: "h.s.ns.svc.cluster.local" }, "h"],
    [{ setHostnameAsFQDN: true }, { hostname: "p" }, "p"],
    [
      { subdomain: "s", setHostnameAsFQDN: true },
      { hostname: "p", fqdn: "p.s.ns.svc.cluster.local" },
      "p.s.ns.svc.cluster.local",
    ],
    [
      { hostname: "h", subdomain: "s", setHostnameAsFQDN: true, hostnameOverride: "x.y" },
      { hostname: "x.y" },
      "x.y",
    ],
  ])("with %j calls itself %j and tells the kernel %s", (spec, names, kernel) => {
    expect(computeHostname(makePod(spec), "cluster.local")).toEqual(names);
    expect(configure(spec).hostname).toBe(kernel);
  });

  it("is not made when the whole name does not fit", () => {
    const spec = { hostname: "h".repeat(43), subdomain: "s", setHostnameAsFQDN: true };
    expect(() => configure(spec)).toThrow(
      "is too long (64 characters is the max, 66 characters requested)",
    );
  });

  it.each([{ cgroupParent: "/kubepods/podu1" }, { pidsLimit: 50 }, {}])(
    "remembers its OCI runtime and its place %j for its containers",
    (placement) => {
      const input = { ...INPUT, placement, runtimeHandler: "crun" };
      const config = computeSandboxConfig(makePod(), input);
      const { annotations, runtimeHandler, cgroupParent } = config;
      expect(runtimeHandler).toBe("crun");
      expect(cgroupParent).toBe((placement as { cgroupParent?: string }).cgroupParent);
      const inherited = { ...placement, runtimeHandler: "crun" };
      expect(inheritedOf(makeSandbox({ annotations }))).toEqual(inherited);
      expect(inheritedOf(makeSandbox())).toEqual({});
    },
  );

  it("takes the OCI runtime from the pod's class, which must exist", async () => {
    const client = {
      get: async (_resource: unknown, { name }: { readonly name: string }) => {
        if (name !== "fast") throw new LongshoreError("ApiNotFound", "gone");
        return { handler: "crun" };
      },
    };
    const find = (spec: object) => findRuntimeHandler(client as never, makePod(spec), never);
    expect(await find({})).toBeUndefined();
    expect(await find({ runtimeClassName: "fast" })).toBe("crun");
    await expect(find({ runtimeClassName: "no" })).rejects.toThrow('RuntimeClass "no" not found');
  });
});
