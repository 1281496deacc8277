/**
 * The labels that tell what a container is: the only state Longshore keeps in the Engine. Pure encode and decode; what
 * does not decode is not ours, or broken, and is told apart by `reason`. Keys follow cri-dockerd where it has them.
 */

import type {
  ContainerConfig,
  ContainerKind,
  HostPort,
  PodIdentity,
  SandboxConfig,
} from "./runtime.ts";

export type Labels = Readonly<Record<string, string>>;

export const POD_UID = "io.kubernetes.pod.uid";
const POD_NAME = "io.kubernetes.pod.name";
const POD_NAMESPACE = "io.kubernetes.pod.namespace";
const CONTAINER_NAME = "io.kubernetes.container.name";
/** Set on everything of ours, and on nothing else: what listings filter by. */
export const OWNER = "longshore.io/role";
const ATTEMPT = "longshore.io/attempt";
const KIND = "longshore.io/kind";
const SPEC_HASH = "longshore.io/spec-hash";
const SANDBOX_ID = "longshore.io/sandbox";
const IMAGE = "longshore.io/image";
const IPS = "longshore.io/ips";
const HOST_PORTS = "longshore.io/host-ports";
const HOST_NETWORK = "longshore.io/host-network";
const ANNOTATIONS = "longshore.io/annotations";

/** cri-dockerd's name of a sandbox among the containers of a pod. */
const SANDBOX_NAME = "POD";

interface Common {
  readonly pod: PodIdentity;
  readonly attempt: number;
  readonly annotations: Readonly<Record<string, string>>;
}

export type Decoded =
  | (Common & {
      readonly role: "sandbox";
      readonly ips: readonly string[];
      readonly hostPorts: readonly HostPort[];
      readonly hostNetwork: boolean;
    })
  | (Common & {
      readonly role: "container";
      readonly name: string;
      readonly kind: ContainerKind;
      readonly specHash: string;
      readonly sandboxId: string;
      readonly image: string;
    })
  | { readonly role: "foreign"; readonly reason: string };

function encodeCommon(config: SandboxConfig | ContainerConfig): Labels {
  return {
    [POD_UID]: config.pod.uid,
    [POD_NAME]: config.pod.name,
    [POD_NAMESPACE]: config.pod.namespace,
    [ATTEMPT]: String(config.attempt),
    [ANNOTATIONS]: JSON.stringify(config.annotations),
  };
}

export function encodeSandbox(config: SandboxConfig): Labels {
  return {
    ...encodeCommon(config),
    [OWNER]: "sandbox",
    [CONTAINER_NAME]: SANDBOX_NAME,
    [IPS]: config.ips.join(","),
    ...(config.hostPorts.length === 0
      ? {}
      : { [HOST_PORTS]: config.hostPorts.map(encodePort).join(",") }),
    [HOST_NETWORK]: String(config.hostNetwork),
  };
}

export function encodeContainer(config: ContainerConfig): Labels {
  return {
    ...encodeCommon(config),
    [OWNER]: "container",
    [CONTAINER_NAME]: config.name,
    [KIND]: config.kind,
    [SPEC_HASH]: config.specHash,
    [SANDBOX_ID]: config.sandboxId,
    [IMAGE]: config.image,
  };
}

/** The role of a container that never runs: it keeps an image that a pod shows as a volume. */
export const IMAGE_HOLDER = "image-volume";

export function encodeImageHolder(podUid: string): Record<string, string> {
  return { [OWNER]: IMAGE_HOLDER, [POD_UID]: podUid };
}

export function decodeLabels(labels: Labels): Decoded {
  const role = labels[OWNER];
  if (role !== "sandbox" && role !== "container") return foreign("not made by Longshore");
  const pod = {
    uid: labels[POD_UID] ?? "",
    name: labels[POD_NAME] ?? "",
    namespace: labels[POD_NAMESPACE] ?? "",
  };
  const attempt = Number(labels[ATTEMPT]);
  const annotations = decodeAnnotations(labels[ANNOTATIONS]);
  if (pod.uid === "" || pod.name === "" || pod.namespace === "") return foreign("no pod named");
  if (!Number.isInteger(attempt) || attempt < 0) return foreign(`attempt ${labels[ATTEMPT]}`);
  if (annotations === undefined) return foreign("annotations are not a JSON object of strings");
  const common = { pod, attempt, annotations };
  if (role === "sandbox") {
    const ips = (labels[IPS] ?? "").split(",").filter((ip) => ip !== "");
    const hostPorts = decodePorts(labels[HOST_PORTS] ?? "");
    return { ...common, role, ips, hostPorts, hostNetwork: labels[HOST_NETWORK] === "true" };
  }
  const kind = labels[KIND];
  const name = labels[CONTAINER_NAME] ?? "";
  if (kind !== "init" && kind !== "app" && kind !== "ephemeral") return foreign(`kind ${kind}`);
  if (name === "" || name === SANDBOX_NAME) return foreign("no container named");
  return {
    ...common,
    role,
    name,
    kind,
    specHash: labels[SPEC_HASH] ?? "",
    sandboxId: labels[SANDBOX_ID] ?? "",
    image: labels[IMAGE] ?? "",
  };
}

function encodePort({ protocol, hostIp, hostPort, containerPort }: HostPort): string {
  return [protocol, hostIp, hostPort, containerPort].join(":");
}

/** What is of another form was not written by us, and makes no rule. */
function decodePorts(text: string): readonly HostPort[] {
  const form = /(?:^|,)(TCP|UDP|SCTP):([\d.]*):(\d{1,5}):(\d{1,5})(?=,|$)/g;
  return [...text.matchAll(form)].map(([, protocol, hostIp = "", hostPort, containerPort]) => ({
    ...{ protocol: protocol as HostPort["protocol"], hostIp },
    ...{ hostPort: Number(hostPort), containerPort: Number(containerPort) },
  }));
}

function foreign(reason: string): Decoded {
  return { role: "foreign", reason };
}

function decodeAnnotations(text: string | undefined): Readonly<Record<string, string>> | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text ?? "{}");
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) return undefined;
  const isText = Object.values(value).every((inner) => typeof inner === "string");
  return isText ? (value as Record<string, string>) : undefined;
}
