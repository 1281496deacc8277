/** What pods needs to know of the node it runs on; provided by agent.ts from node/, read anew each time. */

import type { Node } from "../api/types.ts";

export type Taint = NonNullable<NonNullable<Node["spec"]>["taints"]>[number];

export interface NodeFacts {
  readonly hostIps: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly Taint[];
  /** cpu in millicores, memory and ephemeral-storage in bytes; what others report of the Node in whole units. */
  readonly allocatable: Readonly<Record<string, number>>;
  readonly hasAppArmor: boolean;
  readonly hasSeLinux: boolean;
  /** Names of the runtime handlers that can mount recursively read-only; the default one has none. */
  readonly recursiveReadOnlyHandlers: readonly string[];
  /** Names and `beginnings*` of namespaced kernel parameters allowed besides the safe ones. */
  readonly allowedUnsafeSysctls: readonly string[];
  /** Bytes of the machine. */
  readonly memoryCapacity: number;
  /** Text of the node's /etc/hosts. */
  readonly etcHosts: string;
}
