/**
 * From a pod to a TCP connection on its loopback, as upstream dials: a program that listens on 127.0.0.1 only is
 * reached too. The network namespace is that of the pod's sandbox as the Engine knows it now, so a restarted pod is
 * found again. Used by the port-forward of every transport.
 */

import { connect, type Socket } from "node:net";
import type { Clock } from "../../core/clock.ts";
import { LongshoreError } from "../../core/errors.ts";
import { createDialLoopback } from "../../core/network-namespace.ts";
import type { Runtime, Sandbox } from "../../runtime/runtime.ts";

/** A half-open connection. Throws NetworkFailed in words for the client. */
export type PodDial = (podUid: string, port: number, signal: AbortSignal) => Promise<Socket>;

export function createPodDial(runtime: Pick<Runtime, "list">, clock: Clock): PodDial {
  const dialLoopback = createDialLoopback(clock);
  const looking = new Map<string, Promise<Sandbox | undefined>>();
  // A browser opens many connections at once: one look serves those that wait for it.
  const findSandbox = (podUid: string): Promise<Sandbox | undefined> => {
    const found =
      looking.get(podUid) ??
      runtime
        .list(new AbortController().signal, podUid)
        .then(({ sandboxes }) => sandboxes.find(({ state }) => state === "ready"))
        .finally(() => looking.delete(podUid));
    looking.set(podUid, found);
    return found;
  };
  return async (podUid, port, signal) => {
    const sandbox = await findSandbox(podUid);
    if (sandbox === undefined)
      throw new LongshoreError("NetworkFailed", "the pod has no sandbox that runs");
    if (sandbox.hostNetwork) return dial("127.0.0.1", port, signal);
    if (dialLoopback !== undefined) return dialLoopback(sandbox.pid, port, signal);
    // Without node:ffi nothing enters a namespace; programs that listen on all addresses are reached.
    return dial(sandbox.ips[0] ?? "", port, signal);
  };
}

function dial(host: string, port: number, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, allowHalfOpen: true });
    const fail = (words: string): void => {
      socket.destroy();
      reject(new LongshoreError("NetworkFailed", `dial tcp4 ${host}:${port}: ${words}`));
    };
    const onAbort = (): void => fail("given up");
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("error", (error) => fail(error.message));
    socket.once("connect", () => {
      socket.removeAllListeners("error");
      resolve(socket);
    });
    socket.once("close", () => signal.removeEventListener("abort", onAbort));
  });
}
