/** What other parts may ask about the pods of this node. Implemented by pods/manager.ts; read by server/. */

import type { Pod, PodStatus } from "../api/types.ts";
import type { Container } from "../runtime/runtime.ts";

export interface PodView {
  readonly pod: Pod;
  /** The status last computed by the pod's worker, newer than or the same as the API server's. */
  readonly status: PodStatus;
  /** The container instances the worker last observed, newest attempt first within a name. */
  readonly containers: readonly Container[];
}

export interface PodDirectory {
  find(namespace: string, name: string): PodView | undefined;
  list(): readonly PodView[];
}
