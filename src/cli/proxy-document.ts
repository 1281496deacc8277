/**
 * The KubeProxyConfiguration document of a configuration file: its fields by the names that proxy-config.ts gives them, and a sentence for each that has no effect. Pure.
 */

import { LongshoreError } from "../core/errors.ts";

type Record_ = Readonly<Record<string, unknown>>;

export const KIND = "KubeProxyConfiguration";
const API = "kubeproxy.config.k8s.io/v1alpha1";

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

export const NO_DOCUMENT: ProxyDocument = { values: {}, warnings: [] };

/** @param names of its fields by their dotted path, where they have an effect */
export function parseProxyDocument(
  document: Record_,
  file: string,
  names: ReadonlyMap<string, string>,
): ProxyDocument {
  const { apiVersion, kind: _kind, ...rest } = document;
  if (apiVersion !== API)
    throw new LongshoreError(
      "ConfigInvalid",
      `${file}: apiVersion ${JSON.stringify(apiVersion)} of ${KIND} is not ${API}`,
    );
  const values: Record<string, unknown> = {};
  const warnings: string[] = [];
  for (const [place, value] of leaves(rest, "")) {
    if (isZero(value) || (place === "mode" && value === "iptables")) continue;
    const name = names.get(place);
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
