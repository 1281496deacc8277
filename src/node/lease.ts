/**
 * The node's heartbeat: a Lease in kube-node-lease, renewed each quarter of its duration. One call is one turn; the
 * node loop decides when the next one is. Another holder is overwritten, as the kubelet does.
 */

import type { ApiClient } from "../api/client.ts";
import { LEASES } from "../api/resources.ts";
import type { Lease, Node } from "../api/types.ts";
import { hasCode } from "../core/errors.ts";

const NAMESPACE = "kube-node-lease";

/** kubelet's fraction: a lease of 40 s is renewed each 10 s. */
const RENEW_FRACTION = 0.25;

export function renewIntervalMs(leaseDurationSeconds: number): number {
  return leaseDurationSeconds * 1000 * RENEW_FRACTION;
}

export interface LeaseInput {
  readonly node: Node;
  readonly durationSeconds: number;
  /** MicroTime. */
  readonly now: string;
  /** The lease as last seen. */
  readonly previous: Lease | undefined;
}

/** The body to write: POST when there was none, else PUT with the resourceVersion last seen. */
function computeLease(input: LeaseInput): object {
  const { node, previous } = input;
  const { name, uid } = node.metadata;
  return {
    ...previous,
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: {
      ...previous?.metadata,
      name,
      namespace: NAMESPACE,
      ownerReferences: [{ apiVersion: "v1", kind: "Node", name, uid }],
    },
    spec: {
      ...previous?.spec,
      holderIdentity: name,
      leaseDurationSeconds: input.durationSeconds,
      renewTime: input.now,
    },
  };
}

/** Writes the lease and returns it. A lease that changed or vanished meanwhile is looked at once more. */
export async function renewLease(
  client: ApiClient,
  input: LeaseInput,
  signal: AbortSignal,
): Promise<Lease> {
  if (input.previous !== undefined) {
    try {
      return await writeLease(client, input, signal);
    } catch (error) {
      if (!hasCode(error, "ApiConflict", "ApiNotFound")) throw error;
    }
  }
  const previous = await findLease(client, input.node.metadata.name, signal);
  return writeLease(client, { ...input, previous }, signal);
}

async function findLease(
  client: ApiClient,
  name: string,
  signal: AbortSignal,
): Promise<Lease | undefined> {
  try {
    return await client.get(LEASES, { namespace: NAMESPACE, name }, signal);
  } catch (error) {
    if (hasCode(error, "ApiNotFound")) return undefined;
    throw error;
  }
}

function writeLease(client: ApiClient, input: LeaseInput, signal: AbortSignal): Promise<Lease> {
  const body = computeLease(input);
  const ref = { namespace: NAMESPACE, name: input.node.metadata.name };
  return input.previous === undefined
    ? client.create(LEASES, NAMESPACE, body, signal)
    : client.update(LEASES, ref, body, signal);
}
