/**
 * Takes the proxy's jumps and chains out of the kernel. KUBE-FIREWALL, which a kubelet shares, goes only when nobody has
 * a rule in it. Sysctls and connections are left alone. Used by `longshore cleanup`.
 */

import type { Iptables, Table } from "../core/iptables.ts";
import * as chain from "./chains.ts";
import { OWNER_MARK } from "./detect-foreign.ts";
import { chainsOf, renderRemoval } from "./render.ts";

const OWNED: Readonly<Record<Table, readonly string[]>> = {
  nat: [chain.SERVICES, chain.NODEPORTS, chain.POSTROUTING, chain.MARK_MASQ, chain.CANARY],
  filter: [
    chain.SERVICES,
    chain.EXTERNAL_SERVICES,
    chain.FORWARD,
    chain.NODEPORTS,
    chain.PROXY_FIREWALL,
    chain.CANARY,
  ],
  mangle: [chain.CANARY, OWNER_MARK],
};

/** Idempotent: what is not there is not missed. */
export async function removeProxyRules(iptables: Iptables, signal: AbortSignal): Promise<void> {
  for (const jump of chain.JUMPS) await iptables.removeJump(jump, signal);
  for (const table of ["nat", "filter", "mangle"] as const) {
    const there = chainsOf(await iptables.save(table, signal)).filter(
      (name) => OWNED[table].includes(name) || chain.isServiceChain(name),
    );
    for (const text of renderRemoval(table, there)) await iptables.restore(text, signal);
  }
  await removeFirewall(iptables, signal);
}

async function removeFirewall(iptables: Iptables, signal: AbortSignal): Promise<void> {
  const rules = await iptables.list("filter", chain.FIREWALL, signal);
  if (rules === undefined || rules.includes(`-A ${chain.FIREWALL}`)) return;
  for (const jump of chain.FIREWALL_JUMPS) await iptables.removeJump(jump, signal);
  for (const text of renderRemoval("filter", [chain.FIREWALL]))
    await iptables.restore(text, signal);
}
