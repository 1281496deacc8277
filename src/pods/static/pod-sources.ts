/**
 * The pods this node is to run: those of the API server without its mirror pods, and the static ones. To the pod
 * manager they look alike: a static pod carries the status its mirror has, and a status written to it goes to the
 * mirror under the mirror's UID. Of static pods with one name one runs at a time: a changed manifest is another pod,
 * which begins when nothing is left of the one before. Made by agent-pods.ts.
 */

import type { ApiClient } from "../../api/client.ts";
import { keyOf, type Store, type StoreChange } from "../../api/store.ts";
import type { Pod, StoredObject } from "../../api/types.ts";
import { hasCode } from "../../core/errors.ts";
import type { PodFeed } from "../feed.ts";
import { isStaticUid } from "./manifest.ts";
import { isMirror, isMirrorOf, withStatusOf } from "./mirror.ts";

export interface PodSourcesOptions {
  /** Filled by the reflector of this node's pods (spec.nodeName). */
  readonly api: Store<Pod>;
  readonly client: Pick<ApiClient, "get" | "patch" | "delete">;
  /** The names that `setStatic` will be called with. */
  readonly staticSources: readonly string[];
}

type Listener = (change: StoreChange<Pod>) => void;

export class PodSources implements PodFeed {
  readonly #options: PodSourcesOptions;
  /** What each source told last. */
  readonly #told = new Map<string, readonly Pod[]>();
  /** The static pods that run or shall run, by namespace/name. */
  readonly #active = new Map<string, Pod>();
  /** Static pods that were taken away and have not ended yet: UID → namespace/name. */
  readonly #ending = new Map<string, string>();
  readonly #listeners: Listener[] = [];
  readonly #mirrorListeners: ((key: string) => void)[] = [];
  #isOpen = false;

  constructor(options: PodSourcesOptions) {
    this.#options = options;
    options.api.onChange((change) => this.#onApiChange(change));
  }

  get isSynced(): boolean {
    return this.#isOpen && this.#options.api.isSynced && this.isStaticSynced;
  }

  get isStaticSynced(): boolean {
    return this.#options.staticSources.every((source) => this.#told.has(source));
  }

  isComplete(podUid: string): boolean {
    return isStaticUid(podUid) ? this.isStaticSynced : this.isSynced;
  }

  list(): readonly Pod[] {
    const ofApi = this.#isOpen ? this.#options.api.list().filter((pod) => !isMirror(pod)) : [];
    return [...ofApi, ...[...this.#active.values()].map((pod) => this.#view(pod))];
  }

  onChange(listener: Listener): void {
    this.#listeners.push(listener);
  }

  /** Called with namespace/name when the mirror of that name may need something. */
  onMirrorDue(listener: (key: string) => void): void {
    this.#mirrorListeners.push(listener);
  }

  /** From now on the API server's pods count too: they can only be judged when the Node is known. */
  open(): void {
    if (this.#isOpen) return;
    this.#isOpen = true;
    for (const object of this.#options.api.list()) {
      if (!isMirror(object)) this.#tell({ kind: "applied", key: keyOf(object), object });
      this.#mirrorDue(keyOf(object));
    }
    for (const key of this.#active.keys()) this.#mirrorDue(key);
  }

  /** All pods that a static source has now. */
  setStatic(source: string, pods: readonly Pod[]): void {
    this.#told.set(source, pods);
    this.#settle();
    // Mirrors of nobody are known to be that only now.
    for (const pod of this.#options.api.list()) if (isMirror(pod)) this.#mirrorDue(keyOf(pod));
  }

  forget(podUid: string): void {
    const key = this.#ending.get(podUid);
    if (key === undefined) return;
    this.#ending.delete(podUid);
    this.#settle();
    this.#mirrorDue(key);
  }

  /** The static pod of this name that runs or shall run. */
  staticPod(key: string): Pod | undefined {
    return this.#active.get(key);
  }

  /** True while a static pod of this name may run that `staticPod` does not give. */
  isHeld(key: string): boolean {
    return !this.isStaticSynced || [...this.#ending.values()].includes(key);
  }

  /** The client for the statuses of all these pods. */
  statusClient(): Pick<ApiClient, "get" | "patch" | "delete"> {
    const { client } = this.#options;
    return {
      get: (resource, ref, signal) => client.get(resource, ref, signal),
      patch: (resource, ref, body, signal) => {
        const patch = (own: object) => client.patch(resource, ref, own, signal);
        return this.#patchStatus(body, patch);
      },
      delete: (resource, ref, signal) => client.delete(resource, ref, signal),
    };
  }

  /** What is for a static pod goes to its mirror, and the answer is the static pod again. */
  async #patchStatus<T extends StoredObject>(
    body: { readonly metadata?: { readonly uid?: string } },
    patch: (body: object) => Promise<T>,
  ): Promise<T> {
    const uid = body.metadata?.uid;
    const pod = [...this.#active.values()].find(({ metadata }) => metadata.uid === uid);
    if (pod === undefined) return patch(body);
    const answer = (mirror: StoredObject | undefined): T =>
      withStatusOf(mirror as Pod | undefined, pod) as StoredObject as T;
    const mirror = this.#mirrorOf(pod);
    // Written when there is one: its coming is a change of the pod.
    if (mirror === undefined) return answer(undefined);
    try {
      return answer(await patch({ ...body, metadata: { uid: mirror.metadata.uid } }));
    } catch (error) {
      // The store will tell that the mirror is gone; the pod is not.
      if (!hasCode(error, "ApiNotFound")) throw error;
      return answer(mirror);
    }
  }

  #onApiChange(change: StoreChange<Pod>): void {
    const { key } = change;
    const object = change.kind === "applied" ? change.object : undefined;
    const { previous } = change;
    const isShown = (pod: Pod | undefined): pod is Pod => pod !== undefined && !isMirror(pod);
    if (this.#isOpen) {
      const before = isShown(previous) ? { previous } : {};
      if (isShown(object)) this.#tell({ kind: "applied", key, object, ...before });
      else if (isShown(previous)) this.#tell({ kind: "deleted", key, previous });
    }
    const pod = this.#active.get(key);
    if (pod !== undefined) {
      const before = withStatusOf(isMirrorOf(previous, pod) ? previous : undefined, pod);
      this.#tell({ kind: "applied", key, object: this.#view(pod), previous: before });
    }
    this.#mirrorDue(key);
  }

  /** Takes away what no source has any more, and begins what has its name free. */
  #settle(): void {
    const pods = [...this.#told.values()].flat();
    const uids = new Set(pods.map((pod) => pod.metadata.uid));
    for (const [key, pod] of this.#active) {
      if (uids.has(pod.metadata.uid)) continue;
      this.#active.delete(key);
      // Whom nobody has listened to yet has nothing to end.
      if (this.#listeners.length > 0) this.#ending.set(pod.metadata.uid, key);
      this.#tell({ kind: "deleted", key, previous: this.#view(pod) });
      this.#mirrorDue(key);
    }
    for (const pod of pods) {
      const key = keyOf(pod);
      if (this.#active.has(key) || [...this.#ending.values()].includes(key)) continue;
      this.#active.set(key, pod);
      this.#tell({ kind: "applied", key, object: this.#view(pod) });
      this.#mirrorDue(key);
    }
  }

  #mirrorOf(pod: Pod): Pod | undefined {
    const stored = this.#options.api.get(keyOf(pod));
    return isMirrorOf(stored, pod) ? stored : undefined;
  }

  #view(pod: Pod): Pod {
    return withStatusOf(this.#mirrorOf(pod), pod);
  }

  #tell(change: StoreChange<Pod>): void {
    for (const listener of this.#listeners) listener(change);
  }

  #mirrorDue(key: string): void {
    for (const listener of this.#mirrorListeners) listener(key);
  }
}
