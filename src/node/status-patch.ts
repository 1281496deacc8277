/**
 * The strategic merge patch from the status an API server has to the one computed. Pure. Holds only what Longshore
 * owns: conditions and resources of others are not mentioned, so they survive. Used by status-loop.ts.
 */

import type { NodeStatus } from "../api/types.ts";
import { canonicalJson } from "../core/hash.ts";

type Addresses = NonNullable<NodeStatus["addresses"]>;
type Resources = Readonly<Record<string, string | number>>;

/** True when the two differ in anything of ours but the heartbeat times. */
export function isStatusChanged(previous: NodeStatus, next: NodeStatus): boolean {
  return canonicalJson(comparable(previous, next)) !== canonicalJson(comparable(next, next));
}

/** What of `status` Longshore owns, judged by what it would write. */
function comparable(status: NodeStatus, own: NodeStatus): object {
  const ownTypes = (own.conditions ?? []).map(({ type }) => type);
  return {
    conditions: ownTypes.map((type) => {
      const found = status.conditions?.find((condition) => condition.type === type);
      return [found?.type, found?.status, found?.reason, found?.message];
    }),
    capacity: ownResources(status.capacity, own.capacity),
    allocatable: ownResources(status.allocatable, own.allocatable),
    addresses: status.addresses ?? [],
    nodeInfo: pick(status.nodeInfo ?? {}, Object.keys(own.nodeInfo ?? {})),
    port: status.daemonEndpoints?.kubeletEndpoint?.Port,
    images: status.images ?? [],
    declaredFeatures: status.declaredFeatures ?? [],
  };
}

function pick(from: object, keys: readonly string[]): object {
  return Object.fromEntries(
    Object.entries(from).filter(([key, value]) => keys.includes(key) && value !== ""),
  );
}

function isOwnResource(name: string, own: Resources): boolean {
  return name in own || name.startsWith("hugepages-");
}

function ownResources(resources: Resources = {}, own: Resources = {}): object {
  return Object.fromEntries(Object.entries(resources).filter(([name]) => isOwnResource(name, own)));
}

/** The body of PATCH nodes/NAME/status. */
export function computeStatusPatch(previous: NodeStatus, next: NodeStatus): { status: object } {
  return {
    status: {
      conditions: next.conditions,
      capacity: patchResources(previous.capacity, next.capacity),
      allocatable: patchResources(previous.allocatable, next.allocatable),
      addresses: patchAddresses(previous.addresses ?? [], next.addresses ?? []),
      nodeInfo: next.nodeInfo,
      daemonEndpoints: next.daemonEndpoints,
      images: next.images,
      // Not compared: an API server before 1.31 forgets them.
      features: next.features,
      runtimeHandlers: next.runtimeHandlers,
      ...patchFeatures(previous, next),
    },
  };
}

function patchFeatures(previous: NodeStatus, next: NodeStatus): object {
  if (next.declaredFeatures !== undefined) return { declaredFeatures: next.declaredFeatures };
  return previous.declaredFeatures === undefined ? {} : { declaredFeatures: null };
}

/** Our values, and null for huge page sizes that the kernel no longer has. */
function patchResources(previous: Resources = {}, next: Resources = {}): object {
  const gone = Object.keys(previous).filter((name) => isOwnResource(name, next) && !(name in next));
  return { ...next, ...Object.fromEntries(gone.map((name) => [name, null])) };
}

/**
 * Addresses merge by type, which loses all but one of two InternalIPs and keeps those that are gone. The kubelet
 * replaces the list then, and so does this.
 */
function patchAddresses(previous: Addresses, next: Addresses): readonly object[] {
  const types = next.map(({ type }) => type);
  const isMergeSafe =
    new Set(types).size === types.length && previous.every(({ type }) => types.includes(type));
  const isFresh = previous.length === 0;
  return isFresh || (isMergeSafe && previous.length <= next.length)
    ? next
    : [...next, { $patch: "replace" }];
}
