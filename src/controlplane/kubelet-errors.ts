/**
 * What a user is told when a kubelet refuses or cannot be reached, in the words of kube-apiserver and Go: pure.
 * Called by kubelet-proxy.ts.
 */

import type { LongshoreError } from "../core/errors.ts";
import type { ConnectRequest } from "./extension.ts";
import type { KubeletAddress } from "./kubelet-request.ts";
import type { ResourceType } from "./registry.ts";
import { badRequest, StatusError } from "./status-error.ts";

/** As apimachinery's GenericHttpResponseChecker phrases a kubelet's refusal. */
export function logError(
  { type, name }: ConnectRequest,
  code: number,
  text: string,
): LongshoreError {
  if (code === 400) return badRequest(text);
  if (code === 500)
    return new StatusError(500, "InternalError", `Internal error occurred: ${text}`);
  if (code !== 404) return new StatusError(code, "", text, detailsOf(type, name));
  const message = `the server could not find the requested resource ( pods/log ${name})`;
  return new StatusError(404, "NotFound", message, detailsOf(type, name));
}

function detailsOf(type: ResourceType, name: string): { name: string; kind: string } {
  return { name, kind: `${type.plural}/log` };
}

export function dialFailure(cause: NodeJS.ErrnoException, target: KubeletAddress): LongshoreError {
  return serverError(`error dialing backend: ${dialError(cause, target)}`);
}

const GO_WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connect: connection refused",
  EHOSTUNREACH: "connect: no route to host",
  ENETUNREACH: "connect: network is unreachable",
  ETIMEDOUT: "i/o timeout",
};

export function dialError(cause: NodeJS.ErrnoException, target: KubeletAddress): string {
  const words = GO_WORDS[cause.code ?? ""];
  return words === undefined ? cause.message : `dial tcp ${target.host}:${target.port}: ${words}`;
}

/** 500 without a reason: kubectl then prints `Error from server: <message>`. */
export function serverError(message: string): StatusError {
  return new StatusError(500, "", message);
}
