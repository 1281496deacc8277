/**
 * The rule set kept up one Service at a time: remembers what each contributes, and tells which chains changed since it was
 * last asked. Comes to the same rule set as rules.ts does from all objects at once, whatever the order of changes, at a
 * cost that follows the change. No input or output. Owned by one Proxier.
 */

import { isServiceChain } from "./chains.ts";
import type { SharedRule } from "./dispatch.ts";
import type { ProxyRulesOptions } from "./options.ts";
import type { RuleChange, TableChange } from "./render.ts";
import type { Rule, RuleSet, RuleTable } from "./rule.ts";
import { compareKeys, LARGE_CLUSTER_ENDPOINTS } from "./rules.ts";
import {
  computeServiceRules,
  emptyRules,
  type ServiceObjects,
  type ServiceRules,
  type UdpPort,
} from "./service-rules.ts";
import {
  computeFrame,
  computeSharedChain,
  SHARED_PARTS,
  type SharedPart,
  siblingsOf,
} from "./shared-chains.ts";

/** Rules that came to and went from a part of a shared chain. */
interface Pending {
  readonly added: SharedRule[];
  readonly removed: Set<SharedRule>;
}

/** What is remembered of a Service's rules; its chains are in `#rules`. */
interface Entry extends Omit<ServiceRules, "chains"> {
  readonly chains: readonly string[];
}

type Written = Map<string, readonly Rule[]>;

export class RuleBook {
  #options: ProxyRulesOptions;
  #hasComments = true;
  #endpointCount = 0;
  readonly #services = new Map<string, Entry>();
  readonly #rules: Record<RuleTable, Written> = { filter: new Map(), nat: new Map() };
  /** What the chains touched since the last `take` held then. */
  readonly #before = { filter: new Map(), nat: new Map() } as Record<
    RuleTable,
    Map<string, readonly Rule[] | undefined>
  >;
  readonly #shared = Object.fromEntries(
    SHARED_PARTS.map((part) => [part, []]),
  ) as unknown as Record<SharedPart, readonly SharedRule[]>;
  readonly #pending = new Map<SharedPart, Pending>();
  /** Chain names that a part's shared chain was divided into. */
  readonly #divided = new Map<SharedPart, ReadonlySet<string>>();
  #ruleCount = { filter: 0, nat: 0 };
  readonly #leftOut = new Set<string>();
  readonly #udp = new Map<string, readonly UdpPort[]>();
  #udpVersion = 0;

  constructor(options: ProxyRulesOptions) {
    this.#options = options;
    this.#writeAllShared();
  }

  get rules(): RuleSet {
    this.#writePending();
    return this.#rules;
  }

  get options(): ProxyRulesOptions {
    return this.#options;
  }

  get ruleCount(): Readonly<Record<RuleTable, number>> {
    this.#writePending();
    return this.#ruleCount;
  }

  /** Grows whenever `udpPorts` becomes another. */
  get udpVersion(): number {
    return this.#udpVersion;
  }

  get udpPorts(): readonly UdpPort[] {
    return [...this.#udp.values()].flat();
  }

  /** Services that contribute something, or of which something is left out. */
  keys(): readonly string[] {
    return [...this.#services.keys()];
  }

  /** True when each Service must be `set` again, as its rules may have become others. */
  setOptions(options: ProxyRulesOptions): boolean {
    const isSame = isEqual(options, this.#options);
    if (isSame) return false;
    // Addresses of interfaces come and go; they shape no Service's own rules.
    const forServices = { interfaceIps: [], nodePortAddresses: [] };
    const before = { ...this.#options, ...forServices };
    this.#options = options;
    this.#writeAllShared();
    return !isEqual(before, { ...options, ...forServices });
  }

  /** Whether the number of endpoints asks for other comments; if so, each Service must be `set` again. */
  updateComments(): boolean {
    const hasComments = this.#endpointCount <= LARGE_CLUSTER_ENDPOINTS;
    const isOther = hasComments !== this.#hasComments;
    this.#hasComments = hasComments;
    return isOther;
  }

  /**
   * Takes in what is known of a Service now.
   * @returns what is left out of it; undefined when nothing is and was
   */
  set(key: string, objects: ServiceObjects): readonly string[] | undefined {
    this.#leftOut.delete(key);
    return this.#keep(key, computeServiceRules(objects, this.#options, this.#hasComments));
  }

  /**
   * Takes a Service out until it is `set` again.
   * @returns what is left out of it then
   */
  leaveOut(key: string, reason: string): readonly string[] {
    const skipped = [...(this.#services.get(key)?.skipped ?? []), reason];
    this.#keep(key, emptyRules(skipped));
    this.#leftOut.add(key);
    return skipped;
  }

  /** Services that were taken out and not set since. */
  get leftOut(): ReadonlySet<string> {
    return this.#leftOut;
  }

  /** The Service that a rule of a chain belongs to. */
  ownerOf(chain: string, rule: Rule): string | undefined {
    for (const [key, { chains, shared }] of this.#services)
      if (chains.includes(chain) || shared.some((one) => one.rule === rule)) return key;
    return undefined;
  }

  #keep(key: string, computed: ServiceRules): readonly string[] | undefined {
    const before = this.#services.get(key);
    const isSame = isEqual(before?.shared, computed.shared);
    const shared = isSame ? (before?.shared ?? []) : exact(computed.shared);
    const after: Entry = { ...computed, shared, chains: exact([...computed.chains.keys()]) };
    for (const name of before?.chains ?? [])
      if (!computed.chains.has(name)) this.#write("nat", name, undefined);
    for (const [name, rules] of computed.chains) this.#write("nat", name, exact(rules));
    if (after.shared !== before?.shared) this.#changeShared(before?.shared ?? [], after.shared);
    this.#endpointCount += after.endpointCount - (before?.endpointCount ?? 0);
    keep(this.#services, key, isNothing(after) ? undefined : after);
    if (!isEqual(before?.udp, after.udp)) this.#udpVersion++;
    keep(this.#udp, key, after.udp.length > 0 ? after.udp : undefined);
    const isNews = after.skipped.length > 0 || (before?.skipped.length ?? 0) > 0;
    return isNews ? after.skipped : undefined;
  }

  /** What changed since the last call. */
  take(): RuleChange {
    this.#writePending();
    return { filter: this.#takeTable("filter"), nat: this.#takeTable("nat") };
  }

  #takeTable(table: RuleTable): TableChange {
    const changed: Written = new Map();
    const removed: string[] = [];
    for (const [name, before] of this.#before[table]) {
      const after = this.#rules[table].get(name);
      if (after !== undefined && !isSameChain(before, after)) changed.set(name, after);
      // A frame chain that is no longer wanted may be somebody else's, too.
      else if (after === undefined && before !== undefined && isServiceChain(name))
        removed.push(name);
    }
    this.#before[table].clear();
    return { changed, removed };
  }

  #changeShared(before: ServiceRules["shared"], after: ServiceRules["shared"]): void {
    for (const shared of before) this.#pendingOf(shared.part).removed.add(shared);
    for (const shared of after) this.#pendingOf(shared.part).added.push(shared);
  }

  #pendingOf(part: SharedPart): Pending {
    const existing = this.#pending.get(part);
    if (existing !== undefined) return existing;
    const pending = { added: [], removed: new Set<SharedRule>() };
    this.#pending.set(part, pending);
    return pending;
  }

  #writeAllShared(): void {
    for (const { table, chains } of computeFrame(this.#options))
      for (const [name, rules] of chains) this.#write(table, name, rules);
    for (const part of SHARED_PARTS) this.#pendingOf(part);
  }

  #writePending(): void {
    for (const part of this.#pending.keys()) this.#writeShared(part);
  }

  /** Writes the shared chain that `part` is in, with what is pending for all that is in it. */
  #writeShared(part: SharedPart): void {
    for (const sibling of siblingsOf(part)) {
      const { added, removed } = this.#pending.get(sibling) ?? {};
      this.#pending.delete(sibling);
      if (added === undefined || removed === undefined) continue;
      const kept = this.#shared[sibling].filter((shared) => !removed.has(shared));
      const fresh = added.filter((shared) => !removed.has(shared));
      this.#shared[sibling] = [...kept, ...fresh].sort(compareKeys);
    }
    const [first = part] = siblingsOf(part);
    const { table, chains } = computeSharedChain(first, this.#shared, this.#options);
    for (const name of this.#divided.get(first) ?? [])
      if (!chains.has(name)) this.#write(table, name, undefined);
    for (const [name, rules] of chains) this.#write(table, name, rules);
    this.#divided.set(first, new Set(chains.keys()));
  }

  #write(table: RuleTable, name: string, rules: readonly Rule[] | undefined): void {
    const before = this.#rules[table].get(name);
    if (!this.#before[table].has(name)) this.#before[table].set(name, before);
    this.#ruleCount[table] += (rules?.length ?? 0) - (before?.length ?? 0);
    keep(this.#rules[table], name, rules);
  }
}

/** Everything, over whatever the kernel holds: `existing` are the chains seen there. */
export function computeFullChange(
  rules: RuleSet,
  existing: Readonly<Record<RuleTable, readonly string[]>>,
): RuleChange {
  const changeOf = (table: RuleTable): TableChange => ({
    changed: rules[table],
    removed: existing[table].filter((name) => isServiceChain(name) && !rules[table].has(name)),
  });
  return { filter: changeOf("filter"), nat: changeOf("nat") };
}

/** A Service without an address of the family, for which the other family's proxier is there. */
function isNothing({ chains, shared, skipped }: Entry): boolean {
  return chains.length === 0 && shared.length === 0 && skipped.length === 0;
}

/** A copy without the room to grow that a list made by `push` has: they are kept by the ten thousand. */
function exact<T>(list: readonly T[]): readonly T[] {
  return list.slice();
}

function keep<V>(map: Map<string, V>, key: string, value: V | undefined): void {
  if (value === undefined) map.delete(key);
  else map.set(key, value);
}

function isSameChain(a: readonly Rule[] | undefined, b: readonly Rule[]): boolean {
  return a !== undefined && a.length === b.length && a.every((rule, index) => rule === b[index]);
}

function isEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}
