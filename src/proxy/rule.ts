/**
 * The vocabulary of the rule set: rules as arguments, chains, and the settings they depend on. Values only, so that
 * a rule set can be compared, rendered, explained and traced. Used by everything in proxy/.
 */

import type { Family } from "../core/ip.ts";
import type { Place } from "./endpoints.ts";

/** One rule, as arguments; `comment` is rendered first, as kube-proxy does. */
export interface Rule {
  readonly comment?: string;
  readonly match: readonly string[];
  /** Empty = the rule decides nothing. */
  readonly target: readonly string[];
}

/** Chain → its rules, in order. A chain with no rules is there and empty. */
export type Chains = ReadonlyMap<string, readonly Rule[]>;

export interface RuleSet {
  readonly filter: Chains;
  readonly nat: Chains;
}

export interface RuleSettings extends Place {
  readonly family: Family;
  /** Sources inside it are pods; undefined = nobody can tell. */
  readonly clusterCidr?: string;
  readonly masqueradeAll: boolean;
  /** Bit of the packet mark, 14 by default. */
  readonly masqueradeBit: number;
  /** iptables from 1.6.2 knows `--random-fully`. */
  readonly randomFully: boolean;
  readonly localhostNodePorts: boolean;
  /** Where NodePorts are answered: every local address, or these. */
  readonly nodePortIps: "all" | readonly string[];
  /** Primary address of this node: decides whether source ranges admit the node itself. */
  readonly nodeIp?: string;
  /** False where nf_conntrack_tcp_be_liberal is on. */
  readonly dropInvalid: boolean;
}

/** Collects rules chain by chain; lives only while one rule set is computed. */
export interface RuleSink {
  /** Makes the chain if it is new, and appends the rules. */
  add(table: "filter" | "nat", chainName: string, ...rules: readonly Rule[]): void;
}

/** Shorthand for a rule. */
export function rule(
  comment: string | undefined,
  match: readonly string[],
  ...target: readonly string[]
): Rule {
  return { ...(comment === undefined ? {} : { comment }), match, target };
}
