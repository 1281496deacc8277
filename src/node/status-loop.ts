/**
 * One turn of the node status loop: look at the Node and the machine, compute the status, and patch it when it
 * changed or the last report is too old. Throws what the API throws; the node loop decides to retry.
 */

import type { ApiClient } from "../api/client.ts";
import { NODES } from "../api/resources.ts";
import type { Node, NodeStatus } from "../api/types.ts";
import { computeStatusPatch, isStatusChanged } from "./status-patch.ts";

export interface StatusTurn {
  readonly nodeName: string;
  /** Milliseconds since a status was last written; Infinity when never. */
  readonly sinceReportMs: number;
  /** nodeStatusReportFrequency: how often an unchanged status is written. */
  readonly reportFrequencyMs: number;
  /** True when what the Node object says is to stand for now. */
  readonly isHeld: (previous: NodeStatus) => boolean;
  readonly compute: (previous: NodeStatus) => NodeStatus;
}

export type StatusResult =
  | { readonly kind: "unchanged" | "held"; readonly node: Node }
  | {
      readonly kind: "written";
      readonly node: Node;
      readonly previous: NodeStatus;
      readonly status: NodeStatus;
    };

export async function syncNodeStatus(
  client: ApiClient,
  turn: StatusTurn,
  signal: AbortSignal,
): Promise<StatusResult> {
  const ref = { name: turn.nodeName };
  const node = await client.get(NODES, ref, signal);
  const previous = node.status ?? {};
  if (turn.isHeld(previous)) return { kind: "held", node };
  const status = turn.compute(previous);
  if (turn.sinceReportMs < turn.reportFrequencyMs && !isStatusChanged(previous, status))
    return { kind: "unchanged", node };
  const written = await client.patch(
    NODES,
    { ...ref, subresource: "status", type: "strategic" },
    computeStatusPatch(previous, status),
    signal,
  );
  return { kind: "written", node: written, previous, status };
}
