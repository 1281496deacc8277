import { describe, expect, test } from "vitest";
import { computeAgentConfig, parseConfigFile } from "../../../src/cli/parse-config.ts";
import type { AgentConfig } from "../../../src/config.ts";

const HEAD = "apiVersion: longshore.dev/v1alpha1\nkind: AgentConfiguration\n";

function compute(flags: object, yaml = ""): Omit<AgentConfig, "proxy"> {
  return computeAgentConfig({
    flags: { kubeconfig: "/k", ...flags },
    file: yaml === "" ? {} : parseConfigFile(HEAD + yaml, "/etc/c.yaml"),
    hostname: "Host-1",
  });
}

describe("computeAgentConfig", () => {
  test("defaults to the kubelet's values and the host's name in lower case", () => {
    expect(compute({})).toMatchObject({
      nodeName: "host-1",
      nodeIps: [],
      port: 10_250,
      healthzPort: 10_248,
      maxPods: 110,
      nodeStatusUpdateFrequencyMs: 10_000,
      nodeLeaseDurationSeconds: 40,
      proxyMode: "iptables",
      clusterDomain: "cluster.local",
    });
  });

  test("takes a field from the file, and a flag before the file", () => {
    expect(compute({}, "maxPods: 30\nclusterDns: [10.96.0.10]")).toMatchObject({
      maxPods: 30,
      clusterDns: ["10.96.0.10"],
    });
    expect(compute({ maxPods: "20" }, "maxPods: 30").maxPods).toBe(20);
  });

  test("reads labels, taints, durations and lists in the kubelet's spelling", () => {
    const config = compute({
      nodeLabels: "a=b,example.com/c=",
      registerWithTaints: "dedicated=x:NoSchedule,only:NoExecute",
      nodeIp: "192.0.2.1,2001:db8::1",
    });
    expect(config.nodeLabels).toEqual({ a: "b", "example.com/c": "" });
    expect(config.registerWithTaints).toEqual([
      { key: "dedicated", value: "x", effect: "NoSchedule" },
      { key: "only", effect: "NoExecute" },
    ]);
    expect(config.nodeIps).toEqual(["192.0.2.1", "2001:db8::1"]);
    expect(compute({}, "syncFrequency: 2m").syncFrequencyMs).toBe(120_000);
  });

  test.each([
    { sentence: "no API server", flags: { kubeconfig: undefined }, says: "--kubeconfig FILE" },
    { sentence: "a relative path", flags: { kubeconfig: "k" }, says: "an absolute path" },
    { sentence: "a port out of range", flags: { port: "70000" }, says: "port" },
    { sentence: "an empty number", flags: { maxPods: "" }, says: "maxPods" },
    { sentence: "an address that is none", flags: { nodeIp: "node" }, says: "nodeIp[0]" },
    { sentence: "a CIDR without prefix", flags: { clusterCidr: "10.0.0.0" }, says: "clusterCidr" },
    { sentence: "a CIDR beyond 32", flags: { clusterCidr: "10.0.0.0/33" }, says: "clusterCidr" },
    { sentence: "a label key of spaces", flags: { nodeLabels: " =1" }, says: "nodeLabels" },
    {
      sentence: "a taint without effect",
      flags: { registerWithTaints: "a=b" },
      says: "NoSchedule",
    },
    { sentence: "an unknown proxy mode", flags: { proxyMode: "ipvs" }, says: "iptables, off" },
    { sentence: "a certificate without key", flags: { tlsCertFile: "/c" }, says: "together" },
    { sentence: "a node name with a slash", flags: { hostnameOverride: "a/b" }, says: "DNS name" },
  ])("refuses $sentence and names the field", ({ flags, says }) => {
    expect(() => compute(flags)).toThrow(says);
    expect(() => compute(flags)).toThrow(expect.objectContaining({ code: "ConfigInvalid" }));
  });
});

describe("parseConfigFile", () => {
  test.each([
    { sentence: "what is not YAML", yaml: "{{{", says: "is not YAML" },
    { sentence: "a list", yaml: "[]", says: "one AgentConfiguration document" },
    { sentence: "nothing", yaml: "", says: "one AgentConfiguration document" },
    { sentence: "another kind", yaml: "kind: Pod", says: "must start with" },
    { sentence: "an unknown field", yaml: `${HEAD}maxPod: 3`, says: "unknown field maxPod" },
  ])("refuses $sentence", ({ yaml, says }) => {
    expect(() => parseConfigFile(yaml, "/f")).toThrow(says);
  });
});
