/**
 * The proxy's part of the configuration: flags with kube-proxy's names, and a KubeProxyConfiguration document (in the
 * file of --config beside the agent's, or in a file of its own). Flags win over the agent's document, that over
 * kube-proxy's, that over the defaults of Kubernetes 1.36. What cannot apply here is a warning with the reason;
 * a value that makes no sense is ConfigInvalid with the field's name. Used by agent, check, explain and render.
 */

import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import { load } from "js-yaml";
import type { BindAddress, ProxyConfig } from "../config.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import {
  bad,
  cidr,
  flag,
  list,
  oneOf,
  type Parse,
  parseConfigFile,
  path,
  text,
  whole,
} from "./parse-config.ts";

type Record_ = Readonly<Record<string, unknown>>;

const KIND = "KubeProxyConfiguration";
const API = "kubeproxy.config.k8s.io/v1alpha1";

/** Go's durations: 30s, 1m0s, 24h0m0s, 1.5h. */
const duration: Parse<number> = (value, field) => {
  const unit = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };
  const whole_ = /^(?:0|(?:\d+(?:\.\d+)?(?:ms|s|m|h))+)$/;
  if (typeof value !== "string" || !whole_.test(value))
    throw bad(field, value, "a duration such as 30s or 1m0s");
  return [...value.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)].reduce(
    (sum, [, number, name]) => sum + Number(number) * unit[name as keyof typeof unit],
    0,
  );
};

/** In a document, 0 is how Go writes "not given". */
const period: Parse<number> = (value, field) => {
  const ms = duration(value, field);
  if (ms === 0) throw bad(field, value, "longer than nothing");
  return ms;
};

/** An empty text = off. A port may be left out. */
function bindAddress(defaultPort: number): Parse<BindAddress> {
  return (value, field) => {
    if (value === "") return { host: "0.0.0.0", port: 0 };
    const match = /^(?:\[([^\]]+)\]|([^:]*))(?::(\d+))?$/.exec(text(value, field));
    const host = isIP(String(value)) === 0 ? (match?.[1] ?? match?.[2] ?? "") : String(value);
    const port = Number(match?.[3] ?? defaultPort);
    if (isIP(host) === 0 || port < 1 || port > 65_535)
      throw bad(field, value, "an address such as 0.0.0.0:10256");
    return { host, port };
  };
}

const nodePortAddress: Parse<string> = (value, field) =>
  value === "primary" ? "primary" : cidr(value, field);

interface Field<T> {
  /** Its place in KubeProxyConfiguration. */
  readonly path: string;
  readonly parse: Parse<T>;
  readonly fallback: T;
}

const at = <T>(place: string, parse: Parse<T>, fallback: T): Field<T> => ({
  path: place,
  parse,
  fallback,
});

/** By the flag of the same meaning, camelCase. */
const FIELDS = {
  proxyKubeconfig: at("clientConnection.kubeconfig", path, ""),
  masqueradeAll: at("iptables.masqueradeAll", flag, false),
  iptablesMasqueradeBit: at("iptables.masqueradeBit", whole(0, 31), 14),
  iptablesLocalhostNodeports: at("iptables.localhostNodePorts", flag, true),
  iptablesSyncPeriod: at("iptables.syncPeriod", period, 30_000),
  iptablesMinSyncPeriod: at("iptables.minSyncPeriod", duration, 1000),
  detectLocalMode: at(
    "detectLocalMode",
    oneOf("ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix"),
    "ClusterCIDR" as const,
  ),
  podBridgeInterface: at("detectLocal.bridgeInterface", text, ""),
  podInterfaceNamePrefix: at("detectLocal.interfaceNamePrefix", text, ""),
  clusterCidr: at("clusterCIDR", list(cidr), []),
  nodeportAddresses: at("nodePortAddresses", list(nodePortAddress), []),
  proxyHealthzBindAddress: at("healthzBindAddress", bindAddress(10_256), {
    host: "0.0.0.0",
    port: 10_256,
  }),
  metricsBindAddress: at("metricsBindAddress", bindAddress(10_249), {
    host: "127.0.0.1",
    port: 10_249,
  }),
  bindAddressHardFail: at("bindAddressHardFail", flag, false),
  conntrackMaxPerCore: at("conntrack.maxPerCore", whole(0, 2 ** 31 - 1), 32_768),
  conntrackMin: at("conntrack.min", whole(0, 2 ** 31 - 1), 131_072),
  conntrackTcpBeLiberal: at("conntrack.tcpBeLiberal", flag, false),
  conntrackTcpTimeoutEstablished: at("conntrack.tcpEstablishedTimeout", duration, 86_400_000),
  conntrackTcpTimeoutCloseWait: at("conntrack.tcpCloseWaitTimeout", duration, 3_600_000),
  conntrackUdpTimeout: at("conntrack.udpTimeout", duration, 0),
  conntrackUdpTimeoutStream: at("conntrack.udpStreamTimeout", duration, 0),
} as const;

type FieldName = keyof typeof FIELDS;

/** Known to kube-proxy and without effect here: the longest matching path counts. */
const INAPPLICABLE: Readonly<Record<string, string>> = {
  mode: "the proxy here has the one mode iptables",
  bindAddress: "the node's address is --node-ip",
  hostnameOverride: "the agent's --hostname-override names the node",
  clientConnection: "the client has no rate limit, and speaks JSON",
  configSyncPeriod: "watches are resumed, not repeated",
  featureGates: "there are none here",
  logging: "the agent's logLevel decides",
  enableProfiling: "there is no profiling port",
  showHiddenMetricsForVersion: "no metric is hidden",
  oomScoreAdj: "the service manager sets it for the whole agent",
  portRange: "kube-proxy ignores it, too",
  ipvs: "the proxy here has the one mode iptables",
  nftables: "the proxy here has the one mode iptables",
  winkernel: "this is no Windows host",
  windowsRunAsService: "this is no Windows host",
};

export interface ProxyDocument {
  /** By flag name. */
  readonly values: Record_;
  /** One sentence for each field that has no effect. */
  readonly warnings: readonly string[];
}

const NO_DOCUMENT: ProxyDocument = { values: {}, warnings: [] };

export interface ConfigFile {
  /** Fields of the agent's document. */
  readonly file: Record_;
  readonly document: ProxyDocument;
}

/** Reads the file of --config; without one nothing is configured. */
export async function readConfigFile(path_: unknown): Promise<ConfigFile> {
  if (path_ === undefined) return { file: {}, document: NO_DOCUMENT };
  const name = String(path_);
  const { agent, proxy } = splitConfig(await readText(name), name);
  return { file: agent === undefined ? {} : parseConfigFile(agent, name), document: proxy };
}

/** The proxy's configuration alone, for commands that run no agent. */
export async function readProxyConfig(
  flags: Record_,
): Promise<ProxyConfigResult & Pick<ProxyDocument, "warnings">> {
  const config = await readConfigFile(flags.config);
  return { ...computeProxyConfig({ flags, ...config }), warnings: config.document.warnings };
}

async function readText(name: string): Promise<string> {
  try {
    return await readFile(name, "utf8");
  } catch (cause) {
    throw new LongshoreError("ConfigInvalid", `cannot read ${name}: ${messageOf(cause)}`, {
      cause,
    });
  }
}

export interface SplitConfig {
  /** The text without kube-proxy's documents; undefined when nothing is left. */
  readonly agent: string | undefined;
  readonly proxy: ProxyDocument;
}

/** Takes kube-proxy's document out of a file. */
export function splitConfig(yaml: string, file: string): SplitConfig {
  const parts = yaml
    .split(/^---(?:[ \t].*)?$/m)
    .filter((part) => !/^(?:\s*(?:#.*)?\n?)*$/.test(part));
  const documents = parts.map(asProxyDocument);
  const mine = documents.filter((document) => document !== undefined);
  if (mine.length > 1)
    throw new LongshoreError("ConfigInvalid", `${file} holds ${mine.length} ${KIND} documents`);
  const others = parts.filter((_, index) => documents[index] === undefined);
  const [document] = mine;
  return {
    agent: others.length === 0 && document !== undefined ? undefined : others.join("\n---\n"),
    proxy: document === undefined ? NO_DOCUMENT : parseProxyDocument(document, file),
  };
}

/** The document if it is kube-proxy's. One that cannot be read is left to who reads the rest, and complains. */
function asProxyDocument(part: string): Record_ | undefined {
  if (!part.includes(KIND)) return undefined;
  let document: unknown;
  try {
    document = load(part);
  } catch {
    return undefined;
  }
  if (document === null || typeof document !== "object") return undefined;
  return (document as Record_).kind === KIND ? (document as Record_) : undefined;
}

export function parseProxyDocument(document: Record_, file: string): ProxyDocument {
  const { apiVersion, kind: _kind, ...rest } = document;
  if (apiVersion !== API)
    throw new LongshoreError(
      "ConfigInvalid",
      `${file}: apiVersion ${JSON.stringify(apiVersion)} of ${KIND} is not ${API}`,
    );
  const byPath = new Map(Object.entries(FIELDS).map(([name, field]) => [field.path, name]));
  const values: Record<string, unknown> = {};
  const warnings: string[] = [];
  for (const [place, value] of leaves(rest, "")) {
    if (isZero(value) || (place === "mode" && value === "iptables")) continue;
    const name = byPath.get(place);
    if (name !== undefined) values[name] = value;
    else warnings.push(`${KIND} field ${place} has no effect: ${reasonFor(place)}`);
  }
  // What Go writes for "false" is a choice here: the default is true.
  const localhost = (rest.iptables as Record_ | undefined)?.localhostNodePorts;
  if (localhost === false) values.iptablesLocalhostNodeports = false;
  return { values, warnings };
}

/** Every value that is no object, by its dotted path. */
function leaves(value: Record_, prefix: string): [string, unknown][] {
  return Object.entries(value).flatMap(([key, inner]): [string, unknown][] => {
    const place = `${prefix}${key}`;
    const isObject = inner !== null && typeof inner === "object" && !Array.isArray(inner);
    return isObject ? leaves(inner as Record_, `${place}.`) : [[place, inner]];
  });
}

/** How a written-out KubeProxyConfiguration says "not given". */
function isZero(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (typeof value === "string") return /^(?:|0|(?:0(?:ms|s|m|h))+)$/.test(value);
  return value === null || value === 0 || value === false;
}

function reasonFor(place: string): string {
  const parts = place.split(".");
  for (let length = parts.length; length > 0; length--) {
    const reason = INAPPLICABLE[parts.slice(0, length).join(".")];
    if (reason !== undefined) return reason;
  }
  return "kube-proxy 1.36 has no such field";
}

export interface ProxyConfigInput {
  /** As commander gives them, camelCase. */
  readonly flags: Record_;
  /** The agent's document, or {}. */
  readonly file: Record_;
  readonly document: ProxyDocument;
}

export interface ProxyConfigResult {
  readonly proxy: ProxyConfig;
  /** Empty = that of the node. */
  readonly kubeconfig: string;
}

export function computeProxyConfig({ flags, file, document }: ProxyConfigInput): ProxyConfigResult {
  const pick = <T>(name: FieldName, { parse, fallback, path: place }: Field<T>): T => {
    const own = flags[name] ?? file[name];
    if (own !== undefined) return parse(own, name);
    const given = document.values[name];
    return given === undefined ? fallback : parse(given, `${KIND} ${place}`);
  };
  const get = <K extends FieldName>(name: K): (typeof FIELDS)[K]["fallback"] =>
    pick(name, FIELDS[name] as Field<(typeof FIELDS)[K]["fallback"]>);
  const proxy: ProxyConfig = {
    masqueradeAll: get("masqueradeAll"),
    masqueradeBit: get("iptablesMasqueradeBit"),
    localhostNodePorts: get("iptablesLocalhostNodeports"),
    syncPeriodMs: get("iptablesSyncPeriod"),
    minSyncPeriodMs: get("iptablesMinSyncPeriod"),
    detectLocalMode: get("detectLocalMode"),
    clusterCidrs: get("clusterCidr"),
    bridgeInterface: get("podBridgeInterface"),
    interfaceNamePrefix: get("podInterfaceNamePrefix"),
    nodePortAddresses: get("nodeportAddresses"),
    healthzBindAddress: get("proxyHealthzBindAddress"),
    metricsBindAddress: get("metricsBindAddress"),
    bindAddressHardFail: get("bindAddressHardFail"),
    conntrack: {
      maxPerCore: get("conntrackMaxPerCore"),
      min: get("conntrackMin"),
      tcpBeLiberal: get("conntrackTcpBeLiberal"),
      tcpEstablishedTimeoutMs: get("conntrackTcpTimeoutEstablished"),
      tcpCloseWaitTimeoutMs: get("conntrackTcpTimeoutCloseWait"),
      udpTimeoutMs: get("conntrackUdpTimeout"),
      udpStreamTimeoutMs: get("conntrackUdpTimeoutStream"),
    },
  };
  refuseContradictions(proxy);
  return { proxy, kubeconfig: get("proxyKubeconfig") };
}

function refuseContradictions(proxy: ProxyConfig): void {
  const { detectLocalMode: mode, nodePortAddresses } = proxy;
  if (proxy.minSyncPeriodMs > proxy.syncPeriodMs)
    throw bad("iptablesMinSyncPeriod", proxy.minSyncPeriodMs, "at most iptablesSyncPeriod");
  if (nodePortAddresses.includes("primary") && nodePortAddresses.length > 1)
    throw bad("nodeportAddresses", nodePortAddresses, '"primary" alone, or CIDRs');
  if (mode === "BridgeInterface") requireInterface("podBridgeInterface", proxy.bridgeInterface);
  if (mode === "InterfaceNamePrefix")
    requireInterface("podInterfaceNamePrefix", proxy.interfaceNamePrefix);
}

/** It becomes a word of a rule, so it must be a name that the kernel could give. */
function requireInterface(field: string, name: string): void {
  if (!/^[\w.-]{1,15}$/.test(name)) throw bad(field, name, "the name of an interface");
}
