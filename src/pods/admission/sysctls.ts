/**
 * Whether the kernel parameters a pod sets are its own to set: namespaced, not shared with the host, and on the list of
 * what can hurt nobody else or on the operator's. Pure; the kubelet's reason and messages. Called by admission.ts.
 */

import type { PodSpec } from "../../api/types.ts";
import { dottedSysctl, sysctlNamespace } from "../../runtime/sysctls.ts";
import type { Verdict } from "../snapshot.ts";

const SAFE: readonly string[] = [
  "kernel.shm_rmid_forced",
  "net.ipv4.ip_local_port_range",
  "net.ipv4.tcp_syncookies",
  "net.ipv4.ping_group_range",
  "net.ipv4.ip_unprivileged_port_start",
  "net.ipv4.ip_local_reserved_ports",
  "net.ipv4.tcp_keepalive_time",
  "net.ipv4.tcp_fin_timeout",
  "net.ipv4.tcp_keepalive_intvl",
  "net.ipv4.tcp_keepalive_probes",
  "net.ipv4.tcp_rmem",
  "net.ipv4.tcp_wmem",
];

/** @param allowedUnsafe names, or the beginnings of names followed by `*`. */
export function computeSysctlVerdict(
  spec: PodSpec,
  allowedUnsafe: readonly string[],
): Verdict | undefined {
  for (const { name } of spec.securityContext?.sysctls ?? []) {
    const problem = findProblem(spec, dottedSysctl(name), allowedUnsafe);
    if (problem === undefined) continue;
    return { reason: "SysctlForbidden", message: `forbidden sysctl: "${name}" ${problem}` };
  }
  return undefined;
}

function findProblem(
  spec: PodSpec,
  name: string,
  allowedUnsafe: readonly string[],
): string | undefined {
  const namespace = sysctlNamespace(name);
  const isAllowed = [...SAFE, ...allowedUnsafe.map(dottedSysctl)].some((allowed) =>
    allowed.endsWith("*") ? name.startsWith(allowed.slice(0, -1)) : name === allowed,
  );
  if (namespace === undefined || !isAllowed) return "not allowlisted";
  if (namespace === "ipc" && spec.hostIPC === true) return "not allowed with host ipc enabled";
  if (namespace === "net" && spec.hostNetwork === true) return "not allowed with host net enabled";
  return undefined;
}
