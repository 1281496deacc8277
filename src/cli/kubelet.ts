/**
 * The program under the name `kubelet`, as kubeadm's kubelet.service starts it: the flags, the words and the places of
 * the kubelet. Called by main.ts.
 */

import { Command } from "commander";
import { kubeletVersion } from "../core/version.ts";
import { addAgentFlags } from "./agent-flags.ts";
import { KUBELET_ROOT_DIR } from "./ask-agent.ts";

type Record_ = Readonly<Record<string, unknown>>;

/** In a cluster of kubeadm's kube-proxy is a DaemonSet, and `kubeadm reset` cleans the kubelet's directory. */
const DEFAULTS: Record_ = { rootDir: KUBELET_ROOT_DIR, proxyMode: "off" };

export function createKubeletCommand(
  version: string,
  run: (flags: Record_, defaults: Record_) => Promise<void>,
): Command {
  const command = new Command("kubelet")
    .description("Longshore, the Kubernetes node agent for Docker hosts, in the kubelet's place")
    // kubeadm reads it.
    .version(`Kubernetes ${kubeletVersion(version)}`, "--version")
    .configureOutput({
      outputError: (words, write) => write(toKubeletWords(words)),
    });
  return addAgentFlags(command).action((flags: Record_) => run(flags, DEFAULTS));
}

function toKubeletWords(words: string): string {
  const unknown = /unknown option '(-[^'=]*)/.exec(words)?.[1];
  if (unknown !== undefined) return `failed to parse kubelet flag: unknown flag: ${unknown}\n`;
  return words.replace(/^error: /, "failed to parse kubelet flag: ");
}

/** As pflag reads them: underscores are dashes in names, a short flag may have an equals sign. */
export function toKubeletArguments(args: readonly string[]): string[] {
  return args.map((arg) => {
    if (arg === "--version=true") return "--version";
    const [, name, value = ""] = /^--([^=]+)(=[\s\S]*)?$/.exec(arg) ?? [];
    if (name !== undefined) return `--${name.replaceAll("_", "-")}${value}`;
    return arg.replace(/^-v=/, "-v");
  });
}
