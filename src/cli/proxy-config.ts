/**
 * The proxy's part of the configuration: flags with kube-proxy's names, and a KubeProxyConfiguration document (in the
 * file of --config beside the agent's, or in a file of its own). Flags win over the agent's document, that over
 * kube-proxy's, that over the defaults of Kubernetes 1.36. What cannot apply here is a warning with the reason;
 * a value that makes no sense is ConfigInvalid with the field's name. Used by agent, check, explain and render.
 */

import { readFile } from "node:fs/promises";
import { isIP } from "node:net";
import type { BindAddress, ProxyConfig } from "../config.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import {
  bad,
  cidr,
  duration,
  flag,
  list,
  oneOf,
  type Parse,
  path,
  text,
  whole,
} from "./config-values.ts";
import { takeDocument } from "./documents.ts";
import { KUBELET_KIND } from "./kubelet-config.ts";
import { parseConfigFile } from "./parse-config.ts";
import { KIND, NO_DOCUMENT, type ProxyDocument, parseProxyDocument } from "./proxy-document.ts";

type Record_ = Readonly<Record<string, unknown>>;

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

const NAMES: ReadonlyMap<string, string> = new Map(
  Object.entries(FIELDS).map(([name, field]) => [field.path, name]),
);

export interface SplitConfig {
  /** The text without kube-proxy's and the kubelet's documents; undefined when nothing is left. */
  readonly agent: string | undefined;
  readonly proxy: ProxyDocument;
  /** As it is; undefined = none. */
  readonly kubelet: Record_ | undefined;
}

/** A file's text in three: the agent's part, kube-proxy's and the kubelet's. */
export function splitConfig(yaml: string, file: string): SplitConfig {
  const proxy = takeDocument(yaml, file, KIND);
  const kubelet = takeDocument(proxy.rest ?? "", file, KUBELET_KIND);
  return {
    agent: proxy.rest === undefined ? undefined : kubelet.rest,
    proxy:
      proxy.document === undefined ? NO_DOCUMENT : parseProxyDocument(proxy.document, file, NAMES),
    kubelet: kubelet.document,
  };
}

export interface ConfigFile {
  /** Fields of the agent's document. */
  readonly file: Record_;
  readonly document: ProxyDocument;
  /** KubeletConfiguration as it is; undefined = none. */
  readonly kubelet?: Record_ | undefined;
}

/** Reads the file of --config; without one nothing is configured. */
export async function readConfigFile(path_: unknown): Promise<ConfigFile> {
  if (path_ === undefined) return { file: {}, document: NO_DOCUMENT };
  const name = String(path_);
  const { agent, proxy, kubelet } = splitConfig(await readConfigText(name), name);
  const file = agent === undefined ? {} : parseConfigFile(agent, name);
  return { file, document: proxy, kubelet };
}

/** The proxy's configuration alone, for commands that run no agent. */
export async function readProxyConfig(
  flags: Record_,
): Promise<ProxyConfigResult & Pick<ProxyDocument, "warnings">> {
  const config = await readConfigFile(flags.config);
  return { ...computeProxyConfig({ flags, ...config }), warnings: config.document.warnings };
}

export async function readConfigText(name: string): Promise<string> {
  try {
    return await readFile(name, "utf8");
  } catch (cause) {
    throw new LongshoreError("ConfigInvalid", `cannot read ${name}: ${messageOf(cause)}`, {
      cause,
    });
  }
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
