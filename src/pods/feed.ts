/** Where the pod manager has its pods from, whoever wants them to run. Implemented by static/pod-sources.ts. */

import type { Store } from "../api/store.ts";
import type { Pod } from "../api/types.ts";

/** The pods that this node is to run. */
export interface PodFeed extends Pick<Store<Pod>, "isSynced" | "list" | "onChange"> {
  /** False while a pod of this UID may exist that is not known yet. */
  isComplete(podUid: string): boolean;
  /** Nothing is left of a pod that was taken from the list. */
  forget(podUid: string): void;
}
