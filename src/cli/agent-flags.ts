/** The flags of `longshore agent`, named as the kubelet's and kube-proxy's where those have them. */

import { type Command, Option } from "commander";
import { KUBELET_FIELDS, KUBELET_FLAGS, type KubeletField } from "./kubelet-fields.ts";

export function addAgentFlags(command: Command): Command {
  addOwnFlags(command);
  for (const field of [...Object.values(KUBELET_FIELDS), ...KUBELET_FLAGS])
    addHidden(command, field);
  return command;
}

/** The kubelet's flags that nobody should begin to use, because a file says the same. */
function addHidden(command: Command, { flag, isSwitch }: KubeletField): void {
  if (flag === undefined || command.options.some(({ long }) => long === `--${flag}`)) return;
  const value = isSwitch === true ? "[bool]" : "<value>";
  command.addOption(new Option(`--${flag} ${value}`).hideHelp());
}

/** For flags that may be given more than once, as in KUBELET_KUBEADM_ARGS and KUBELET_EXTRA_ARGS. */
function joined(value: string, before?: string): string {
  return before === undefined ? value : `${before},${value}`;
}

function addOwnFlags(command: Command): Command {
  return command
    .option("--config <file>", "configuration file (deploy/config.yaml shows every field)")
    .option("--config-dir <dir>", "files *.conf that change parts of KubeletConfiguration")
    .option("--kubeconfig <file>", "credentials of the node")
    .option("--bootstrap-kubeconfig <file>", "credentials to ask for those of the node with")
    .option("--cert-dir <dir>", "certificates the node asked for (default: pki in --root-dir)")
    .option("--rotate-certificates [bool]", "renew the client certificate before it ends")
    .option("--rotate-server-certificates [bool]", "ask the API server for a serving certificate")
    .option("--proxy-kubeconfig <file>", "credentials of the proxy (default: those of the node)")
    .option("--hostname-override <name>", "name of the node (default: the host's name)")
    .option("--node-ip <ip>", "address of the node (default: that of the default route)")
    .option("--node-labels <k=v,...>", "labels to set when the node registers", joined)
    .option(
      "--register-with-taints <k=v:effect,...>",
      "taints to set when the node registers",
      joined,
    )
    .option("--container-runtime-endpoint <url>", "Docker Engine")
    .option("--root-dir <dir>", "state directory")
    .option("--pod-cidr <cidr>", "pod addresses of this node until the Node object has a podCIDR")
    .option("--cluster-cidr <cidr,...>", "all pods of the cluster; what leaves it is masqueraded")
    .option("--cluster-dns <ip,...>", "addresses of the cluster's DNS server", joined)
    .option("--cluster-domain <domain>", "domain of the cluster")
    .option("--resolv-conf <file>", "resolv.conf of the node")
    .option("--pod-manifest-path <path>", "directory or file of static pods")
    .option("--manifest-url <url>", "where static pods are fetched from")
    .option("--manifest-url-header <k:v,...>", "headers of that request", joined)
    .option("--max-pods <n>", "how many pods the node takes")
    .option("--pod-pids-limit <n>", "processes of each pod (default: unlimited)")
    .option("--system-reserved <r=q,...>", "cpu, memory and ephemeral-storage of the system")
    .option("--kube-reserved <r=q,...>", "cpu, memory and ephemeral-storage of node agents")
    .option("--eviction-hard <thresholds>", "memory.available, nodefs.available to keep free")
    .option("--image-credential-provider-config <path>", "CredentialProviderConfig of the node")
    .option("--image-credential-provider-bin-dir <dir>", "programs that it names")
    .option("--image-pull-progress-deadline <time>", "how long a pull may make no progress")
    .option(
      "--allowed-unsafe-sysctls <name,...>",
      "kernel parameters pods may set; name or name*",
      joined,
    )
    .option("--address <ip>", "address of the kubelet server")
    .option("--port <n>", "port of the kubelet server")
    .option("--client-ca-file <file>", "authority of client certificates")
    .option("--tls-cert-file <file>", "serving certificate (default: self-signed)")
    .option("--tls-private-key-file <file>", "key of the serving certificate")
    .option("--healthz-port <n>", "port of the local health endpoint; 0 = off")
    .option("--proxy <mode>", "service proxy: iptables or off")
    .option("--proxy-mode <mode>", "the same, as kube-proxy spells it")
    .option("--masquerade-all", "masquerade all traffic to cluster IPs")
    .option("--iptables-masquerade-bit <n>", "bit of the packet mark for masquerading, 0 to 31")
    .option("--iptables-localhost-nodeports [bool]", "NodePorts answer on 127.0.0.1, too")
    .option("--iptables-sync-period <duration>", "longest time until lost rules come back")
    .option("--iptables-min-sync-period <duration>", "least time between two syncs of the rules")
    .option("--nodeport-addresses <cidr,...>", "where NodePorts answer: CIDRs, or primary")
    .option("--detect-local-mode <mode>", "how the proxy tells pods of this node by their packets")
    .option("--pod-bridge-interface <name>", "for detect-local mode BridgeInterface")
    .option("--pod-interface-name-prefix <prefix>", "for detect-local mode InterfaceNamePrefix")
    .option("--proxy-healthz-bind-address <ip:port>", "health port of the proxy; empty = off")
    .option("--metrics-bind-address <ip:port>", "metrics port of the proxy; empty = off")
    .option(
      "--conntrack-max-per-core <n>",
      "connections to track per core; 0 = as the kernel has it",
    )
    .option("--conntrack-min <n>", "least number of connections to track")
    .option(
      "--conntrack-tcp-timeout-established <duration>",
      "of idle TCP connections; 0 = as it is",
    )
    .option("--conntrack-tcp-timeout-close-wait <duration>", "of half-closed ones; 0 = as it is")
    .option("--conntrack-tcp-be-liberal [bool]", "follow packets out of their window")
    .option("--conntrack-udp-timeout <duration>", "of UDP flows without answer; 0 = as it is")
    .option("--conntrack-udp-timeout-stream <duration>", "of UDP flows with answer; 0 = as it is")
    .option("--log-level <level>", "debug, info, warn or error")
    .option("-v, --v <level>", "the same; as a number, debug is from 4 on");
}
