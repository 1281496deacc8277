/**
 * Runs one lifecycle hook of one container, once: a command inside it, an HTTP request to it, or a sleep. Promises to
 * throw nothing but LongshoreError: `HookFailed` in the kubelet's words, or `Aborted` when the signal fired, and then a
 * command of the hook is killed. What follows from a failure is up to pods/, which calls this for postStart and preStop.
 */

import { type EventSink, involvedPod } from "../api/events.ts";
import type { Container as ContainerSpec, LifecycleHandler, Pod } from "../api/types.ts";
import { sleep } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { classOf, LongshoreError, messageOf } from "../core/errors.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { joinHostPort } from "./handlers/go-words.ts";
import { type HttpGetAction, httpGet, httpTargetOf } from "./handlers/http-get.ts";

const USER_AGENT = "kube-lifecycle/1.36";

export interface HookTarget {
  readonly pod: Pod;
  readonly container: ContainerSpec;
  readonly containerId: string;
  /** Empty when there is none. */
  readonly podIp: string;
}

export interface HookRunner {
  run(handler: LifecycleHandler, target: HookTarget, signal: AbortSignal): Promise<void>;
}

export interface HookRunnerOptions {
  readonly runtime: Pick<Runtime, "execSync">;
  readonly clock: Clock;
  readonly events: EventSink;
}

export function createHookRunner(options: HookRunnerOptions): HookRunner {
  return {
    async run(handler, target, signal) {
      const aborted = (): LongshoreError =>
        new LongshoreError(
          "Aborted",
          `stopped while a hook of container ${target.container.name} ran`,
        );
      if (signal.aborted) throw aborted();
      const { title, work } = hookOf(handler);
      try {
        await work(options, target, signal);
      } catch (error) {
        if (signal.aborted) throw aborted();
        if (classOf(error) === "bug") throw error;
        const { namespace, name, uid } = target.pod.metadata;
        const whose = `for Container "${target.container.name}" in Pod "${name}_${namespace}(${uid})"`;
        throw new LongshoreError(
          "HookFailed",
          `${title} ${whose} failed - error: ${messageOf(error)}`,
          { cause: error },
        );
      }
    },
  };
}

type Work = (options: HookRunnerOptions, target: HookTarget, signal: AbortSignal) => Promise<void>;

interface Hook {
  readonly title: string;
  /** Throws LongshoreError when it failed. */
  readonly work: Work;
}

function hookOf({ exec, httpGet: action, sleep: nap, ...rest }: LifecycleHandler): Hook {
  if (exec !== undefined) {
    const { command = [] } = exec;
    return { title: `Exec lifecycle hook ([${command.join(" ")}])`, work: runCommand(command) };
  }
  if (action !== undefined)
    return { title: `HTTP lifecycle hook (${action.path ?? ""})`, work: request(action) };
  if (nap !== undefined)
    return {
      title: `Sleep lifecycle hook (${nap.seconds})`,
      work: ({ clock }, _target, signal) => sleep(clock, nap.seconds * 1000, signal),
    };
  // tcpSocket too: the API takes it, and the kubelet cannot run it either.
  const words = `Cannot run handler: invalid handler: ${JSON.stringify(rest)}`;
  throw new LongshoreError("HookFailed", words);
}

/** A hook's command has no time-out of its own. */
function runCommand(command: readonly string[]): Work {
  return async ({ runtime }, { containerId }, signal) => {
    const { exitCode, output } = await runtime.execSync(
      ...([containerId, command, Number.POSITIVE_INFINITY, signal] as const),
    );
    if (exitCode === 0) return;
    const error = `command '${command.join(" ")}' exited with ${exitCode}: ${output}`;
    throw new LongshoreError("HookFailed", `${error}, message: ${JSON.stringify(output)}`);
  };
}

/** Any status is an answer. A server that does not speak TLS is asked again without, and without the credentials. */
function request(action: HttpGetAction): Work {
  return async ({ events }, { pod, container, podIp }, signal) => {
    if (!action.host && podIp === "")
      throw new LongshoreError("HookFailed", "failed to find networking container");
    const target = httpTargetOf(action, container, podIp);
    const first = await httpGet(target, USER_AGENT, signal);
    if (first.kind === "answer") return;
    if (first.isNotTls) {
      const headers = target.headers.filter(({ name }) => !/^authorization$/i.test(name));
      const second = await httpGet({ ...target, scheme: "http", headers }, USER_AGENT, signal);
      if (second.kind === "answer") {
        const host = joinHostPort(target.host, target.port);
        const words = `request to HTTPS lifecycle hook ${host} got HTTP response, retry with HTTP succeeded`;
        events.record(involvedPod(pod), "Warning", "LifecycleHTTPFallback", words);
        return;
      }
    }
    throw new LongshoreError("HookFailed", first.message);
  };
}
