/**
 * Event objects written by the controllers: one per object, reason and message, counted up when it happens again.
 * The agent has its own recorder; nothing is shared with it.
 */

import { formatTime } from "../../core/clock.ts";
import { hashValue } from "../../core/hash.ts";
import type { KubeObject } from "../objects.ts";
import { EVENTS } from "../registry.ts";
import type { ControllerContext } from "./loop.ts";

export interface EventText {
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
}

export function recordEvent(
  { store, clock }: ControllerContext,
  component: string,
  about: KubeObject,
  text: EventText,
): void {
  const { name, uid, resourceVersion } = about.metadata;
  const namespace = about.metadata.namespace ?? "default";
  const eventName = `${name}.${hashValue([uid, component, text])}`;
  const now = formatTime(clock.now());
  const previous = store.get(EVENTS, namespace, eventName) as { count?: number } | undefined;
  if (previous !== undefined) {
    store.update(EVENTS, namespace, eventName, (current) => ({
      ...current,
      count: (previous.count ?? 1) + 1,
      lastTimestamp: now,
    }));
    return;
  }
  store.create(EVENTS, {
    apiVersion: "v1",
    kind: "Event",
    metadata: { name: eventName, namespace },
    involvedObject: {
      apiVersion: about.apiVersion,
      kind: about.kind,
      name,
      ...(about.metadata.namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
    },
    ...text,
    source: { component },
    reportingComponent: component,
    reportingInstance: "",
    firstTimestamp: now,
    lastTimestamp: now,
    count: 1,
  });
}
