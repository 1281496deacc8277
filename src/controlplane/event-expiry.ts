/** Forgets Events an hour after they were last seen, as kube-apiserver's --event-ttl does. Started by controlplane.ts. */

import type { Clock, Timer } from "../core/clock.ts";
import { type KubeObject, textAt } from "./objects.ts";
import { EVENTS } from "./registry.ts";
import type { Store } from "./store.ts";

const TTL_MS = 3_600_000;
const SWEEP_MS = 300_000;

export function startEventExpiry(context: { readonly store: Store; readonly clock: Clock }): Timer {
  const { store, clock } = context;
  const sweep = (): void => {
    const isOld = (event: KubeObject): boolean => clock.now() - lastSeen(event) > TTL_MS;
    for (const { metadata } of store.list(EVENTS, undefined, isOld).items)
      store.delete(EVENTS, metadata.namespace, metadata.name);
    timer = clock.after(SWEEP_MS, sweep);
  };
  let timer = clock.after(SWEEP_MS, sweep);
  return { cancel: () => timer.cancel() };
}

function lastSeen(event: KubeObject): number {
  const times = [
    textAt(event, "series", "lastObservedTime"),
    textAt(event, "lastTimestamp"),
    textAt(event, "eventTime"),
    event.metadata.creationTimestamp ?? "",
  ];
  return Math.max(0, ...times.map((time) => Date.parse(time)).filter((ms) => !Number.isNaN(ms)));
}
