/** Raw Engine JSON → our readonly types, and nothing else sees the raw form. Pure. */

import type { ContainerInspectInfo, ImageInfo, ImageInspectInfo } from "dockerode";
import { decodeLabels } from "../labels.ts";
import type { Container, ContainerResources, Image, Sandbox } from "../runtime.ts";

export type Translated =
  | { readonly role: "sandbox"; readonly sandbox: Sandbox }
  | { readonly role: "container"; readonly container: Container }
  | { readonly role: "foreign"; readonly reason: string };

/** Milliseconds since the epoch; 0 for the Engine's zero time. */
export function parseEngineTime(text: string): number {
  if (text === "" || text.startsWith("0001-01-01")) return 0;
  return Date.parse(text);
}

export function translateInspect(raw: ContainerInspectInfo): Translated {
  const decoded = decodeLabels(raw.Config.Labels ?? {});
  if (decoded.role === "foreign") return decoded;
  const state = stateOf(raw);
  const { pod, attempt, annotations } = decoded;
  const common = { id: raw.Id, pod, attempt, annotations, createdAt: parseEngineTime(raw.Created) };
  const pid = state === "running" ? raw.State.Pid : 0;
  if (decoded.role === "sandbox") {
    const { hostNetwork, ips, hostPorts } = decoded;
    const sandboxState = state === "running" ? "ready" : state;
    return {
      role: "sandbox",
      sandbox: { ...common, state: sandboxState, hostNetwork, ips, hostPorts, pid },
    };
  }
  const startedAt = parseEngineTime(raw.State.StartedAt);
  return {
    role: "container",
    container: {
      ...common,
      name: decoded.name,
      kind: decoded.kind,
      specHash: decoded.specHash,
      sandboxId: decoded.sandboxId,
      image: decoded.image,
      imageId: raw.Image,
      state,
      pid,
      startedAt,
      // The Engine stamps the start of a short-lived program up to some milliseconds after its end.
      finishedAt:
        state === "exited" ? Math.max(startedAt, parseEngineTime(raw.State.FinishedAt)) : 0,
      exitCode: raw.State.ExitCode,
      oomKilled: raw.State.OOMKilled,
      error: raw.State.Error,
      resources: translateResources(raw),
    },
  };
}

/** Zero and less is the Engine's for no limit. */
export function translateResources({
  HostConfig: { CpuShares = 0, CpuQuota = 0, CpuPeriod = 0, Memory = 0 },
}: Pick<ContainerInspectInfo, "HostConfig">): ContainerResources {
  return {
    cpuShares: CpuShares,
    ...(CpuQuota > 0 ? { cpuQuotaMicros: CpuQuota, cpuPeriodMicros: CpuPeriod } : {}),
    ...(Memory > 0 ? { memoryBytes: Memory } : {}),
  };
}

function stateOf(raw: ContainerInspectInfo): "created" | "running" | "exited" {
  switch (raw.State.Status) {
    case "created":
      return "created";
    case "running":
    case "paused":
    case "restarting":
      return "running";
    default:
      return "exited";
  }
}

export function translateImageInspect(raw: ImageInspectInfo): Image {
  return {
    id: raw.Id,
    tags: raw.RepoTags ?? [],
    digests: raw.RepoDigests ?? [],
    sizeBytes: raw.Size,
    user: raw.Config?.User ?? "",
  };
}

/** From a listing, which does not tell the user. */
export function translateImageInfo(raw: ImageInfo): Image {
  return {
    id: raw.Id,
    tags: (raw.RepoTags ?? []).filter((tag) => tag !== "<none>:<none>"),
    digests: (raw.RepoDigests ?? []).filter((digest) => digest !== "<none>@<none>"),
    sizeBytes: raw.Size,
    user: "",
  };
}
