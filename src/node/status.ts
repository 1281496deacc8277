/**
 * The part of a Node's status that Longshore owns, computed from one snapshot. Pure: the time comes in as text, the
 * previous status tells when each condition last changed. Reasons and messages are the kubelet's, word for word.
 */

import type { NodeCondition, NodeStatus } from "../api/types.ts";
import type { Image, RuntimeHandler } from "../runtime/runtime.ts";
import { type Capacity, toResourceList } from "./quantities.ts";

export type NodeSystemInfo = NonNullable<NodeStatus["nodeInfo"]>;

export interface NodeStatusInput {
  /** RFC 3339. */
  readonly now: string;
  readonly hostname: string;
  readonly nodeIps: readonly string[];
  readonly capacity: Capacity;
  /** Result of computeAllocatable. */
  readonly allocatable: Capacity;
  readonly nodeInfo: NodeSystemInfo;
  readonly images: readonly Image[];
  readonly handlers: readonly RuntimeHandler[];
  /** The largest ones are told; -1 = all. */
  readonly maxImages: number;
  readonly kubeletPort: number;
  /** What keeps the node from being ready, one sentence each; empty = ready. */
  readonly problems: readonly string[];
  /** Features of `status.declaredFeatures`; only what is true. */
  readonly declaredFeatures: readonly string[];
  /** The status the API server has. */
  readonly previous: NodeStatus;
}

/** kubelet's MaxNamesPerImageInNodeStatus. */
const MAX_NAMES_PER_IMAGE = 5;

/** What pods may ask of this runtime. */
const FEATURES = { supplementalGroupsPolicy: true };

type ConditionVerdict = Pick<NodeCondition, "type" | "status" | "reason" | "message">;

const NO_PRESSURE: readonly ConditionVerdict[] = [
  {
    type: "MemoryPressure",
    status: "False",
    reason: "KubeletHasSufficientMemory",
    message: "kubelet has sufficient memory available",
  },
  {
    type: "DiskPressure",
    status: "False",
    reason: "KubeletHasNoDiskPressure",
    message: "kubelet has no disk pressure",
  },
  {
    type: "PIDPressure",
    status: "False",
    reason: "KubeletHasSufficientPID",
    message: "kubelet has sufficient PID available",
  },
];

export function computeNodeStatus(input: NodeStatusInput): NodeStatus {
  return {
    addresses: [
      ...input.nodeIps.map((address) => ({ type: "InternalIP", address })),
      { type: "Hostname", address: input.hostname },
    ],
    capacity: { ...toResourceList(input.capacity) },
    allocatable: { ...toResourceList(input.allocatable) },
    conditions: computeConditions(input),
    nodeInfo: input.nodeInfo,
    features: FEATURES,
    runtimeHandlers: input.handlers.map(({ name, recursiveReadOnlyMounts }) => ({
      name,
      features: { recursiveReadOnlyMounts, userNamespaces: false },
    })),
    daemonEndpoints: { kubeletEndpoint: { Port: input.kubeletPort } },
    images: computeImages(input.images, input.maxImages),
    ...(input.declaredFeatures.length === 0
      ? {}
      : { declaredFeatures: [...new Set(input.declaredFeatures)].sort() }),
  };
}

function computeConditions(input: NodeStatusInput): NodeCondition[] {
  return [...NO_PRESSURE, readyVerdict(input.problems)].map((verdict) => {
    const before = input.previous.conditions?.find(({ type }) => type === verdict.type);
    const isSame = before?.status === verdict.status;
    return {
      ...verdict,
      lastHeartbeatTime: input.now,
      lastTransitionTime: isSame ? (before.lastTransitionTime ?? input.now) : input.now,
    };
  });
}

function readyVerdict(problems: readonly string[]): ConditionVerdict {
  if (problems.length === 0)
    return {
      type: "Ready",
      status: "True",
      reason: "KubeletReady",
      message: "kubelet is posting ready status",
    };
  return {
    type: "Ready",
    status: "False",
    reason: "KubeletNotReady",
    message: problems.length === 1 ? `${problems[0]}` : `[${problems.join(", ")}]`,
  };
}

function computeImages(images: readonly Image[], max: number): NonNullable<NodeStatus["images"]> {
  return images
    .map(({ digests, tags, sizeBytes }) => ({
      names: [...digests, ...tags].slice(0, MAX_NAMES_PER_IMAGE),
      sizeBytes,
    }))
    .filter(({ names }) => names.length > 0)
    .sort((a, b) => b.sizeBytes - a.sizeBytes || compareText(a.names[0], b.names[0]))
    .slice(0, max === -1 ? images.length : max);
}

function compareText(a = "", b = ""): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

const TRANSITION_EVENTS: Readonly<
  Record<string, { readonly True: string; readonly False: string }>
> = {
  MemoryPressure: { True: "NodeHasInsufficientMemory", False: "NodeHasSufficientMemory" },
  DiskPressure: { True: "NodeHasDiskPressure", False: "NodeHasNoDiskPressure" },
  PIDPressure: { True: "NodeHasInsufficientPID", False: "NodeHasSufficientPID" },
  Ready: { True: "NodeReady", False: "NodeNotReady" },
};

/** Event reasons for the conditions whose status differs between two statuses, in the order of `next`. */
export function computeTransitionEvents(previous: NodeStatus, next: NodeStatus): readonly string[] {
  return (next.conditions ?? []).flatMap(({ type, status }) => {
    const before = previous.conditions?.find((condition) => condition.type === type);
    const reason = TRANSITION_EVENTS[type]?.[status === "True" ? "True" : "False"];
    return before?.status === status || reason === undefined ? [] : [reason];
  });
}
