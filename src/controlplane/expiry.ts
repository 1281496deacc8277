/**
 * Forgets what nobody asks for any more: Events an hour after they were last seen (kube-apiserver's --event-ttl), and
 * PodCertificateRequests a quarter of an hour after they were made, decided or not (kube-controller-manager's cleaner:
 * a node asks again). Started by controlplane.ts.
 */

import type { Clock, Timer } from "../core/clock.ts";
import { type KubeObject, textAt } from "./objects.ts";
import { EVENTS, POD_CERTIFICATE_REQUESTS } from "./registry.ts";
import type { Store } from "./store.ts";

const EVENT_TTL_MS = 3_600_000;
const REQUEST_TTL_MS = 900_000;
const SWEEP_MS = 300_000;

const TTLS = [
  [EVENTS, EVENT_TTL_MS],
  [POD_CERTIFICATE_REQUESTS, REQUEST_TTL_MS],
] as const;

export function startExpiry(context: { readonly store: Store; readonly clock: Clock }): Timer {
  const { store, clock } = context;
  const sweep = (): void => {
    for (const [type, ttlMs] of TTLS) {
      const isOld = (object: KubeObject): boolean => clock.now() - lastSeen(object) > ttlMs;
      for (const { metadata } of store.list(type, undefined, isOld).items)
        store.delete(type, metadata.namespace, metadata.name);
    }
    timer = clock.after(SWEEP_MS, sweep);
  };
  let timer = clock.after(SWEEP_MS, sweep);
  return { cancel: () => timer.cancel() };
}

/** Of what is no Event, when it was made. */
function lastSeen(object: KubeObject): number {
  const times = [
    textAt(object, "series", "lastObservedTime"),
    textAt(object, "lastTimestamp"),
    textAt(object, "eventTime"),
    object.metadata.creationTimestamp ?? "",
  ];
  return Math.max(0, ...times.map((time) => Date.parse(time)).filter((ms) => !Number.isNaN(ms)));
}
