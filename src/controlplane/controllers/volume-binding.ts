/**
 * Which PersistentVolume a claim gets: of those that are free and fit the smallest, or the one it names. Pure. Called by
 * volumes.ts.
 */

import type { PersistentVolume, PersistentVolumeClaim } from "../../api/types.ts";
import { comparableQuantity } from "../quantity.ts";

type Claim = PersistentVolumeClaim;
type Volume = PersistentVolume;

/** True where the volume is bound to this claim, or kept for it by name. */
export function isFor(volume: Volume, claim: Claim): boolean {
  const ref = volume.spec?.claimRef;
  return (
    ref !== undefined &&
    ref.namespace === claim.metadata.namespace &&
    ref.name === claim.metadata.name &&
    (ref.uid === undefined || ref.uid === "" || ref.uid === claim.metadata.uid)
  );
}

export function findVolume(claim: Claim, volumes: readonly Volume[]): Volume | undefined {
  const named = claim.spec?.volumeName;
  if (named) {
    const found = volumes.find(({ metadata }) => metadata.name === named);
    return found !== undefined && isFree(found, claim) ? found : undefined;
  }
  const fitting = volumes.filter((volume) => isFree(volume, claim) && fits(volume, claim));
  const kept = fitting.find((volume) => isFor(volume, claim));
  return kept ?? fitting.toSorted((a, b) => compare(capacityOf(a), capacityOf(b)))[0];
}

function isFree(volume: Volume, claim: Claim): boolean {
  if (volume.metadata.deletionTimestamp !== undefined) return false;
  return volume.spec?.claimRef === undefined || isFor(volume, claim);
}

function fits({ metadata, spec: volume = {} }: Volume, { spec: claim = {} }: Claim): boolean {
  const asked = comparableQuantity(claim.resources?.requests?.storage ?? 0) ?? 0n;
  const has = comparableQuantity(volume.capacity?.storage ?? 0) ?? 0n;
  return (
    has >= asked &&
    (volume.storageClassName ?? "") === (claim.storageClassName ?? "") &&
    (volume.volumeMode ?? "Filesystem") === (claim.volumeMode ?? "Filesystem") &&
    (claim.accessModes ?? []).every((mode) => volume.accessModes?.includes(mode)) &&
    isSelected(metadata.labels ?? {}, claim.selector)
  );
}

function isSelected(
  labels: Readonly<Record<string, string>>,
  selector: NonNullable<Claim["spec"]>["selector"],
): boolean {
  const { matchLabels = {}, matchExpressions = [] } = selector ?? {};
  return (
    Object.entries(matchLabels).every(([key, value]) => labels[key] === value) &&
    matchExpressions.every(({ key, operator, values = [] }) => {
      const value = labels[key];
      if (operator === "Exists") return value !== undefined;
      if (operator === "DoesNotExist") return value === undefined;
      const isIn = value !== undefined && values.includes(value);
      return operator === "In" ? isIn : !isIn;
    })
  );
}

function capacityOf({ spec }: Volume): bigint {
  return comparableQuantity(spec?.capacity?.storage ?? 0) ?? 0n;
}

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
