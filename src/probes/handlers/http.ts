/**
 * httpGet probes: status 200 to 299 is success, 300 to 399 (a redirect that was not followed) one with a warning.
 * A body goes nowhere but into that warning. Called by run-probe.ts.
 */

import { withDeadline } from "../../core/abort.ts";
import type { Clock } from "../../core/clock.ts";
import { hasCode } from "../../core/errors.ts";
import type { ProbeOutcome } from "../verdict.ts";
import { type HttpTarget, httpGet, urlOf } from "./http-get.ts";

export interface HttpProbe {
  readonly target: HttpTarget;
  readonly clock: Clock;
  readonly timeoutMs: number;
}

const TIMEOUT_WORDS = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";

export async function probeHttp(probe: HttpProbe, signal: AbortSignal): Promise<ProbeOutcome> {
  const { target, clock, timeoutMs } = probe;
  const message = `Get "${urlOf(target)}": ${TIMEOUT_WORDS}`;
  const deadline = { clock, ms: timeoutMs, signal, code: "CommandTimeout", message } as const;
  try {
    const answer = await withDeadline(deadline, (inner) =>
      httpGet(target, "kube-probe/1.36", inner),
    );
    return answer.kind === "answer"
      ? outcomeOf(answer)
      : { kind: "failure", message: answer.message };
  } catch (error) {
    if (!hasCode(error, "CommandTimeout")) throw error;
    return { kind: "failure", message };
  }
}

function outcomeOf({ status, body }: { status: number; body: string }): ProbeOutcome {
  if (status < 200 || status >= 400)
    return { kind: "failure", message: `HTTP probe failed with statuscode: ${status}` };
  if (status >= 300)
    return { kind: "warning", message: `Probe terminated redirects, Response body: ${body}` };
  return { kind: "success", message: body };
}
