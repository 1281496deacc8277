/**
 * How a command's end is told to the client: a metav1.Status as JSON, or plain text in the oldest protocols.
 * Pure. Used by every transport.
 */

export type CommandOutcome =
  | { readonly kind: "exited"; readonly exitCode: number }
  | { readonly kind: "failed"; readonly message: string };

/** What goes on the error channel; undefined = nothing, which the text protocols take as success. */
export function formatOutcome(outcome: CommandOutcome, form: "json" | "text"): string | undefined {
  if (form === "json") return JSON.stringify(statusOf(outcome));
  if (outcome.kind === "failed") return outcome.message;
  return outcome.exitCode === 0 ? undefined : exitMessage(outcome.exitCode);
}

function exitMessage(exitCode: number): string {
  return `command terminated with non-zero exit code: exit status ${exitCode}`;
}

function statusOf(outcome: CommandOutcome): object {
  if (outcome.kind === "failed")
    return {
      metadata: {},
      status: "Failure",
      message: `Internal error occurred: ${outcome.message}`,
      reason: "InternalError",
      details: { causes: [{ message: outcome.message }] },
      code: 500,
    };
  if (outcome.exitCode === 0) return { metadata: {}, status: "Success" };
  return {
    metadata: {},
    status: "Failure",
    message: exitMessage(outcome.exitCode),
    reason: "NonZeroExitCode",
    details: { causes: [{ reason: "ExitCode", message: String(outcome.exitCode & 0xff) }] },
  };
}
