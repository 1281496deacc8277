/**
 * Which container instance a log or exec request means, chosen from the pod's status as the kubelet does, or the
 * kubelet's words for why there is none. Pure. Used by logs.ts, exec.ts, run.ts and port-forward.
 */

import type { ContainerStatus } from "../api/types.ts";
import type { PodView } from "../pods/directory.ts";
import type { Reply } from "./reply.ts";

export type ContainerChoice =
  | { readonly kind: "found"; readonly containerId: string }
  | { readonly kind: "refused"; readonly reply: Reply };

function refused(status: number, text: string): ContainerChoice {
  return { kind: "refused", reply: { status, text } };
}

/** `docker://<id>` → id. */
function idOf(containerID: string | undefined): string | undefined {
  const id = containerID?.split("://")[1];
  return id === "" ? undefined : id;
}

function found(id: string | undefined): ContainerChoice | undefined {
  return id === undefined ? undefined : { kind: "found", containerId: id };
}

function findStatus(view: PodView, name: string): ContainerStatus | undefined {
  const { status } = view;
  return [
    ...(status.containerStatuses ?? []),
    ...(status.initContainerStatuses ?? []),
    ...(status.ephemeralContainerStatuses ?? []),
  ].find((candidate) => candidate.name === name);
}

function isInSpec(view: PodView, name: string): boolean {
  const { spec } = view.pod;
  return [
    ...(spec.containers ?? []),
    ...(spec.initContainers ?? []),
    ...(spec.ephemeralContainers ?? []),
  ].some((candidate) => candidate.name === name);
}

export interface LogTarget {
  readonly pod: string;
  readonly container: string;
  readonly previous: boolean;
}

/** The instance whose log is meant: the running one, else the last that ended. */
export function chooseLogContainer(view: PodView | undefined, target: LogTarget): ContainerChoice {
  const { pod, container, previous } = target;
  if (view === undefined) return refused(404, `pod "${pod}" does not exist`);
  if (!isInSpec(view, container))
    return refused(404, `container "${container}" not found in pod "${pod}"`);
  const where = `container "${container}" in pod "${pod}"`;
  const status = findStatus(view, container);
  if (status === undefined) return refused(400, `${where} is not available`);
  const last = found(idOf(status.lastState?.terminated?.containerID));
  if (previous) return last ?? refused(400, `previous terminated ${where} not found`);
  const { running, terminated, waiting } = status.state ?? {};
  if (running !== undefined)
    return found(idOf(status.containerID)) ?? refused(400, `${where} is not available`);
  if (terminated !== undefined)
    return found(idOf(terminated.containerID)) ?? last ?? refused(400, `${where} is terminated`);
  return last ?? refused(400, `${where} is waiting to start: ${waitingWords(waiting?.reason)}`);
}

function waitingWords(reason: string | undefined): string {
  if (reason === "ErrImagePull") return "image can't be pulled";
  if (reason === "ImagePullBackOff") return "trying and failing to pull image";
  return reason ?? "ContainerCreating";
}

export interface ExecChoiceTarget {
  readonly namespace: string;
  readonly pod: string;
  readonly uid: string | undefined;
  readonly container: string;
}

/** The running instance. */
export function chooseExecContainer(
  view: PodView | undefined,
  target: ExecChoiceTarget,
): ContainerChoice {
  return chooseRunning(view, target, `container not found ("${target.container}")`);
}

export function chooseAttachContainer(
  view: PodView | undefined,
  target: ExecChoiceTarget,
): ContainerChoice {
  const { namespace, pod, container } = target;
  return chooseRunning(view, target, `container ${container} not found in pod ${pod}_${namespace}`);
}

function chooseRunning(
  view: PodView | undefined,
  { uid, container }: ExecChoiceTarget,
  words: string,
): ContainerChoice {
  const refusal = refusePod(view, uid);
  if (refusal !== undefined) return { kind: "refused", reply: refusal };
  const status = view === undefined ? undefined : findStatus(view, container);
  const id = status?.state?.running === undefined ? undefined : idOf(status.containerID);
  return found(id) ?? refused(500, words);
}

/** What is wrong with the pod of a stream. */
export function refusePod(view: PodView | undefined, uid: string | undefined): Reply | undefined {
  if (view === undefined) return { status: 404, text: "pod does not exist" };
  return uid === undefined || view.pod.metadata.uid === uid
    ? undefined
    : { status: 404, text: "pod not found" };
}
