import { describe, expect, test } from "vitest";
import type { Pod } from "../../../src/api/types.ts";
import { computeHostsFile } from "../../../src/network/hosts-file.ts";
import { computeResolvConf } from "../../../src/network/resolv-conf.ts";

const HEAD = [
  "# Kubernetes-managed hosts file.",
  "127.0.0.1\tlocalhost",
  "::1\tlocalhost ip6-localhost ip6-loopback",
  "fe00::0\tip6-localnet",
  "fe00::0\tip6-mcastprefix",
  "fe00::1\tip6-allnodes",
  "fe00::2\tip6-allrouters",
  "",
].join("\n");
const aliases = [{ ip: "1.2.3.4", hostnames: ["a.example", "b.example"] }];
const ALIASES = "\n# Entries added by HostAliases.\n1.2.3.4\ta.example\tb.example\n";

describe("the hosts file", () => {
  const base = { podIps: ["10.0.1.2"], hostname: "web", aliases: [] };
  const fqdn = "web.sub.ns.svc.cluster.local";
  test.each([
    ["has the pod's address and name", {}, `${HEAD}10.0.1.2\tweb\n`],
    ["puts the full name first", { fqdn }, `${HEAD}10.0.1.2\t${fqdn}\tweb\n`],
    [
      "has every address",
      { podIps: ["10.0.1.2", "fd00::2"] },
      `${HEAD}10.0.1.2\tweb\nfd00::2\tweb\n`,
    ],
    ["ends with the aliases", { aliases }, `${HEAD}10.0.1.2\tweb\n${ALIASES}`],
    [
      "of a hostNetwork pod is the node's with the aliases",
      { aliases, nodeHosts: "127.0.0.1 localhost node\n" },
      `# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost node\n${ALIASES}`,
    ],
  ])("%s", (_, changes, expected) => {
    expect(computeHostsFile({ ...base, ...changes })).toBe(expected);
  });
});

describe("resolv.conf", () => {
  const settings = {
    clusterDomain: "cluster.local",
    clusterDns: ["10.96.0.10"],
    nodeResolvConf:
      "# a comment\nnameserver 192.0.2.53\nsearch example.com. corp\noptions edns0 ndots:2\n",
  };
  const pod = (spec: Partial<Pod["spec"]>): Pod => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "ns", name: "p", uid: "u", resourceVersion: "1" },
    spec: { containers: [], ...spec },
  });
  const CLUSTER =
    "nameserver 10.96.0.10\nsearch ns.svc.cluster.local svc.cluster.local cluster.local example.com corp\noptions ndots:5\n";
  const NODE = "nameserver 192.0.2.53\nsearch example.com corp\noptions edns0 ndots:2\n";

  test.each<[string, Partial<Pod["spec"]>, string]>([
    ["without a policy is the cluster's", {}, CLUSTER],
    [
      "of ClusterFirst on the host's network is the node's",
      { hostNetwork: true, dnsPolicy: "ClusterFirst" },
      NODE,
    ],
    [
      "of ClusterFirstWithHostNet is the cluster's",
      { hostNetwork: true, dnsPolicy: "ClusterFirstWithHostNet" },
      CLUSTER,
    ],
    ["of Default is the node's", { dnsPolicy: "Default" }, NODE],
    [
      "of None is what the pod says",
      {
        dnsPolicy: "None",
        dnsConfig: {
          nameservers: ["1.1.1.1"],
          searches: ["x.y"],
          options: [{ name: "ndots", value: "3" }, { name: "edns0" }],
        },
      },
      "nameserver 1.1.1.1\nsearch x.y\noptions ndots:3 edns0\n",
    ],
    [
      "is extended by the pod's, whose options win",
      {
        dnsConfig: {
          nameservers: ["10.96.0.10", "1.1.1.1"],
          searches: ["x.y"],
          options: [{ name: "ndots", value: "1" }],
        },
      },
      CLUSTER.replace("\nsearch", "\nnameserver 1.1.1.1\nsearch")
        .replace("corp", "corp x.y")
        .replace("ndots:5", "ndots:1"),
    ],
    [
      "has three servers at most",
      {
        dnsPolicy: "None",
        dnsConfig: { nameservers: ["1.1.1.1", "1.1.1.2", "1.1.1.3", "1.1.1.4"] },
      },
      "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\n",
    ],
  ])("%s", (_, spec, expected) => {
    expect(computeResolvConf(pod(spec), settings)).toBe(expected);
  });

  test("has 32 searches at most, in order", () => {
    const searches = Array.from({ length: 40 }, (_, i) => `s${i}`);
    const text = computeResolvConf(pod({ dnsPolicy: "None", dnsConfig: { searches } }), settings);
    expect(text).toBe(`search ${searches.slice(0, 32).join(" ")}\n`);
  });

  test("without cluster DNS falls back to the node's, and without that answers nothing", () => {
    expect(computeResolvConf(pod({}), { ...settings, clusterDns: [] })).toBe(NODE);
    const nothing = { ...settings, clusterDns: [], nodeResolvConf: "" };
    expect(computeResolvConf(pod({}), nothing)).toBe("nameserver 127.0.0.1\nsearch .\n");
  });
});
