/**
 * The Node object: made when it is absent, its default labels corrected when it exists. Taints and the operator's
 * labels are set at creation only, as NodeRestriction and the kubelet have it. Called by the node loop.
 */

import type { ApiClient } from "../api/client.ts";
import { NODES } from "../api/resources.ts";
import type { Node } from "../api/types.ts";
import { hasCode } from "../core/errors.ts";

export interface NodeTaint {
  readonly key: string;
  readonly value?: string;
  readonly effect: "NoSchedule" | "PreferNoSchedule" | "NoExecute";
}

export interface Registration {
  readonly nodeName: string;
  readonly architecture: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly NodeTaint[];
  /** Empty = none. */
  readonly providerID: string;
}

type DefaultLabels = Readonly<Record<string, string>>;

/** Labels that Longshore owns on every Node, also on one that somebody else made. */
export function computeDefaultLabels(nodeName: string, architecture: string): DefaultLabels {
  return {
    "kubernetes.io/hostname": nodeName,
    "kubernetes.io/os": "linux",
    "kubernetes.io/arch": architecture,
  };
}

/** The body of POST nodes. The status follows at once as a patch, so that its transitions are seen and told. */
export function computeNode(registration: Registration): object {
  const { nodeName, architecture, labels, taints, providerID } = registration;
  return {
    apiVersion: "v1",
    kind: "Node",
    metadata: {
      name: nodeName,
      labels: { ...labels, ...computeDefaultLabels(nodeName, architecture) },
    },
    spec: {
      ...(taints.length === 0 ? {} : { taints }),
      ...(providerID === "" ? {} : { providerID }),
    },
  };
}

/** The merge patch that corrects the labels of an existing Node; undefined when they are right. */
export function computeLabelPatch(node: Node, wanted: DefaultLabels): object | undefined {
  const present = node.metadata.labels ?? {};
  const wrong = Object.entries(wanted).filter(([key, value]) => present[key] !== value);
  return wrong.length === 0 ? undefined : { metadata: { labels: Object.fromEntries(wrong) } };
}

/** Returns the Node as the API server has it, created or corrected. */
export async function ensureNode(
  client: ApiClient,
  registration: Registration,
  signal: AbortSignal,
): Promise<Node> {
  const ref = { name: registration.nodeName };
  try {
    return await client.create(NODES, undefined, computeNode(registration), signal);
  } catch (error) {
    if (!hasCode(error, "ApiAlreadyExists")) throw error;
  }
  const node = await client.get(NODES, ref, signal);
  const wanted = computeDefaultLabels(registration.nodeName, registration.architecture);
  const patch = computeLabelPatch(node, wanted);
  if (patch === undefined) return node;
  return client.patch(NODES, { ...ref, type: "strategic" }, patch, signal);
}
