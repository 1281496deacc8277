/**
 * How a container is brought to run: its volumes, its back-off after a crash or a failed attempt, its image, then the
 * start. Pure. Used by sync.ts and init.ts once they know that it should run.
 */

import type { Container, Sandbox } from "../../runtime/runtime.ts";
import { kindOf, type PodContainer } from "../containers.ts";
import { backoffOf } from "../restart.ts";
import { containerStatusesOf, type PodSnapshot, retryIn } from "../snapshot.ts";
import type { Step } from "./step.ts";

/** The start after an end: not before its crash back-off is over. */
export function planRestart(
  snapshot: PodSnapshot,
  sandbox: Sandbox,
  container: PodContainer,
  dead: Container,
): Step {
  const waitMs = backoffOf(snapshot, dead);
  if (waitMs > 0) return { waitMs, why: `back-off of ${container.spec.name}` };
  return planStart(snapshot, sandbox, container, dead);
}

export function planStart(
  snapshot: PodSnapshot,
  sandbox: Sandbox,
  { spec, role }: PodContainer,
  last: Container | undefined,
): Step {
  const { name } = spec;
  const { volumes } = snapshot;
  if (volumes.kind === "waiting") return { waitMs: volumes.waitMs, why: volumes.message };
  const failure = snapshot.startFailures.get(name);
  const retryMs = failure === undefined ? 0 : retryIn(failure.retryAt, snapshot.now);
  if (failure !== undefined && retryMs > 0)
    return { waitMs: retryMs, why: `${name}: ${failure.message}` };
  const image = snapshot.images.get(name) ?? { kind: "unknown" };
  switch (image.kind) {
    case "unknown":
      return { action: { kind: "ensure-image", name }, why: `${name} needs its image` };
    case "pulling":
      return { why: `the image of ${name} is being pulled` };
    case "failed":
      if (image.waitMs <= 0 && image.mayRetry)
        return { action: { kind: "ensure-image", name }, why: `${name} needs its image` };
      return { waitMs: image.waitMs, why: `${name}: ${image.message}` };
    case "present":
      return {
        action: {
          kind: "start-container",
          name,
          containerKind: kindOf(role),
          attempt: nextAttempt(snapshot, name, last),
          sandboxId: sandbox.id,
          imageId: image.imageId,
        },
        why: last === undefined ? `${name} was never started` : `${name} is to be restarted`,
      };
  }
}

/** Counts on from the newest instance, or from the status when instances were removed: restartCount never falls. */
function nextAttempt(snapshot: PodSnapshot, name: string, last: Container | undefined): number {
  if (last !== undefined) return last.attempt + 1;
  const known = containerStatusesOf(snapshot.previous).find((status) => status.name === name);
  return known?.containerID === undefined ? 0 : known.restartCount + 1;
}
