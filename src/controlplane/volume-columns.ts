/** The tables of PersistentVolumes and claims, as the API server prints them. Pure; called by table.ts. */

import { type KubeObject, listAt, textAt } from "./objects.ts";
import {
  AGE,
  column,
  creationAge,
  NAME,
  type TableView,
  textOr,
  wideColumn,
} from "./table-view.ts";

const UNSET = "<unset>";
const SHORT_MODES: Readonly<Record<string, string>> = {
  ReadWriteOnce: "RWO",
  ReadOnlyMany: "ROX",
  ReadWriteMany: "RWX",
  ReadWriteOncePod: "RWOP",
};

export const CLAIM_VIEW: TableView = {
  columns: [
    NAME,
    column("Status", "phase represents the current phase of PersistentVolumeClaim."),
    column("Volume", "The PersistentVolume that the claim is bound to."),
    column("Capacity", "The size of the bound volume."),
    column("Access Modes", "How the bound volume may be mounted."),
    column("StorageClass", "The class that the claim asks for."),
    column("VolumeAttributesClass", "The class of attributes that the claim asks for."),
    AGE,
    wideColumn("VolumeMode", "Whether the volume is a file system or a device."),
  ],
  cells: (claim, nowMs) => [
    claim.metadata.name,
    claim.metadata.deletionTimestamp === undefined
      ? textAt(claim, "status", "phase")
      : "Terminating",
    textAt(claim, "spec", "volumeName"),
    textAt(claim, "status", "capacity", "storage"),
    modesOf(claim, "status"),
    textAt(claim, "spec", "storageClassName"),
    textOr(UNSET, claim, "spec", "volumeAttributesClassName"),
    creationAge(claim, nowMs),
    textOr(UNSET, claim, "spec", "volumeMode"),
  ],
};

export const VOLUME_VIEW: TableView = {
  columns: [
    NAME,
    column("Capacity", "The size of the volume."),
    column("Access Modes", "How the volume may be mounted."),
    column("Reclaim Policy", "What becomes of the volume when its claim goes."),
    column("Status", "phase indicates if a volume is available, bound to a claim, or released."),
    column("Claim", "The claim that the volume is bound to."),
    column("StorageClass", "The class that the volume is of."),
    column("VolumeAttributesClass", "The class of the volume's attributes."),
    column("Reason", "Why the volume failed."),
    AGE,
    wideColumn("VolumeMode", "Whether the volume is a file system or a device."),
  ],
  cells: (volume, nowMs) => [
    volume.metadata.name,
    textAt(volume, "spec", "capacity", "storage"),
    modesOf(volume, "spec"),
    textAt(volume, "spec", "persistentVolumeReclaimPolicy"),
    volume.metadata.deletionTimestamp === undefined
      ? textAt(volume, "status", "phase")
      : "Terminating",
    claimOf(volume),
    textAt(volume, "spec", "storageClassName"),
    textOr(UNSET, volume, "spec", "volumeAttributesClassName"),
    textAt(volume, "status", "reason"),
    creationAge(volume, nowMs),
    textOr(UNSET, volume, "spec", "volumeMode"),
  ],
};

function modesOf(object: KubeObject, part: "spec" | "status"): string {
  return listAt(object, part, "accessModes")
    .map((mode) => SHORT_MODES[String(mode)] ?? "")
    .join(",");
}

function claimOf(volume: KubeObject): string {
  const name = textAt(volume, "spec", "claimRef", "name");
  return name === "" ? "" : `${textAt(volume, "spec", "claimRef", "namespace")}/${name}`;
}
