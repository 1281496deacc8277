/**
 * The program's edge: argv, environment, signals, standard streams and exit codes, and nothing else. The only file
 * that touches `process`; what a subcommand does is in cli/, one file each, loaded when it is asked for.
 */

import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { basename } from "node:path";
import { text as readAll } from "node:stream/consumers";
import { Command } from "commander";
import type { AskOptions } from "./cli/ask-agent.ts";
import type { Host } from "./cli/host.ts";
import { systemClock } from "./core/clock.ts";
import { LongshoreError, messageOf } from "./core/errors.ts";
import { createExec } from "./core/exec.ts";
import { createLogger } from "./core/logger.ts";

declare const LONGSHORE_VERSION: string | undefined;

/** The bundle has its version built in; from source it is package.json's. */
function readVersion(): string {
  if (typeof LONGSHORE_VERSION === "string") return LONGSHORE_VERSION;
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

function createHost(): Host {
  const controller = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      // A second signal means: now.
      if (controller.signal.aborted) process.exit(130);
      controller.abort();
    });
  }
  return {
    version: readVersion(),
    clock: systemClock,
    random: Math.random,
    randomUid: randomUUID,
    env: process.env,
    isRoot: process.getuid?.() === 0,
    hostname: hostname(),
    exec: createExec(systemClock),
    stop: controller.signal,
    stdin: () => readAll(process.stdin),
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    createLogger: (level) =>
      createLogger({
        level,
        pretty: process.stderr.isTTY === true,
        write: (line) => void process.stderr.write(line),
      }),
  };
}

/** Runs a subcommand and turns its end into an exit code: 0, or 1 with one line that says what to do. */
function finish(run: (host: Host, options: Record<string, unknown>) => Promise<number>) {
  return async (options: Record<string, unknown>): Promise<void> => {
    try {
      process.exitCode = await run(createHost(), options);
    } catch (error) {
      const isBug = !(error instanceof LongshoreError) || error.class === "bug";
      process.stderr.write(`longshore: ${messageOf(error)}\n`);
      if (isBug && error instanceof Error) process.stderr.write(`${error.stack}\n`);
      process.exitCode = 1;
    }
    // Sockets of a half-stopped library must not keep a finished command alive.
    process.exit();
  };
}

/** Of what is asked of the running agent. */
function addAskFlags(command: Command): Command {
  return command
    .option("--root-dir <dir>", "state directory of the agent (default: where one runs)")
    .option("-o, --output <format>", "text or json", "text");
}

/** For options that may be given more than once. */
function collect(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** Under the name of the kubelet the program is its agent alone, with the kubelet's manners. */
async function runAsKubelet(): Promise<void> {
  const { createKubeletCommand, toKubeletArguments } = await import("./cli/kubelet.ts");
  const command = createKubeletCommand(readVersion(), (flags, defaults) =>
    finish(async (host) => (await import("./cli/agent.ts")).runAgent(host, flags, defaults))({}),
  );
  await command.parseAsync(toKubeletArguments(process.argv.slice(2)), { from: "user" });
}

function watchStreams(): void {
  // A log that cannot be written (its disk is full, its reader was restarted) must not end the agent.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => undefined);
  // A rejection nobody awaited is a bug, but not a reason to leave the node without an agent.
  process.on("unhandledRejection", (reason) => {
    const words = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason);
    process.stderr.write(`longshore: unhandled rejection (bug): ${words}\n`);
  });
}

async function main(): Promise<void> {
  watchStreams();
  if (basename(process.argv0) === "kubelet") return runAsKubelet();
  const program = new Command("longshore")
    .description("Kubernetes node agent for Docker hosts")
    .showHelpAfterError();
  const agent = program.command("agent").description("run the node agent (what systemd starts)");
  const { addAgentFlags } = await import("./cli/agent-flags.ts");
  addAgentFlags(agent).action(
    finish(async (host, o) => (await import("./cli/agent.ts")).runAgent(host, o)),
  );
  const up = program.command("up").description("run an embedded control plane and the agent");
  const { addUpFlags } = await import("./cli/up-flags.ts");
  addUpFlags(up).action(
    finish(async (host, o) => (await import("./cli/up-command.ts")).runUpCommand(host, o)),
  );
  program
    .command("check")
    .description("say what this host can and cannot do, with consequence and remedy")
    .option("--container-runtime-endpoint <url>", "Docker Engine", "unix:///var/run/docker.sock")
    .option("--config <file>", "the agent's configuration (default: /etc/longshore/config.yaml)")
    .option("--kubeconfig <file>", "credentials to try (default: those of the agent's proxy)")
    .option("-o, --output <format>", "text or json", "text")
    .action(finish(async (host, o) => (await import("./cli/check.ts")).runCheck(host, o)));
  program
    .command("cleanup")
    .description("remove everything Longshore made on this host: containers, mounts, rules, bridge")
    .option("--container-runtime-endpoint <url>", "Docker Engine", "unix:///var/run/docker.sock")
    .option("--root-dir <dir>", "state directory", "/var/lib/longshore")
    .option("--keep-state", "leave the state directory", false)
    .action(finish(async (host, o) => (await import("./cli/cleanup.ts")).runCleanup(host, o)));
  const explain = program.command("explain").description("say why something is as it is");
  addAskFlags(explain.command("pod <name>"))
    .description("why a pod of this node is not running: NAMESPACE/NAME, NAME or its UID")
    .action((pod: string, o: AskOptions) =>
      finish(async (host) => (await import("./cli/explain.ts")).runExplainPod(host, pod, o))({}),
    );
  addAskFlags(program.command("status"))
    .description("say how the node, its connections and its pods are")
    .action((o: AskOptions) =>
      finish(async (host) => (await import("./cli/status.ts")).runStatus(host, o))({}),
    );
  explain
    .command("service <name>")
    .description("what becomes of traffic to a Service on this node: NAMESPACE/NAME")
    .option("--config <file>", "the agent's configuration (default: /etc/longshore/config.yaml)")
    .option("--kubeconfig <file>", "credentials (default: those of the agent's proxy)")
    .option("--hostname-override <name>", "name of the node (default: the host's name)")
    .option("--trace <packet...>", "follow one packet: SOURCE DESTINATION PORT PROTOCOL")
    .option("-o, --output <format>", "text or json", "text")
    .action((service: string, o: Record<string, unknown>) =>
      finish(async (host) =>
        (await import("./cli/explain-service.ts")).runExplainService(host, { ...o, service }),
      )({}),
    );
  const proxy = program.command("proxy").description("look at the service proxy");
  proxy
    .command("render")
    .description("print the iptables-restore input of a full sync of objects in a file")
    .requiredOption(
      "--objects <file>",
      "Services, EndpointSlices and Nodes, YAML or JSON; - = standard input",
    )
    .option("--node-name <name>", "this node (default: the host's name)")
    .option("--config <file>", "configuration of the agent or of kube-proxy")
    .option(
      "--node-ip <ip>",
      "address of this node, more than once for more (default: the Node's)",
      collect,
    )
    .option("--cluster-cidr <cidr,...>", "pod addresses of the cluster")
    .option("--ip-family <family>", "IPv4 or IPv6", "IPv4")
    .action(
      finish(async (host, o) => (await import("./cli/proxy-render.ts")).runProxyRender(host, o)),
    );
  program
    .command("version")
    .description("print the version")
    .action(
      finish(async (host) => {
        host.stdout(`${host.version}\n`);
        return 0;
      }),
    );
  await program.parseAsync();
}

void main();
