/**
 * Where the cgroups of pods are: kubepods, the two classes below it, a pod's own; as the Engine wants them named and as
 * directories, for both drivers. Pure.
 */

import type { QosClass } from "../api/pod-resources.ts";

export type CgroupDriver = "cgroupfs" | "systemd";

/** Node → class → pod: the parts of a cgroup's name from the top. */
export type CgroupName = readonly string[];

export const NODE_CGROUP: CgroupName = ["kubepods"];
export const BURSTABLE: CgroupName = [...NODE_CGROUP, "burstable"];
export const BEST_EFFORT: CgroupName = [...NODE_CGROUP, "besteffort"];

const CLASS: Readonly<Record<QosClass, CgroupName>> = {
  Guaranteed: NODE_CGROUP,
  Burstable: BURSTABLE,
  BestEffort: BEST_EFFORT,
};

export function podCgroup(podUid: string, qosClass: QosClass): CgroupName {
  return [...CLASS[qosClass], `pod${podUid}`];
}

/** A dash separates the parts of a slice's name, so it cannot be in one. */
function sliceName(name: CgroupName): string {
  return `${name.map((part) => part.replaceAll("-", "_")).join("-")}.slice`;
}

/** What the Engine takes as the parent of a container. */
export function engineParent(driver: CgroupDriver, name: CgroupName): string {
  return driver === "systemd" ? sliceName(name) : `/${name.join("/")}`;
}

/** Below the root of the hierarchy. */
export function cgroupPath(driver: CgroupDriver, name: CgroupName): string {
  if (driver === "cgroupfs") return name.join("/");
  return name.map((_, index) => sliceName(name.slice(0, index + 1))).join("/");
}

/** Where in its pod's directory the Engine puts a container. */
export function containerDirectory(driver: CgroupDriver, containerId: string): string {
  return driver === "systemd" ? `docker-${containerId}.scope` : containerId;
}

/** The UID of the pod that a directory is of; undefined for what is no pod's. */
export function podUidOf(driver: CgroupDriver, directory: string): string | undefined {
  const own = driver === "systemd" ? directory.replace(/^.*-(?=pod)|\.slice$/g, "") : directory;
  if (!own.startsWith("pod") || own === "pod") return undefined;
  const uid = own.slice("pod".length);
  return driver === "systemd" ? uid.replaceAll("_", "-") : uid;
}
