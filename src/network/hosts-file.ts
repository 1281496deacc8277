/** The text of a pod's /etc/hosts, in the kubelet's words. Pure; pods writes the file and mounts it. */

import type { HostsFileInput } from "./pod-files.ts";

const LOCALHOST = [
  "127.0.0.1\tlocalhost",
  "::1\tlocalhost ip6-localhost ip6-loopback",
  "fe00::0\tip6-localnet",
  "fe00::0\tip6-mcastprefix",
  "fe00::1\tip6-allnodes",
  "fe00::2\tip6-allrouters",
];

export function computeHostsFile(input: HostsFileInput): string {
  return input.nodeHosts === undefined
    ? lines(["# Kubernetes-managed hosts file.", ...LOCALHOST, ...ownEntries(input)]) +
        aliasEntries(input)
    : `# Kubernetes-managed hosts file (host network).\n${input.nodeHosts}${aliasEntries(input)}`;
}

function ownEntries({ podIps, hostname, fqdn }: HostsFileInput): string[] {
  const names = fqdn === undefined ? hostname : `${fqdn}\t${hostname}`;
  return podIps.map((ip) => `${ip}\t${names}`);
}

function aliasEntries({ aliases }: HostsFileInput): string {
  if (aliases.length === 0) return "";
  const entries = aliases.map(({ ip, hostnames }) => `${ip}\t${hostnames.join("\t")}`);
  return `\n${lines(["# Entries added by HostAliases.", ...entries])}`;
}

function lines(all: readonly string[]): string {
  return `${all.join("\n")}\n`;
}
