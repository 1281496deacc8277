import { describe, expect, test } from "vitest";
import type { Node, Pod } from "../../../../src/api/types.ts";
import { planMirror, toMirror, withStatusOf } from "../../../../src/pods/static/mirror.ts";
import { makePod } from "../support.ts";

const UID = "0123456789abcdef0123456789abcdef";
const node = { metadata: { name: "n1", uid: "node-uid", resourceVersion: "1" } } as Node;
const pod = makePod(
  { nodeName: "n1" },
  { uid: UID, resourceVersion: "0", annotations: { "kubernetes.io/config.hash": UID } },
);

function makeMirror(metadata: object = {}, status: Pod["status"] = {}): Pod {
  const annotations = { ...pod.metadata.annotations, "kubernetes.io/config.mirror": UID };
  const own = { uid: "api-uid", resourceVersion: "7", annotations, ...metadata };
  return { ...makePod(pod.spec, own), status };
}

const stored = makeMirror();
const old = makeMirror({ annotations: { "kubernetes.io/config.mirror": "other" } });
const user = makePod(pod.spec, { uid: "api-uid" });
const dying = makeMirror({ deletionTimestamp: "2026-01-01T00:00:00Z" });

describe("the mirror of a static pod", () => {
  test.each<[string, string, Pod | undefined, Pod | undefined, boolean]>([
    ["is made when there is none", "create", pod, undefined, false],
    ["stays when it is right", "none", pod, stored, false],
    ["goes when it is of another content", "delete", pod, old, false],
    ["goes when somebody deletes it, to be made anew", "delete", pod, dying, false],
    ["goes when there is no static pod", "delete", undefined, stored, false],
    ["stays while its pod ends or is not read yet", "none", undefined, stored, true],
    ["is not made over a pod of somebody else's", "none", pod, user, false],
    ["is nothing where a user's pod is", "none", undefined, user, false],
    ["is nothing where nothing is", "none", undefined, undefined, false],
  ])("%s", (_sentence, kind, statics, found, isHeld) => {
    expect(planMirror({ pod: statics, stored: found, isHeld, node })).toMatchObject({ kind });
  });

  test("belongs to the node, carries the hash and says nothing of UID or status", () => {
    expect(toMirror(pod, node)).toEqual({
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name: "p",
        namespace: "ns",
        annotations: { ...pod.metadata.annotations, "kubernetes.io/config.mirror": UID },
        ownerReferences: [
          { apiVersion: "v1", kind: "Node", name: "n1", uid: "node-uid", controller: true },
        ],
      },
      spec: pod.spec,
    });
  });

  test("lends its status and version, but cannot say that the pod has ended", () => {
    const running = withStatusOf(makeMirror({}, { phase: "Running", startTime: "t" }), pod);
    expect(running.status).toEqual({ phase: "Running", startTime: "t" });
    expect(running.metadata).toMatchObject({ uid: UID, resourceVersion: "7" });
    const failed = withStatusOf(makeMirror({}, { phase: "Failed", startTime: "t" }), pod);
    expect(failed.status).toEqual({});
    expect(withStatusOf(undefined, pod)).toBe(pod);
  });
});
