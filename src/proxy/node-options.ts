/**
 * What the rules depend on, from the configuration and the Node: zone, addresses, and how pods are told. Pure. Used by
 * the agent at each sync and by `longshore proxy render`.
 */

import type { Node } from "../api/types.ts";
import { type Family, familyOf } from "../core/ip.ts";
import { computeDetectLocal, type DetectLocalConfig, type ProxyRulesOptions } from "./options.ts";

/** Fields of KubeProxyConfiguration that shape rules. */
export interface ProxySettings {
  readonly masqueradeAll: boolean;
  readonly masqueradeBit: number;
  readonly localhostNodePorts: boolean;
  readonly nodePortAddresses: readonly string[];
  readonly detectLocalMode: DetectLocalConfig["mode"];
  readonly clusterCidrs: readonly string[];
  readonly bridgeInterface: string;
  readonly interfaceNamePrefix: string;
}

export interface NodeOptionsInput {
  readonly settings: ProxySettings;
  readonly family: Family;
  readonly nodeName: string;
  /** Absent while it is not known. */
  readonly node: Node | undefined;
  /** Come before those of the Node. */
  readonly nodeIps: readonly string[];
  readonly interfaceIps: readonly string[];
  readonly dropInvalid: boolean;
}

export function computeNodeOptions(
  input: NodeOptionsInput,
): Omit<ProxyRulesOptions, "randomFully"> {
  const { settings, family, nodeName, node, interfaceIps, dropInvalid } = input;
  const { masqueradeAll, masqueradeBit, localhostNodePorts, nodePortAddresses } = settings;
  const nodeIps = [...input.nodeIps, ...addressesOf(node)];
  const nodeIp = nodeIps.find((ip) => familyOf(ip) === family);
  const zone = node?.metadata.labels?.["topology.kubernetes.io/zone"];
  const detectLocal = computeDetectLocal(
    {
      mode: settings.detectLocalMode,
      clusterCidrs: settings.clusterCidrs,
      podCidrs: node?.spec?.podCIDRs ?? [],
      bridgeInterface: settings.bridgeInterface,
      interfaceNamePrefix: settings.interfaceNamePrefix,
    },
    family,
  );
  return {
    ...{ family, nodeName, interfaceIps, detectLocal, dropInvalid },
    ...{ masqueradeAll, masqueradeBit, localhostNodePorts, nodePortAddresses },
    ...(zone === undefined ? {} : { zone }),
    ...(nodeIp === undefined ? {} : { nodeIp }),
  };
}

/** InternalIPs first, as kube-proxy prefers them. */
export function addressesOf(node: Node | undefined): readonly string[] {
  const addresses = node?.status?.addresses ?? [];
  const of = (type: string) => addresses.filter((each) => each.type === type);
  return [...of("InternalIP"), ...of("ExternalIP")].map(({ address }) => address);
}
