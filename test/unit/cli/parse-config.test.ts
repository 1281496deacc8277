import { describe, expect, test } from "vitest";
import { readKubeletFlags } from "../../../src/cli/kubelet-config.ts";
import { computeAgentConfig, parseConfigFile } from "../../../src/cli/parse-config.ts";
import type { AgentConfig } from "../../../src/config.ts";

const HEAD = "apiVersion: longshore.dev/v1alpha1\nkind: AgentConfiguration\n";

function compute(flags: object, yaml = ""): Omit<AgentConfig, "proxy"> {
  return computeAgentConfig({
    flags: readKubeletFlags({ kubeconfig: "/k", ...flags }).values,
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

  test("knows --proxy and kube-proxy's --proxy-mode, the former first, and the file's proxyMode", () => {
    expect(compute({ proxy: "off" }, "proxyMode: iptables").proxyMode).toBe("off");
    expect(compute({ proxyMode: "off" }).proxyMode).toBe("off");
    expect(compute({ proxy: "iptables", proxyMode: "off" }).proxyMode).toBe("iptables");
    expect(compute({}, "proxyMode: off").proxyMode).toBe("off");
  });

  test("of the cluster's ranges the pod network has that of IPv4", () => {
    const both = "fd00:10::/56,10.244.0.0/16";
    expect(compute({ clusterCidr: both }).clusterCidr).toBe("10.244.0.0/16");
    expect(compute({}, "clusterCidr: 10.244.0.0/16").clusterCidr).toBe("10.244.0.0/16");
    expect(compute({ clusterCidr: "fd00:10::/56" }).clusterCidr).toBeUndefined();
  });

  test("takes labels of Kubernetes that a node may give itself", () => {
    const nodeLabels =
      "node.kubernetes.io/x=1,topology.kubernetes.io/zone=a,kubernetes.io/arch=amd64,a.io/b=c";
    expect(Object.keys(compute({ nodeLabels }).nodeLabels)).toHaveLength(4);
  });

  test("takes static pods from the kubelet's flags and from its file's fields", () => {
    const expected = {
      staticPodPath: "/etc/pods",
      staticPodURL: "https://h/pods",
      staticPodURLHeader: { "X-A": ["1", "3:4"], B: ["2"] },
    };
    const flags = {
      podManifestPath: "/etc/pods",
      manifestUrl: "https://h/pods",
      manifestUrlHeader: "X-A:1,B:2,X-A:3:4",
    };
    expect(compute(flags)).toMatchObject({ ...expected, fileCheckFrequencyMs: 20_000 });
    expect(
      compute(
        {},
        "staticPodPath: /etc/pods\nstaticPodURL: https://h/pods\nstaticPodURLHeader: {X-A: ['1', '3:4'], B: ['2']}\nhttpCheckFrequency: 1m",
      ),
    ).toMatchObject({ ...expected, httpCheckFrequencyMs: 60_000 });
  });

  test("does not tell a password that stands in a URL", () => {
    const look = () => compute({ manifestUrl: "https://me:secret@h/pods" });
    expect(look).toThrow(/without credentials/);
    expect(look).not.toThrow(/secret/);
  });

  test("reads what concerns images", () => {
    expect(compute({})).toMatchObject({
      imagePullProgressDeadlineMs: 60_000,
      imagePullCredentialsVerificationPolicy: "NeverVerifyPreloadedImages",
      preloadedImagesVerificationAllowlist: [],
    });
    const config = compute(
      { imageCredentialProviderConfig: "/p.yaml", imageCredentialProviderBinDir: "/bin" },
      "imagePullCredentialsVerificationPolicy: AlwaysVerify\npreloadedImagesVerificationAllowlist: [a.io/b, 'a.io:5000/*']",
    );
    expect(config).toMatchObject({
      imageCredentialProviderConfig: "/p.yaml",
      imageCredentialProviderBinDir: "/bin",
      imagePullCredentialsVerificationPolicy: "AlwaysVerify",
      preloadedImagesVerificationAllowlist: ["a.io/b", "a.io:5000/*"],
    });
  });

  test("reads what is kept from pods, from flags and from the file alike", () => {
    const expected = {
      systemReserved: { cpu: 500, memory: 1024 ** 3 },
      evictionHard: { "memory.available": { bytes: 1024 }, "nodefs.available": { fraction: 0.05 } },
      allowedUnsafeSysctls: ["kernel.msg*", "net.*"],
      podPidsLimit: 99,
    };
    const flags = {
      systemReserved: "cpu=500m,memory=1Gi",
      evictionHard: "memory.available<1Ki,nodefs.available<5%",
      ...{ allowedUnsafeSysctls: "kernel/msg*,net.*", podPidsLimit: "99" },
    };
    expect(compute(flags)).toMatchObject({ ...expected, kubeReserved: {} });
    const yaml = `systemReserved: {cpu: 500m, memory: 1Gi}
evictionHard: {memory.available: 1Ki, nodefs.available: 5%}
allowedUnsafeSysctls: [kernel.msg*, net.*]
podPidsLimit: 99`;
    expect(compute({}, yaml)).toMatchObject(expected);
    expect(compute({}).evictionHard).toEqual({
      "memory.available": { bytes: 104_857_600 },
      "nodefs.available": { fraction: 0.1 },
    });
  });

  test.each([
    { sentence: "a URL that is none", flags: { manifestUrl: "pods" }, says: "staticPodURL" },
    { sentence: "a URL of a file", flags: { manifestUrl: "file:///x" }, says: "staticPodURL" },
    { sentence: "no header", flags: { manifestUrlHeader: "a" }, says: "staticPodURLHeader" },
    { sentence: "half a second", flags: { fileCheckFrequency: "500ms" }, says: "a second" },
    {
      sentence: "plugins without their programs",
      flags: { imageCredentialProviderConfig: "/p" },
      says: "belong together",
    },
    {
      sentence: "an unknown policy of verification",
      flags: { imagePullCredentialsVerificationPolicy: "Verify" },
      says: "NeverVerifyAllowlistedImages",
    },
    ...["busybox", "a.io/b:1", "a.io/b@sha256:0a", "a.io/*/b", "*", "/*", "a b/*"].map(
      (pattern) => ({
        sentence: `${pattern} among the preloaded images`,
        flags: { preloadedImagesVerificationAllowlist: [pattern] },
        says: "preloadedImagesVerificationAllowlist[0]",
      }),
    ),
    { sentence: "no API server", flags: { kubeconfig: undefined }, says: "--kubeconfig FILE" },
    { sentence: "a relative path", flags: { kubeconfig: "k" }, says: "an absolute path" },
    { sentence: "a port out of range", flags: { port: "70000" }, says: "port" },
    { sentence: "an empty number", flags: { maxPods: "" }, says: "maxPods" },
    { sentence: "an address that is none", flags: { nodeIp: "node" }, says: "nodeIp[0]" },
    { sentence: "a CIDR without prefix", flags: { clusterCidr: "10.0.0.0" }, says: "clusterCidr" },
    {
      sentence: "a second CIDR without prefix",
      flags: { clusterCidr: "10.0.0.0/8,fd00::" },
      says: "clusterCidr[1]",
    },
    { sentence: "a CIDR beyond 32", flags: { clusterCidr: "10.0.0.0/33" }, says: "clusterCidr" },
    {
      sentence: "a label that a node may not give itself",
      flags: { nodeLabels: "node-role.kubernetes.io/worker=" },
      says: "may give itself",
    },
    { sentence: "a label key of spaces", flags: { nodeLabels: " =1" }, says: "nodeLabels" },
    {
      sentence: "a taint without effect",
      flags: { registerWithTaints: "a=b" },
      says: "NoSchedule",
    },
    { sentence: "a reserved colour", flags: { kubeReserved: "red=1" }, says: "cpu, memory" },
    { sentence: "a reserved nothing", flags: { kubeReserved: "cpu" }, says: "kubeReserved.cpu" },
    { sentence: "a negative", flags: { systemReserved: "cpu=-1" }, says: "systemReserved.cpu" },
    {
      sentence: "a signal nobody acts on",
      flags: { evictionHard: "cpu.available<1" },
      says: "memory.available",
    },
    { sentence: "more than all", flags: { evictionHard: "nodefs.available<101%" }, says: "100%" },
    {
      sentence: "a machine's sysctl",
      flags: { allowedUnsafeSysctls: "vm.swappiness" },
      says: "namespaced",
    },
    { sentence: "every sysctl", flags: { allowedUnsafeSysctls: "*" }, says: "namespaced" },
    { sentence: "no processes", flags: { podPidsLimit: "0" }, says: "podPidsLimit" },
    { sentence: "an unknown proxy mode", flags: { proxyMode: "ipvs" }, says: "iptables, off" },
    { sentence: "an unknown proxy", flags: { proxy: "ipvs" }, says: "iptables, off" },
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
