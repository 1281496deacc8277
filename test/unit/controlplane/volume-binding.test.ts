/** Which PersistentVolume a claim gets: by table over one claim and a shelf of volumes. */

import { expect, test } from "vitest";
import type { PersistentVolume, PersistentVolumeClaim } from "../../../src/api/types.ts";
import { findVolume } from "../../../src/controlplane/controllers/volume-binding.ts";

type ClaimSpec = NonNullable<PersistentVolumeClaim["spec"]>;
type VolumeSpec = NonNullable<PersistentVolume["spec"]>;

const CLAIM: ClaimSpec = {
  accessModes: ["ReadWriteOnce"],
  resources: { requests: { storage: "5Gi" } },
};
const VOLUME: VolumeSpec = { accessModes: ["ReadWriteOnce"], capacity: { storage: "10Gi" } };

const claimWith = (change: ClaimSpec): PersistentVolumeClaim => ({
  ...{ apiVersion: "v1", kind: "PersistentVolumeClaim" },
  metadata: { namespace: "d", name: "c", uid: "u", resourceVersion: "1" },
  spec: { ...CLAIM, ...change },
});

const volumeWith = (name: string, change: VolumeSpec, labels = {}): PersistentVolume => ({
  ...{ apiVersion: "v1", kind: "PersistentVolume" },
  metadata: { name, uid: name, resourceVersion: "1", labels },
  spec: { ...VOLUME, ...change },
});

const BIG = volumeWith("big", {}, { disk: "ssd" });
const kept = (claimRef: VolumeSpec["claimRef"]) => volumeWith("kept", { claimRef: claimRef ?? {} });

test.each<[string, ClaimSpec, readonly PersistentVolume[], string | undefined]>([
  ["nothing where there is nothing", {}, [], undefined],
  ["what fits", {}, [BIG], "big"],
  [
    "the smallest that is big enough",
    {},
    [
      BIG,
      volumeWith("s", { capacity: { storage: "1Gi" } }),
      volumeWith("m", { capacity: { storage: "5120Mi" } }),
    ],
    "m",
  ],
  ["no other access mode", { accessModes: ["ReadWriteMany"] }, [BIG], undefined],
  ["no other class", { storageClassName: "fast" }, [BIG], undefined],
  ["its class", { storageClassName: "fast" }, [volumeWith("f", { storageClassName: "fast" })], "f"],
  ["no volume of another mode", { volumeMode: "Block" }, [BIG], undefined],
  ["what its labels select", { selector: { matchLabels: { disk: "ssd" } } }, [BIG], "big"],
  ["nothing its labels refuse", { selector: { matchLabels: { disk: "hdd" } } }, [BIG], undefined],
  [
    "what its expressions select",
    {
      selector: {
        matchExpressions: [
          { key: "disk", operator: "In", values: ["ssd"] },
          { key: "zone", operator: "DoesNotExist" },
          { key: "disk", operator: "NotIn", values: ["hdd"] },
        ],
      },
    },
    [BIG],
    "big",
  ],
  [
    "nothing without a label that must be there",
    { selector: { matchExpressions: [{ key: "zone", operator: "Exists" }] } },
    [BIG],
    undefined,
  ],
  [
    "what is kept for it before what is smaller",
    {},
    [volumeWith("a", { capacity: { storage: "5Gi" } }), kept({ namespace: "d", name: "c" })],
    "kept",
  ],
  ["nothing kept for another", {}, [kept({ namespace: "e", name: "c" })], undefined],
  [
    "nothing of a claim that had its name",
    {},
    [kept({ namespace: "d", name: "c", uid: "old" })],
    undefined,
  ],
  [
    "what it is bound to already",
    { volumeName: "kept" },
    [BIG, kept({ namespace: "d", name: "c", uid: "u" })],
    "kept",
  ],
  [
    "what it names, whatever its size",
    { volumeName: "big", resources: { requests: { storage: "1Ti" } } },
    [BIG],
    "big",
  ],
  [
    "nothing it names that is another's",
    { volumeName: "kept" },
    [kept({ namespace: "d", name: "x" })],
    undefined,
  ],
])("a claim gets %s", (_sentence, change, volumes, expected) => {
  expect(findVolume(claimWith(change), volumes)?.metadata.name).toBe(expected);
});
