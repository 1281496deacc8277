/**
 * The text of a pod's /etc/resolv.conf from its dnsPolicy and dnsConfig, the cluster's DNS and the node's own file,
 * with the kubelet's rules for merging and its limits. Pure; pods writes the file and mounts it.
 */

import type { Pod } from "../api/types.ts";
import type { DnsSettings } from "./network.ts";

interface DnsConfig {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

const MAX_SERVERS = 3;
const MAX_SEARCHES = 32;
const MAX_SEARCH_LIST_CHARS = 2048;
const MAX_NAME_CHARS = 255;

export function computeResolvConf(pod: Pod, settings: DnsSettings): string {
  return format(withinLimits(withPodConfig(baseConfig(pod, settings), pod)));
}

function baseConfig(pod: Pod, settings: DnsSettings): DnsConfig {
  const { dnsPolicy = "ClusterFirst", hostNetwork = false } = pod.spec;
  if (dnsPolicy === "None") return { servers: [], searches: [], options: [] };
  const node = parse(settings.nodeResolvConf);
  const isCluster =
    dnsPolicy === "ClusterFirstWithHostNet" || (dnsPolicy === "ClusterFirst" && !hostNetwork);
  // Without cluster DNS the kubelet falls back to the node's.
  if (isCluster && settings.clusterDns.length > 0) {
    return {
      servers: settings.clusterDns,
      searches: unique([...clusterSearches(pod, settings.clusterDomain), ...node.searches]),
      options: ["ndots:5"],
    };
  }
  // No file of the node's: an answer of nobody, rather than the engine's idea of a default.
  if (settings.nodeResolvConf === "")
    return { servers: ["127.0.0.1"], searches: ["."], options: [] };
  return node;
}

function clusterSearches(pod: Pod, domain: string): string[] {
  if (domain === "") return [];
  return [`${pod.metadata.namespace}.svc.${domain}`, `svc.${domain}`, domain];
}

function withPodConfig(base: DnsConfig, pod: Pod): DnsConfig {
  const own = pod.spec.dnsConfig;
  if (own === undefined) return base;
  const options = new Map(base.options.map(splitOption));
  for (const { name, value } of own.options ?? []) {
    if (name !== undefined) options.set(name, value ?? "");
  }
  return {
    servers: unique([...base.servers, ...(own.nameservers ?? [])]),
    searches: unique([...base.searches, ...(own.searches ?? [])]),
    options: [...options].map(([name, value]) => (value === "" ? name : `${name}:${value}`)),
  };
}

function splitOption(option: string): [string, string] {
  const colon = option.indexOf(":");
  return colon < 0 ? [option, ""] : [option.slice(0, colon), option.slice(colon + 1)];
}

function withinLimits(config: DnsConfig): DnsConfig {
  const searches: string[] = [];
  for (const name of config.searches.filter((search) => search.length <= MAX_NAME_CHARS)) {
    const length = [...searches, name].join(" ").length;
    if (searches.length === MAX_SEARCHES || length > MAX_SEARCH_LIST_CHARS) break;
    searches.push(name);
  }
  return { ...config, servers: config.servers.slice(0, MAX_SERVERS), searches };
}

function parse(text: string): DnsConfig {
  const servers: string[] = [];
  let searches: string[] = [];
  const options = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    // As in resolv.conf(5): the last search line counts.
    if (keyword === "search")
      searches = values.map((value) => (value === "." ? value : value.replace(/\.$/, "")));
    if (keyword === "nameserver" && values[0] !== undefined) servers.push(values[0]);
    if (keyword === "options") {
      for (const [name, value] of values.map(splitOption)) options.set(name, value);
    }
  }
  const all = [...options].map(([name, value]) => (value === "" ? name : `${name}:${value}`));
  return { servers, searches, options: all };
}

function format({ servers, searches, options }: DnsConfig): string {
  const all = [
    ...servers.map((server) => `nameserver ${server}`),
    ...(searches.length > 0 ? [`search ${searches.join(" ")}`] : []),
    ...(options.length > 0 ? [`options ${options.join(" ")}`] : []),
  ];
  return all.map((line) => `${line}\n`).join("");
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}
