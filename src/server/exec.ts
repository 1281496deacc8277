/**
 * /exec and /attach: from the upgrade request to a command that runs, or to the container's own program. Choosing the
 * container and the refusals are pure (computePlan); the rest starts the command after the handshake, as the kubelet
 * does, so that a failure to start is told on the error channel. A command is killed when its client goes away or the
 * server stops.
 */

import type { Duplex } from "node:stream";
import type { Clock } from "../core/clock.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import type { PodDirectory } from "../pods/directory.ts";
import type { ExecSession, Runtime } from "../runtime/runtime.ts";
import { chooseAttachContainer, chooseExecContainer } from "./container-choice.ts";
import type { Reply } from "./reply.ts";
import type { Route } from "./routes.ts";
import { acceptWebSocket, type UpgradeRequest } from "./streaming/kept-socket.ts";
import {
  COMMAND_PROTOCOLS,
  negotiate,
  refuseUpgrade,
  type WebSocketProtocol,
} from "./streaming/negotiate.ts";
import {
  joinCommand,
  type RemoteCommandConnection,
  type RemoteCommandOptions,
} from "./streaming/remote-command.ts";
import { SpdyCommand } from "./streaming/spdy/spdy-command.ts";
import { WebSocketCommand } from "./streaming/websocket-command.ts";

export interface CommandContext {
  readonly pods: PodDirectory;
  readonly runtime: Pick<Runtime, "exec" | "attach">;
  readonly clock: Clock;
  readonly log: Logger;
}

type CommandRoute = Extract<Route, { kind: "exec" | "attach" }>;

interface CommandPlan {
  readonly kind: "exec" | "attach";
  readonly containerId: string;
  readonly command: readonly string[];
  readonly options: RemoteCommandOptions;
}

type PlanResult =
  | { readonly kind: "run"; readonly plan: CommandPlan }
  | { readonly kind: "refused"; readonly reply: Reply };

function computePlan(route: CommandRoute, pods: PodDirectory): PlanResult {
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
  const choose = route.kind === "exec" ? chooseExecContainer : chooseAttachContainer;
  const choice = choose(pods.find(target.namespace, target.pod), target);
  if (choice.kind === "refused") return choice;
  const command = query.getAll("command");
  const { kind } = route;
  return { kind: "run", plan: { kind, containerId: choice.containerId, command, options } };
}

function refused(status: number, text: string): PlanResult {
  return { kind: "refused", reply: { status, text } };
}

/** Takes the upgrade over, or returns the refusal to write. `signal` fires when the server stops. */
export function serveCommand(
  context: CommandContext,
  route: CommandRoute,
  upgrade: UpgradeRequest,
  signal: AbortSignal,
): Reply | undefined {
  const result = computePlan(route, context.pods);
  if (result.kind === "refused") return result.reply;
  const { plan } = result;
  const negotiated = negotiate(upgrade.request.headers, COMMAND_PROTOCOLS);
  switch (negotiated.kind) {
    case "websocket":
      startOverWebSocket(context, plan, { upgrade, protocol: negotiated.protocol, signal });
      return undefined;
    case "spdy":
      startOverSpdy(context, plan, { upgrade, protocol: negotiated.protocol, signal });
      return undefined;
    default:
      return refuseUpgrade(negotiated);
  }
}

interface Start<P> {
  readonly upgrade: UpgradeRequest;
  readonly protocol: P;
  readonly signal: AbortSignal;
}

function startOverWebSocket(
  context: CommandContext,
  plan: CommandPlan,
  { upgrade, protocol, signal }: Start<WebSocketProtocol>,
): void {
  acceptWebSocket(upgrade, protocol.name, (socket) => {
    const connection = new WebSocketCommand(socket, protocol, plan.options, context.clock);
    runCommand(context, plan, connection, signal).catch((error: unknown) => {
      context.log.warn(
        { err: error, containerId: plan.containerId },
        "ending a remote command failed",
      );
      socket.terminate();
    });
  });
}

function startOverSpdy(
  context: CommandContext,
  plan: CommandPlan,
  { upgrade, protocol, signal }: Start<string>,
): void {
  const connection = new SpdyCommand(upgrade, protocol, plan.options, context.clock);
  const onError = (error: unknown): void => {
    const fields = { err: error, containerId: plan.containerId };
    // Clients come and go; only what they did not cause needs somebody.
    if (hasCode(error, "Aborted", "Unsupported"))
      context.log.debug(fields, "client of a remote command failed");
    else context.log.warn(fields, "ending a remote command failed");
    upgrade.socket.destroy();
  };
  connection.run(upgrade).catch(onError);
  connection
    .waitForStreams()
    .then(() => runCommand(context, plan, connection, signal))
    .catch(onError);
}

async function runCommand(
  context: CommandContext,
  plan: CommandPlan,
  connection: RemoteCommandConnection,
  signal: AbortSignal,
): Promise<void> {
  const either = AbortSignal.any([connection.gone, signal]);
  const { kind, containerId, command, options } = plan;
  const what =
    kind === "exec" ? "error executing command in container" : "error attaching to container";
  let session: ExecSession;
  try {
    session = await (kind === "exec"
      ? context.runtime.exec(containerId, { command, ...options }, either)
      : context.runtime.attach(containerId, options, either));
  } catch (error) {
    return connection.finish({ kind: "failed", message: `${what}: ${messageOf(error)}` });
  }
  await joinCommand(connection, session, { what, gone: either });
}

/** Ends a socket after a raw answer; what comes from it meanwhile is of no interest. */
export function endSocket(socket: Duplex, text: string): void {
  socket.on("error", () => socket.destroy());
  socket.end(text, () => socket.destroy());
}
