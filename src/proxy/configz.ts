/** The configuration in force in the words of KubeProxyConfiguration, for /configz. Pure. */

import type { ProxySettings } from "./node-options.ts";
import type { ConntrackSettings } from "./sysctls.ts";

interface BindAddress {
  readonly host: string;
  /** 0 = off. */
  readonly port: number;
}

export interface ConfigzInput extends ProxySettings {
  readonly syncPeriodMs: number;
  readonly minSyncPeriodMs: number;
  readonly healthzBindAddress: BindAddress;
  readonly metricsBindAddress: BindAddress;
  readonly bindAddressHardFail: boolean;
  readonly conntrack: ConntrackSettings;
}

export function computeConfigz(config: ConfigzInput): object {
  const { conntrack } = config;
  return {
    apiVersion: "kubeproxy.config.k8s.io/v1alpha1",
    kind: "KubeProxyConfiguration",
    mode: "iptables",
    bindAddressHardFail: config.bindAddressHardFail,
    healthzBindAddress: addressText(config.healthzBindAddress),
    metricsBindAddress: addressText(config.metricsBindAddress),
    clusterCIDR: config.clusterCidrs.join(","),
    detectLocalMode: config.detectLocalMode,
    detectLocal: {
      bridgeInterface: config.bridgeInterface,
      interfaceNamePrefix: config.interfaceNamePrefix,
    },
    nodePortAddresses: config.nodePortAddresses,
    iptables: {
      localhostNodePorts: config.localhostNodePorts,
      masqueradeAll: config.masqueradeAll,
      masqueradeBit: config.masqueradeBit,
      minSyncPeriod: seconds(config.minSyncPeriodMs),
      syncPeriod: seconds(config.syncPeriodMs),
    },
    conntrack: {
      maxPerCore: conntrack.maxPerCore,
      min: conntrack.min,
      tcpBeLiberal: conntrack.tcpBeLiberal,
      tcpCloseWaitTimeout: seconds(conntrack.tcpCloseWaitTimeoutMs),
      tcpEstablishedTimeout: seconds(conntrack.tcpEstablishedTimeoutMs),
      udpStreamTimeout: seconds(conntrack.udpStreamTimeoutMs),
      udpTimeout: seconds(conntrack.udpTimeoutMs),
    },
  };
}

function addressText({ host, port }: BindAddress): string {
  if (port === 0) return "";
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function seconds(ms: number): string {
  return `${ms / 1000}s`;
}
