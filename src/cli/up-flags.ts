/** The flags of `longshore up`. */

import type { Command } from "commander";

export function addUpFlags(command: Command): Command {
  return command
    .option("--dir <dir>", "state of the control plane", "/var/lib/longshore/controlplane")
    .option("--root-dir <dir>", "state directory of the agent", "/var/lib/longshore")
    .option("--address <ip>", "address of the API server", "127.0.0.1")
    .option("--port <n>", "port of the API server", "6443")
    .option("--node-name <name>", "name of the node (default: the host's name)")
    .option("--node-ip <ip>", "address of the node (default: that of the default route)")
    .option("--service-cidr <cidr>", "addresses of services", "10.96.0.0/16")
    .option("--cluster-cidr <cidr>", "addresses of pods", "10.244.0.0/16")
    .option("--cluster-signing-duration <time>", "life of the certificates it signs", "8760h")
    .option("--container-runtime-endpoint <url>", "Docker Engine", "unix:///var/run/docker.sock")
    .option("--pod-manifest-path <path>", "directory or file of static pods")
    .option("--max-pods <n>", "how many pods the node takes", "110")
    .option("--control-plane-only", "run no agent", false)
    .option("-v, --log-level <level>", "debug, info, warn or error", "info");
}
