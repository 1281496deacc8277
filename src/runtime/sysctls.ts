/**
 * Names of kernel parameters: how they are spelled, whose namespace they are in, where they are. Pure. Used by pod
 * admission, which refuses what is not named here, and by the sandboxes, which write those of the network.
 */

/** As the API server checks names; nothing that matches leaves /proc/sys. */
const NAME = /^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$/i;

const IPC_PREFIXES = ["kernel.shm", "kernel.msg", "fs.mqueue."] as const;

/** With dots between its parts, where a dot of the slashed form stands inside a part (`net/ipv4/conf/eth0.1/…`). */
export function dottedSysctl(name: string): string {
  return name.search(/[./]/) === name.indexOf("/") ? swap(name) : name;
}

/** Below /proc/sys. */
export function sysctlPath(dotted: string): string {
  return swap(dotted);
}

function swap(name: string): string {
  return name.replace(/[./]/g, (separator) => (separator === "." ? "/" : "."));
}

/** The namespace of the pod that the parameter belongs to; undefined = the whole machine's, or no name at all. */
export function sysctlNamespace(dotted: string): "ipc" | "net" | undefined {
  if (!NAME.test(dotted)) return undefined;
  if (dotted.startsWith("net.")) return "net";
  const isIpc = dotted === "kernel.sem" || IPC_PREFIXES.some((prefix) => dotted.startsWith(prefix));
  return isIpc ? "ipc" : undefined;
}
