/**
 * Phase 3 of a pod: nothing runs; volumes and sandboxes go, then the API object if somebody deleted it, and when that
 * is gone the dead containers, which until then keep the logs. Pure. A finished pod nobody deleted rests here.
 */

import type { PodAction, PodPlan } from "../actions.ts";
import type { PodSnapshot } from "../snapshot.ts";

function rest(why: string, actions: readonly PodAction[] = []): PodPlan {
  return { actions, waitMs: undefined, why };
}

export function planTerminated(snapshot: PodSnapshot): PodPlan {
  const { observed, pod } = snapshot;
  const cleaning: PodAction[] = observed.sandboxes.map(({ id }) => ({
    kind: "remove-sandbox",
    id,
  }));
  if (snapshot.volumes.kind !== "torn-down") cleaning.push({ kind: "teardown-volumes" });
  if (cleaning.length > 0) return rest("the pod has ended", cleaning);
  if (snapshot.isApiGone) {
    const removals = observed.containers.map(
      ({ id, name }): PodAction => ({ kind: "remove-container", id, name }),
    );
    return rest("the object is gone", removals);
  }
  if (pod.metadata.deletionTimestamp === undefined) return rest("the pod has finished");
  if (!snapshot.isStatusWritten) return rest("the terminal status is not written yet");
  if (snapshot.isDeleteSent) return rest("the object waits for its finalizers");
  return rest("everything but the object is gone", [{ kind: "delete-object" }]);
}
