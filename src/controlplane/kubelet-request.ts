/**
 * From a request on a pod's or node's subresource to the request on its kubelet: pure. Picks the container, turns the
 * client's query into the kubelet's, and refuses in kube-apiserver's words. Called by kubelet-proxy.ts.
 */

import type { Node, Pod } from "../api/types.ts";

export type PodStream = "log" | "exec" | "attach" | "portforward";

export type KubeletTarget =
  | { readonly kind: "target"; readonly path: string }
  /** The pod has no node yet: there is no log, and that is no error. */
  | { readonly kind: "empty" }
  | { readonly kind: "refused"; readonly message: string };

export interface KubeletAddress {
  readonly host: string;
  readonly port: number;
}

/** `status.addresses` in the order of kubeadm's --kubelet-preferred-address-types. */
const ADDRESS_TYPES = ["InternalIP", "ExternalIP", "Hostname"];

export function kubeletAddress(node: Node): KubeletAddress | undefined {
  const addresses = node.status?.addresses ?? [];
  const host = ADDRESS_TYPES.map((type) => addresses.find((it) => it.type === type)?.address).find(
    (address) => address !== undefined,
  );
  if (host === undefined) return undefined;
  return { host, port: node.status?.daemonEndpoints?.kubeletEndpoint?.Port || 10_250 };
}

export function kubeletTarget(stream: PodStream, pod: Pod, query: URLSearchParams): KubeletTarget {
  const { namespace, name } = pod.metadata;
  const base = `${namespace}/${name}`;
  if (stream === "portforward")
    return hosted(stream, pod, withQuery(`/portForward/${base}`, portQuery(query)));
  const container = chooseContainer(pod, query.get("container") ?? "");
  if (container.kind === "refused") return container;
  const place = `${base}/${container.name}`;
  if (stream === "log")
    return hosted(stream, pod, withQuery(`/containerLogs/${place}`, logQuery(query)));
  return hosted(stream, pod, withQuery(`/${stream}/${place}`, streamQuery(query)));
}

function hosted(stream: PodStream, pod: Pod, path: string): KubeletTarget {
  if (pod.spec.nodeName) return { kind: "target", path };
  if (stream === "log") return { kind: "empty" };
  return { kind: "refused", message: `pod ${pod.metadata.name} does not have a host assigned` };
}

type Choice =
  | { readonly kind: "chosen"; readonly name: string }
  | { readonly kind: "refused"; readonly message: string };

function chooseContainer(pod: Pod, wanted: string): Choice {
  const { containers, initContainers = [], ephemeralContainers = [] } = pod.spec;
  const all = [...containers, ...initContainers, ...ephemeralContainers].map((it) => it.name);
  const podName = pod.metadata.name;
  if (wanted !== "")
    return all.includes(wanted)
      ? { kind: "chosen", name: wanted }
      : { kind: "refused", message: `container ${wanted} is not valid for pod ${podName}` };
  const [only, ...others] = containers;
  if (only !== undefined && others.length === 0) return { kind: "chosen", name: only.name };
  const names = `[${containers.map((it) => it.name).join(" ")}]`;
  const inits =
    initContainers.length === 0
      ? ""
      : ` or one of the init containers: [${initContainers.map((it) => it.name).join(" ")}]`;
  return {
    kind: "refused",
    message: `a container name must be specified for pod ${podName}, choose one of: ${names}${inits}`,
  };
}

function logQuery(query: URLSearchParams): URLSearchParams {
  const out = new URLSearchParams();
  for (const flag of ["follow", "previous", "timestamps"]) {
    if (isSet(query, flag)) out.set(flag, "true");
  }
  for (const field of ["sinceSeconds", "sinceTime", "tailLines", "limitBytes", "stream"]) {
    const value = query.get(field);
    if (value !== null && value !== "") out.set(field, value);
  }
  return out;
}

function streamQuery(query: URLSearchParams): URLSearchParams {
  const out = new URLSearchParams();
  const names = { stdin: "input", stdout: "output", stderr: "error", tty: "tty" };
  for (const [field, name] of Object.entries(names)) {
    if (isSet(query, field)) out.set(name, "1");
  }
  for (const word of query.getAll("command")) out.append("command", word);
  return out;
}

function portQuery(query: URLSearchParams): URLSearchParams {
  const ports = query.getAll("ports");
  return ports.length === 0
    ? new URLSearchParams()
    : new URLSearchParams({ port: ports.join(",") });
}

/** As apimachinery converts a query to a bool: there and neither "false" nor "0". */
function isSet(query: URLSearchParams, name: string): boolean {
  const value = query.get(name);
  return value !== null && value.toLowerCase() !== "false" && value !== "0";
}

function withQuery(path: string, query: URLSearchParams): string {
  return query.size === 0 ? path : `${path}?${query}`;
}
