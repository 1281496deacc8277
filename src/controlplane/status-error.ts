/**
 * Failures as the API server phrases them: a LongshoreError that carries the metav1.Status sent to the client.
 * Thrown by the store, REST, validation and admission; turned into a response by server.ts only.
 */

import { type ErrorCode, LongshoreError } from "../core/errors.ts";
import { type ResourceType, resourceName } from "./registry.ts";

export interface StatusCause {
  readonly reason: string;
  readonly message: string;
  readonly field: string;
}

export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
}

export interface Status {
  readonly kind: "Status";
  readonly apiVersion: "v1";
  readonly metadata: object;
  readonly status: "Success" | "Failure";
  readonly message?: string;
  readonly reason?: string;
  readonly details?: StatusDetails;
  readonly code: number;
}

const CODE_OF_STATUS: Readonly<Record<number, ErrorCode>> = {
  401: "ApiUnauthorized",
  403: "ApiForbidden",
  404: "ApiNotFound",
  409: "ApiConflict",
  410: "ApiExpired",
};

export class StatusError extends LongshoreError {
  readonly body: Status;

  constructor(code: number, reason: string, message: string, details?: StatusDetails) {
    super(CODE_OF_STATUS[code] ?? (code < 500 ? "ApiInvalid" : "ApiServerError"), message, {
      status: code,
    });
    this.body = {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message,
      reason,
      ...(details === undefined ? {} : { details }),
      code,
    };
  }
}

function detailsOf(type: ResourceType, name: string): StatusDetails {
  return { name, ...(type.group === "" ? {} : { group: type.group }), kind: type.plural };
}

export function notFound(type: ResourceType, name: string): StatusError {
  const message = `${resourceName(type)} "${name}" not found`;
  return new StatusError(404, "NotFound", message, detailsOf(type, name));
}

export function alreadyExists(type: ResourceType, name: string): StatusError {
  const message = `${resourceName(type)} "${name}" already exists`;
  return new StatusError(409, "AlreadyExists", message, detailsOf(type, name));
}

export function conflict(type: ResourceType, name: string, why: string): StatusError {
  const message = `Operation cannot be fulfilled on ${resourceName(type)} "${name}": ${why}`;
  return new StatusError(409, "Conflict", message, detailsOf(type, name));
}

export function modified(type: ResourceType, name: string): StatusError {
  return conflict(
    type,
    name,
    "the object has been modified; please apply your changes to the latest version and try again",
  );
}

export function forbidden(type: ResourceType, name: string, why: string): StatusError {
  const subject = name === "" ? resourceName(type) : `${resourceName(type)} "${name}"`;
  return new StatusError(
    403,
    "Forbidden",
    `${subject} is forbidden: ${why}`,
    detailsOf(type, name),
  );
}

export function badRequest(message: string): StatusError {
  return new StatusError(400, "BadRequest", message);
}

export function expired(message: string): StatusError {
  return new StatusError(410, "Expired", message);
}

export function methodNotAllowed(): StatusError {
  const message = "the server does not allow this method on the requested resource";
  return new StatusError(405, "MethodNotAllowed", message, {});
}

export function pathNotFound(): StatusError {
  return new StatusError(404, "NotFound", "the server could not find the requested resource", {});
}

/** 422 with all causes; `causes` is not empty. */
export function invalid(
  type: { readonly group: string; readonly kind: string },
  name: string,
  causes: readonly StatusCause[],
): StatusError {
  const lines = causes.map((cause) => `${cause.field}: ${cause.message}`);
  const list = lines.length === 1 ? lines[0] : `[${lines.join(", ")}]`;
  const subject = type.group === "" ? type.kind : `${type.kind}.${type.group}`;
  return new StatusError(422, "Invalid", `${subject} "${name}" is invalid: ${list}`, {
    name,
    ...(type.group === "" ? {} : { group: type.group }),
    kind: type.kind,
    causes,
  });
}
