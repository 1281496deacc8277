/**
 * The rule set: what the kernel should hold, as a value, from Services, EndpointSlices and options. Pure. The rules,
 * their order and their words are kube-proxy 1.36's iptables mode, but for long shared chains, which dispatch.ts divides.
 * Called by `longshore proxy render` and tests; rule-book.ts comes to the same rule set one change at a time.
 */

import { keyOf } from "../api/store.ts";
import type { EndpointSlice, Service } from "../api/types.ts";
import type { SharedRule } from "./dispatch.ts";
import { serviceKeyOf } from "./endpoints.ts";
import type { Skip } from "./observer.ts";
import type { ProxyRulesOptions } from "./options.ts";
import type { Rule, RuleSet } from "./rule.ts";
import { computeServiceRules, type ServiceRules } from "./service-rules.ts";
import {
  computeFrame,
  computeSharedChain,
  SHARED_PARTS,
  type SharedRules,
} from "./shared-chains.ts";

export interface ProxyRules {
  readonly rules: RuleSet;
  /** Services of which something is left out. */
  readonly skipped: readonly Skip[];
}

/** With more endpoints than this in all, per-endpoint comments are left out, as kube-proxy does. */
export const LARGE_CLUSTER_ENDPOINTS = 1000;

/** Objects may come in any order; the result does not depend on it. */
export function computeProxyRules(
  objects: {
    readonly services: readonly Service[];
    readonly endpointSlices: readonly EndpointSlice[];
  },
  options: ProxyRulesOptions,
): ProxyRules {
  const slices = Map.groupBy(objects.endpointSlices, serviceKeyOf);
  const compute = (hasComments: boolean) =>
    objects.services.map((service) =>
      computeServiceRules(
        { service, endpointSlices: slices.get(keyOf(service)) ?? [] },
        options,
        hasComments,
      ),
    );
  const full = compute(true);
  const total = full.reduce((sum, part) => sum + part.endpointCount, 0);
  const parts = total > LARGE_CLUSTER_ENDPOINTS ? compute(false) : full;
  const skipped = objects.services.flatMap(({ metadata: { namespace, name } }, index) => {
    const reasons = parts[index]?.skipped ?? [];
    return reasons.length === 0 ? [] : { namespace, name, skipped: reasons };
  });
  return { rules: assemble(parts, options), skipped };
}

function assemble(parts: readonly ServiceRules[], options: ProxyRulesOptions): RuleSet {
  const rules = {
    filter: new Map<string, readonly Rule[]>(),
    nat: new Map<string, readonly Rule[]>(),
  };
  const all = parts.flatMap((part) => part.shared).sort(compareKeys);
  const byPart = Map.groupBy(all, (shared) => shared.part);
  const shared = Object.fromEntries(
    SHARED_PARTS.map((part) => [part, byPart.get(part) ?? []]),
  ) as unknown as SharedRules;
  const sharedChains = SHARED_PARTS.map((part) => computeSharedChain(part, shared, options));
  for (const { table, chains } of [...computeFrame(options), ...sharedChains])
    for (const [name, inside] of chains) rules[table].set(name, inside);
  for (const part of parts) for (const [name, own] of part.chains) rules.nat.set(name, own);
  return rules;
}

export function compareKeys(a: SharedRule, b: SharedRule): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}
