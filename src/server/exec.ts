/**
 * /exec: from the upgrade request to a running command. Choosing the container and the refusals are pure
 * (computeExecPlan); the rest starts the command after the handshake, as the kubelet does, so that a failure to start
 * is told on the error channel. The command is killed when its client goes away or the server stops.
 */

import type { Duplex } from "node:stream";
import type { Clock } from "../core/clock.ts";
import { assertNever, hasCode, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { PodDirectory } from "../pods/directory.ts";
import type { ExecSession, Runtime } from "../runtime/runtime.ts";
import { chooseExecContainer } from "./container-choice.ts";
import type { Reply } from "./reply.ts";
import type { Route } from "./routes.ts";
import { negotiate, type WebSocketProtocol } from "./streaming/negotiate.ts";
import {
  joinCommand,
  type RemoteCommandConnection,
  type RemoteCommandOptions,
} from "./streaming/remote-command.ts";
import { SpdyCommand } from "./streaming/spdy/spdy-command.ts";
import { acceptWebSocket, type UpgradeRequest, WebSocketCommand } from "./streaming/websocket.ts";

export interface ExecContext {
  readonly pods: PodDirectory;
  readonly runtime: Pick<Runtime, "exec">;
  readonly clock: Clock;
  readonly log: Logger;
}

type ExecRoute = Extract<Route, { kind: "exec" }>;

interface ExecPlan {
  readonly containerId: string;
  readonly command: readonly string[];
  readonly options: RemoteCommandOptions;
}

type ExecPlanResult =
  | { readonly kind: "run"; readonly plan: ExecPlan }
  | { readonly kind: "refused"; readonly reply: Reply };

function computeExecPlan(route: ExecRoute, pods: PodDirectory): ExecPlanResult {
  const { query, target } = route;
  const isSet = (name: string): boolean => query.get(name) === "1" || query.get(name) === "true";
  const tty = isSet("tty");
  const options = {
    stdin: isSet("input"),
    stdout: isSet("output"),
    // A terminal has one output.
    stderr: isSet("error") && !tty,
    tty,
  };
  if (!options.stdin && !options.stdout && !options.stderr)
    return refused(400, "you must specify at least 1 of stdin, stdout, stderr");
  const choice = chooseExecContainer(pods.find(target.namespace, target.pod), target);
  if (choice.kind === "refused") return choice;
  const command = query.getAll("command");
  return { kind: "run", plan: { containerId: choice.containerId, command, options } };
}

function refused(status: number, text: string): ExecPlanResult {
  return { kind: "refused", reply: { status, text } };
}

/** Takes the upgrade over, or returns the refusal to write. `signal` fires when the server stops. */
export function serveExec(
  context: ExecContext,
  route: ExecRoute,
  upgrade: UpgradeRequest,
  signal: AbortSignal,
): Reply | undefined {
  const result = computeExecPlan(route, context.pods);
  if (result.kind === "refused") return result.reply;
  const { plan } = result;
  const negotiated = negotiate(upgrade.request.headers);
  switch (negotiated.kind) {
    case "websocket":
      startOverWebSocket(context, plan, { upgrade, protocol: negotiated.protocol, signal });
      return undefined;
    case "spdy":
      startOverSpdy(context, plan, { upgrade, protocol: negotiated.protocol, signal });
      return undefined;
    case "no-protocol":
      return { status: 400, text: "unable to upgrade: X-Stream-Protocol-Version header is empty" };
    case "no-common-protocol":
      return {
        status: 403,
        text: "unable to upgrade: unable to negotiate protocol",
        headers: negotiated.known.map((name) => `X-Accepted-Stream-Protocol-Versions: ${name}`),
      };
    case "no-upgrade":
      return { status: 400, text: "Upgrade request required" };
    default:
      return assertNever(negotiated);
  }
}

interface Start<P> {
  readonly upgrade: UpgradeRequest;
  readonly protocol: P;
  readonly signal: AbortSignal;
}

function startOverWebSocket(
  context: ExecContext,
  plan: ExecPlan,
  { upgrade, protocol, signal }: Start<WebSocketProtocol>,
): void {
  acceptWebSocket(upgrade, protocol, (socket) => {
    const connection = new WebSocketCommand(socket, protocol, plan.options, context.clock);
    runCommand(context, plan, connection, signal).catch((error: unknown) => {
      context.log.warn({ err: error, containerId: plan.containerId }, "ending an exec failed");
      socket.terminate();
    });
  });
}

function startOverSpdy(
  context: ExecContext,
  plan: ExecPlan,
  { upgrade, protocol, signal }: Start<string>,
): void {
  const connection = new SpdyCommand(upgrade, protocol, plan.options, context.clock);
  const onError = (error: unknown): void => {
    const fields = { err: error, containerId: plan.containerId };
    // Clients come and go; only what they did not cause needs somebody.
    if (hasCode(error, "Aborted", "Unsupported")) context.log.debug(fields, "exec client failed");
    else context.log.warn(fields, "ending an exec failed");
    upgrade.socket.destroy();
  };
  connection.run(upgrade).catch(onError);
  connection
    .waitForStreams()
    .then(() => runCommand(context, plan, connection, signal))
    .catch(onError);
}

async function runCommand(
  context: ExecContext,
  plan: ExecPlan,
  connection: RemoteCommandConnection,
  signal: AbortSignal,
): Promise<void> {
  const either = AbortSignal.any([connection.gone, signal]);
  const { command, options } = plan;
  const request = { command, tty: options.tty, stdin: options.stdin };
  let session: ExecSession;
  try {
    session = await context.runtime.exec(plan.containerId, request, either);
  } catch (error) {
    const message = `error executing command in container: ${messageOf(error)}`;
    return connection.finish({ kind: "failed", message });
  }
  await joinCommand(connection, session, either);
}

/** Ends a socket after a raw answer; what comes from it meanwhile is of no interest. */
export function endSocket(socket: Duplex, text: string): void {
  socket.on("error", () => socket.destroy());
  socket.end(text, () => socket.destroy());
}
