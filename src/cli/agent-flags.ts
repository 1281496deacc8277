/** The flags of `longshore agent`, named as the kubelet's and kube-proxy's where those have them. */

import type { Command } from "commander";

export function addAgentFlags(command: Command): Command {
  return command
    .option("--config <file>", "configuration file (deploy/longshore.yaml shows every field)")
    .option("--kubeconfig <file>", "credentials of the node")
    .option("--proxy-kubeconfig <file>", "credentials of the proxy (default: those of the node)")
    .option("--hostname-override <name>", "name of the node (default: the host's name)")
    .option("--node-ip <ip>", "address of the node (default: that of the default route)")
    .option("--node-labels <k=v,...>", "labels to set when the node registers")
    .option("--register-with-taints <k=v:effect,...>", "taints to set when the node registers")
    .option("--container-runtime-endpoint <url>", "Docker Engine")
    .option("--root-dir <dir>", "state directory")
    .option("--pod-cidr <cidr>", "pod addresses of this node until the Node object has a podCIDR")
    .option("--cluster-cidr <cidr>", "pod addresses of the cluster; what leaves it is masqueraded")
    .option("--cluster-dns <ip,...>", "addresses of the cluster's DNS server")
    .option("--cluster-domain <domain>", "domain of the cluster")
    .option("--resolv-conf <file>", "resolv.conf of the node")
    .option("--pod-manifest-path <path>", "directory or file of static pods")
    .option("--manifest-url <url>", "where static pods are fetched from")
    .option("--manifest-url-header <k:v,...>", "headers of that request")
    .option("--max-pods <n>", "how many pods the node takes")
    .option("--pod-pids-limit <n>", "processes of each pod (default: unlimited)")
    .option("--system-reserved <r=q,...>", "cpu, memory and ephemeral-storage of the system")
    .option("--kube-reserved <r=q,...>", "cpu, memory and ephemeral-storage of node agents")
    .option("--eviction-hard <thresholds>", "memory.available, nodefs.available to keep free")
    .option("--image-credential-provider-config <path>", "CredentialProviderConfig of the node")
    .option("--image-credential-provider-bin-dir <dir>", "programs that it names")
    .option("--image-pull-progress-deadline <time>", "how long a pull may make no progress")
    .option("--allowed-unsafe-sysctls <name,...>", "kernel parameters pods may set; name or name*")
    .option("--address <ip>", "address of the kubelet server")
    .option("--port <n>", "port of the kubelet server")
    .option("--client-ca-file <file>", "authority of client certificates")
    .option("--tls-cert-file <file>", "serving certificate (default: self-signed)")
    .option("--tls-private-key-file <file>", "key of the serving certificate")
    .option("--healthz-port <n>", "port of the local health endpoint; 0 = off")
    .option("--proxy-mode <mode>", "iptables or off")
    .option("--masquerade-all", "masquerade all traffic to cluster IPs")
    .option("-v, --log-level <level>", "debug, info, warn or error");
}
