/** The planner of volumes by table, and by property: from any interrupted point it ends in the empty plan. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { MountEntry } from "../../../src/volumes/mountinfo.ts";
import { createPayload, hashPayload } from "../../../src/volumes/payload.ts";
import {
  computeTeardownSteps,
  computeVolumeSteps,
  type DesiredVolume,
  type EntryKind,
  type HostPathType,
  type ObservedVolume,
  type VolumeStep,
} from "../../../src/volumes/plan.ts";

const path = "/pods/u/volumes/kubernetes.io~secret/s";
const payload = createPayload([["k", { data: Buffer.from("v"), mode: 0o644 }]]);
const contentHash = hashPayload(payload);
const secret: DesiredVolume = { kind: "files", name: "s", path, onTmpfs: true, payload };
const disk: DesiredVolume = { kind: "directory", name: "d", path };
const memory: DesiredVolume = { kind: "memory", name: "m", path, sizeBytes: 4096 };
const mountAt = (mountPoint: string, superOptions = "rw,size=1024k"): MountEntry => ({
  mountPoint,
  fstype: "tmpfs",
  superOptions,
  isShared: false,
});
const mount = mountAt(path);

const CASES: readonly (readonly [string, DesiredVolume, ObservedVolume, readonly string[]])[] = [
  ["an absent emptyDir is made", disk, { entry: "absent" }, ["make-directory"]],
  ["an emptyDir that exists is left alone", disk, { entry: "directory" }, []],
  ["a link in the place of an emptyDir is refused", disk, { entry: "other" }, ["refuse"]],
  ["a memory volume is mounted", memory, { entry: "absent" }, ["make-directory", "mount-tmpfs"]],
  ["one that lost its mount is mounted again", memory, { entry: "directory" }, ["mount-tmpfs"]],
  ["a mounted memory volume is left alone", memory, { entry: "directory", mount }, []],
  [
    "a secret is mounted before it is written",
    secret,
    { entry: "absent" },
    ["make-directory", "mount-tmpfs", "write-files"],
  ],
  [
    "a secret whose mount was lost is written again though its hash is known",
    secret,
    { entry: "directory", contentHash },
    ["mount-tmpfs", "write-files"],
  ],
  ["a changed secret is written", secret, { entry: "directory", mount }, ["write-files"]],
  ["an unchanged secret is left alone", secret, { entry: "directory", mount, contentHash }, []],
  [
    "a tmpfs too small for its content grows first",
    secret,
    { entry: "directory", mount: mountAt(path, "rw,size=4k"), contentHash },
    ["mount-tmpfs", "write-files"],
  ],
];

describe("computeVolumeSteps", () => {
  it.each(CASES)("%s", (_name, desired, observed, kinds) => {
    expect(computeVolumeSteps(desired, observed).map(({ kind }) => kind)).toEqual(kinds);
  });

  it.each<readonly [HostPathType, EntryKind, string]>([
    ["", "absent", "make-host-directory"],
    ["", "socket", ""],
    ["DirectoryOrCreate", "absent", "make-host-directory"],
    ["DirectoryOrCreate", "directory", ""],
    ["DirectoryOrCreate", "file", "hostPath type check failed: /h is not a directory"],
    ["Directory", "absent", "hostPath type check failed: /h is not a directory"],
    ["FileOrCreate", "absent", "make-host-file"],
    ["File", "directory", "hostPath type check failed: /h is not a file"],
    ["Socket", "file", "hostPath type check failed: /h is not a socket file"],
    ["Socket", "socket", ""],
    ["CharDevice", "block-device", "hostPath type check failed: /h is not a character device"],
    ["BlockDevice", "char-device", "hostPath type check failed: /h is not a block device"],
  ])("hostPath of type %j that is %s gives %j", (type, entry, expected) => {
    const desired: DesiredVolume = { kind: "host-path", name: "h", path: "/h", type };
    const [step] = computeVolumeSteps(desired, { entry });
    expect(step?.kind === "refuse" ? step.message : (step?.kind ?? "")).toBe(expected);
  });

  it("converges from any point at which it was interrupted", () => {
    const desires = fc.constantFrom(disk, memory, secret);
    const entries = fc.constantFrom<EntryKind>("absent", "directory");
    const cuts = fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 6 });
    fc.assert(
      fc.property(desires, entries, fc.boolean(), cuts, (desired, entry, isMounted, stops) => {
        let observed: ObservedVolume =
          isMounted && entry === "directory" ? { entry, mount } : { entry };
        for (const stop of [...stops, 3]) {
          const steps = computeVolumeSteps(desired, observed);
          for (const step of steps.slice(0, stop)) observed = applyOnPaper(observed, step);
        }
        expect(computeVolumeSteps(desired, observed)).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });
});

function applyOnPaper(observed: ObservedVolume, step: VolumeStep): ObservedVolume {
  if (step.kind === "make-directory") return { ...observed, entry: "directory" };
  if (step.kind === "mount-tmpfs")
    return { entry: "directory", mount: mountAt(path, `rw,size=${(step.sizeBytes ?? 0) / 1024}k`) };
  if (step.kind === "write-files") return { ...observed, contentHash: hashPayload(step.payload) };
  throw new Error(`unexpected ${step.kind}`);
}

describe("computeTeardownSteps", () => {
  const mounts = ["/", "/pods/u/a", "/pods/u/a/b", "/pods/u2/x", "/pods/u/a/b"].map((at) =>
    mountAt(at),
  );

  it("unmounts what is inside, deepest first and each layer of a stack, and touches no other pod", () => {
    const isRemote = false;
    expect(computeTeardownSteps("/pods/u", mounts, true)).toEqual([
      { kind: "unmount", path: "/pods/u/a/b", isRemote },
      { kind: "unmount", path: "/pods/u/a/b", isRemote },
      { kind: "unmount", path: "/pods/u/a", isRemote },
    ]);
  });

  it("knows what may wait for a server by its type, a part of it too, and by its place", () => {
    const remote = ["/pods/u/volumes/kubernetes.io~nfs/v", "/pods/u/volume-subpaths/v/c/0"];
    const entries = [mountAt(remote[0] ?? ""), { ...mountAt(remote[1] ?? ""), fstype: "nfs4" }];
    const steps = computeTeardownSteps("/pods/u", entries, true);
    expect(steps).toEqual(
      remote.toReversed().map((path) => ({ kind: "unmount", path, isRemote: true })),
    );
  });

  it("removes the tree only when nothing is mounted in it", () => {
    expect(computeTeardownSteps("/pods/u3", mounts, true)).toEqual([
      { kind: "remove-tree", path: "/pods/u3" },
    ]);
    expect(computeTeardownSteps("/pods/u3", mounts, false)).toEqual([]);
  });
});
