/** Conditions of pods and nodes, pure: replaces one by its type and keeps the time of the last change of status. */

export interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly lastTransitionTime?: string;
  readonly lastHeartbeatTime?: string;
}

/** @param now for `lastTransitionTime`, used only when the status differs from what is there. */
export function withCondition(
  conditions: readonly Condition[],
  next: Condition,
  now: string,
): readonly Condition[] {
  const previous = conditions.find((it) => it.type === next.type);
  const since = previous?.status === next.status ? previous.lastTransitionTime : undefined;
  const condition = { ...next, lastTransitionTime: since ?? now };
  return previous === undefined
    ? [...conditions, condition]
    : conditions.map((it) => (it === previous ? condition : it));
}
