/** What the server answers to what it does not serve, or what an operator has turned off. Pure. */

import { assertNever } from "../core/errors.ts";
import { METHOD_NOT_ALLOWED, NOT_FOUND, type Reply } from "./reply.ts";
import type { Route } from "./routes.ts";

/** Of AgentConfig. */
export interface EndpointSettings {
  /** Without it there is only /healthz on its own port. */
  readonly enableServer: boolean;
  /** Whether there is what looks into pods: exec, logs and the like. */
  readonly enableDebuggingHandlers: boolean;
  readonly enableSystemLogHandler: boolean;
}

/** In the kubelet's words; undefined for what is on. */
export function disabledOf(route: Route, settings: EndpointSettings): Reply | undefined {
  const looksIntoPods =
    ["logs", "exec", "attach", "run", "port-forward", "system-logs"].includes(route.kind) ||
    (route.kind === "read" && ["/runningpods", "/configz"].includes(route.path));
  if (looksIntoPods && !settings.enableDebuggingHandlers)
    return { status: 405, text: "Debug endpoints are disabled." };
  if (route.kind === "system-logs" && !settings.enableSystemLogHandler)
    return { status: 405, text: "logs endpoint is disabled." };
  return undefined;
}

/** The answer to what is not served; undefined for what is. */
export function refusalOf(route: Route): Reply | undefined {
  switch (route.kind) {
    case "method-not-allowed":
      return METHOD_NOT_ALLOWED;
    case "not-found":
      return NOT_FOUND;
    case "healthz":
    case "read":
    case "system-logs":
    case "logs":
    case "exec":
    case "attach":
    case "run":
    case "port-forward":
      return undefined;
    default:
      return assertNever(route);
  }
}
