/** Inputs of the pure functions that write a pod's /etc/hosts (hosts-file.ts) and resolv.conf (resolv-conf.ts). */

export interface HostsFileInput {
  readonly podIps: readonly string[];
  readonly hostname: string;
  /** `hostname.subdomain.namespace.svc.domain`, when the pod has a subdomain. */
  readonly fqdn?: string;
  readonly aliases: readonly { readonly ip: string; readonly hostnames: readonly string[] }[];
  /** Text of the node's /etc/hosts for a hostNetwork pod, else undefined. */
  readonly nodeHosts?: string;
}
