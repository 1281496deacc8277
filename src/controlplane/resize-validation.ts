/**
 * In-place resize in upstream's words: what a container says of it in its resizePolicy, and what pods/resize may change,
 * which is cpu and memory, never so that the pod is of another class. Pure; problems are collected. Called by
 * container-lists.ts and validation.ts.
 */

import { isDeepStrictEqual } from "node:util";
import {
  checkEnum,
  child,
  duplicate,
  type Field,
  forbiddenField,
  invalidValue,
  objectsOf,
  type Problems,
  required,
} from "./field-errors.ts";
import { at, isObject, type KubeObject, listAt, textAt, without } from "./objects.ts";
import { computeQosClass } from "./pod-qos.ts";
import { MIRROR_ANNOTATION } from "./pod-references.ts";

type Plain = Readonly<Record<string, unknown>>;

const LISTS = ["initContainers", "containers"] as const;

export function validateResizePolicy(
  policies: Field,
  podRestartPolicy: unknown,
  problems: Problems,
): void {
  const seen = new Set<unknown>();
  for (const policy of objectsOf(policies, problems)) {
    const resource = child(policy, "resourceName");
    const restart = child(policy, "restartPolicy");
    if (!resource.value) problems.push(required(resource));
    else checkEnum(resource, ["cpu", "memory"], problems);
    if (!restart.value) problems.push(required(restart));
    else checkEnum(restart, ["NotRequired", "RestartContainer"], problems);
    if (seen.has(resource.value)) problems.push(duplicate({ ...policies, value: resource.value }));
    seen.add(resource.value);
    if (podRestartPolicy !== "Never" || restart.value !== "RestartContainer") continue;
    const rule = "must be 'NotRequired' when `restartPolicy` is 'Never'";
    problems.push(invalidValue({ ...policies, value: restart.value }, rule));
  }
}

/** What of a sent pod a resize takes: resources and, so that a change of them is refused, names and policies. */
export function resizedSpec(before: unknown, sent: unknown): unknown {
  if (!isObject(before)) return before;
  const lists = LISTS.filter(
    (list) => at(before, list) !== undefined || at(sent, list) !== undefined,
  );
  return {
    ...take(before, sent, "resources"),
    ...Object.fromEntries(lists.map((list) => [list, resizedList(before[list], at(sent, list))])),
  };
}

function resizedList(before: unknown, sent: unknown): unknown {
  if (!Array.isArray(sent)) return sent;
  return sent.map((container: unknown, index) => {
    if (!isObject(container)) return container;
    const named = listAt({ before }, "before").find((it) => textAt(it, "name") === container.name);
    const own = named ?? listAt({ before }, "before")[index];
    return take(isObject(own) ? own : {}, container, "name", "resources", "resizePolicy");
  });
}

/** A copy of `before` with these fields as they are in `sent`, absent where they are absent there. */
function take(before: Plain, sent: unknown, ...fields: readonly string[]): Plain {
  const given = fields.filter((field) => at(sent, field) !== undefined);
  return {
    ...without(before, ...fields),
    ...Object.fromEntries(given.map((field) => [field, at(sent, field)])),
  };
}

/** pods/resize. */
export function validatePodResize(pod: KubeObject, old: KubeObject, problems: Problems): void {
  const refuse = (path: string, rule: string) =>
    problems.push(forbiddenField({ path, value: undefined }, rule));
  if (at(old, "metadata", "annotations", MIRROR_ANNOTATION) !== undefined)
    return void refuse("", "static pods cannot be resized");
  if (at(old, "spec", "os", "name") === "windows")
    return void refuse("", "windows pods cannot be resized");
  const qosClass = at(old, "status", "qosClass") ?? computeQosClass(old);
  if (computeQosClass(pod) !== qosClass) {
    const field = { path: "spec", value: qosClass };
    problems.push(invalidValue(field, "Pod QOS Class may not change as a result of resizing"));
  }
  validatePodLevel(at(pod, "spec", "resources"), at(old, "spec", "resources"), refuse);
  const isSame = LISTS.map((list) => checkOrder(list, pod, old, refuse));
  if (isSame.includes(false)) return;
  for (const list of LISTS) {
    for (const [index, before] of listAt(old, "spec", list).entries()) {
      const after = listAt(pod, "spec", list)[index];
      validateContainerResize({ list, index, after, before }, refuse);
    }
  }
}

type Refuse = (path: string, rule: string) => unknown;

function checkOrder(list: string, pod: KubeObject, old: KubeObject, refuse: Refuse): boolean {
  const namesOf = (of: KubeObject) => listAt(of, "spec", list).map((it) => textAt(it, "name"));
  const [after, before] = [namesOf(pod), namesOf(old)];
  if (after.length !== before.length) {
    refuse(`spec.${list}`, `${list} may not be added or removed on resize`);
    return false;
  }
  for (const [index, name] of after.entries()) {
    if (name === before[index]) continue;
    refuse(`spec.${list}[${index}].name`, `${list} may not be renamed or reordered on resize`);
  }
  return isDeepStrictEqual(after, before);
}

function validateContainerResize(
  change: { list: (typeof LISTS)[number]; index: number; after: unknown; before: unknown },
  refuse: Refuse,
): void {
  const { list, index, after, before } = change;
  const path = `spec.${list}[${index}]`;
  for (const part of ["requests", "limits"]) {
    if (isRemoved(after, before, "resources", part))
      refuse(`${path}.resources.${part}`, `resource ${part} cannot be removed`);
  }
  const isChanged = !isDeepStrictEqual(at(after, "resources"), at(before, "resources"));
  const policies = listAt(before, "resizePolicy");
  const isInit = list === "initContainers";
  if (!isDeepStrictEqual(fixedPart(after), fixedPart(before))) {
    const which = isInit ? " for init or sidecar containers" : "";
    refuse(isInit ? path : "spec", `only cpu and memory resources${which} are mutable`);
  }
  const mayRestart = policies.some((it) => at(it, "restartPolicy") === "RestartContainer");
  if (isInit && isChanged && mayRestart && at(before, "restartPolicy") !== "Always")
    refuse(
      path,
      "non-sidecar init containers with a resize policy of RestartContainer cannot be resized",
    );
}

function validatePodLevel(after: unknown, before: unknown, refuse: Refuse): void {
  if (after === undefined && before === undefined) return;
  if (after === undefined)
    return void refuse("spec.resources", "pod-level resources cannot be removed");
  for (const part of ["requests", "limits"]) {
    if (isRemoved(after, before, part))
      refuse(`spec.resources.${part}`, `pod-level resource ${part} cannot be removed`);
  }
  const fixed = (resources: unknown) => fixedPart({ resources });
  if (isDeepStrictEqual(fixed(after), fixed(before))) return;
  refuse("spec", "only cpu and memory resources are mutable at pod-level");
}

function isRemoved(after: unknown, before: unknown, ...path: readonly string[]): boolean {
  const kept = at(after, ...path);
  const names = Object.keys({ ...(at(before, ...path) as object | undefined) });
  return names.some((name) => at(kept, name) === undefined);
}

/** A container without the amounts that may change. */
function fixedPart(container: unknown): unknown {
  const { requests, limits, ...rest } = { ...(at(container, "resources") as Plain | undefined) };
  const others = (list: unknown) => (isObject(list) ? without(list, "cpu", "memory") : {});
  return {
    ...(isObject(container) ? container : {}),
    resources: { ...rest, requests: others(requests), limits: others(limits) },
  };
}
