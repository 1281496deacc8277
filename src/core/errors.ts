/**
 * The one error class of the program, with a closed set of codes. A code belongs to a class, and the class says
 * what a loop should do: `transient` retry, `invalid` report and wait for a change, `conflict` look again,
 * `gone` treat as absent, `bug` report loudly. Thrown everywhere, decided on only by loops.
 */

export type ErrorClass = "transient" | "invalid" | "conflict" | "gone" | "bug";

const CLASS_OF = {
  ApiUnreachable: "transient",
  ApiTimeout: "transient",
  ApiUnauthorized: "transient",
  ApiServerError: "transient",
  ApiForbidden: "invalid",
  ApiInvalid: "invalid",
  ApiNotFound: "gone",
  ApiExpired: "gone",
  ApiConflict: "conflict",
  ApiAlreadyExists: "conflict",
  EngineUnreachable: "transient",
  EngineTimeout: "transient",
  EngineServerError: "transient",
  EngineNotFound: "gone",
  EngineConflict: "conflict",
  EngineInvalid: "invalid",
  ImageInvalidName: "invalid",
  ImagePullFailed: "transient",
  ImageRegistryUnavailable: "transient",
  ImageNeverPull: "invalid",
  ContainerConfigInvalid: "invalid",
  ContainerStartFailed: "transient",
  HookFailed: "transient",
  VolumeNotReady: "transient",
  VolumeInvalid: "invalid",
  NetworkFailed: "transient",
  NetworkExhausted: "transient",
  CommandFailed: "transient",
  CommandTimeout: "transient",
  CommandMissing: "invalid",
  ConfigInvalid: "invalid",
  KubeconfigInvalid: "invalid",
  AddressInUse: "invalid",
  AgentUnreachable: "transient",
  Unsupported: "invalid",
  Aborted: "transient",
  Bug: "bug",
} as const satisfies Record<string, ErrorClass>;

export type ErrorCode = keyof typeof CLASS_OF;

export class LongshoreError extends Error {
  readonly code: ErrorCode;
  /** HTTP status of the API server or the Engine, where there was one. */
  readonly status: number | undefined;

  /** @param message what was being done, to what, and what to do about it; never a secret. */
  constructor(code: ErrorCode, message: string, options?: { cause?: unknown; status?: number }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = "LongshoreError";
    this.code = code;
    this.status = options?.status;
  }

  get class(): ErrorClass {
    return CLASS_OF[this.code];
  }
}

/** True when `error` is ours and has one of the codes. */
export function hasCode(error: unknown, ...codes: readonly ErrorCode[]): error is LongshoreError {
  return error instanceof LongshoreError && codes.includes(error.code);
}

/** The class of any thrown value; what is not ours is a bug until somebody translates it. */
export function classOf(error: unknown): ErrorClass {
  return error instanceof LongshoreError ? error.class : "bug";
}

/** One line for logs, events and status messages. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Closes a switch over a union: a new variant that is not handled does not compile. */
export function assertNever(value: never): never {
  throw new LongshoreError("Bug", `unhandled variant ${JSON.stringify(value)}`);
}
