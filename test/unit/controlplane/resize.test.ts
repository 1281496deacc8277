import { describe, expect, it, test } from "vitest";
import { applyDefaults, prepareForCreate } from "../../../src/controlplane/defaults.ts";
import { mergeSent } from "../../../src/controlplane/object-input.ts";
import type { KubeObject } from "../../../src/controlplane/objects.ts";
import { PODS } from "../../../src/controlplane/registry.ts";
import { StatusError } from "../../../src/controlplane/status-error.ts";
import { validateCreate, validateUpdate } from "../../../src/controlplane/validation.ts";

type Fields = Readonly<Record<string, unknown>>;

const SMALL = { requests: { cpu: "100m", "x.io/y": "1" }, limits: { cpu: "200m", "x.io/y": "1" } };
const BIG = { requests: { cpu: "200m", "x.io/y": "1" }, limits: { cpu: "400m", "x.io/y": "1" } };
const one = (name: string, fields: Fields = {}): Fields => ({ name, image: "busybox", ...fields });

function podOf(spec: Fields, metadata: Fields = {}): KubeObject {
  const pod = {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "x", namespace: "ns", ...metadata },
    spec,
  };
  return prepareForCreate(PODS, applyDefaults(PODS, pod as unknown as KubeObject));
}

/** What is wrong, without `Pod "x" is invalid: `; "" if nothing. */
function problemOf(run: () => void): string {
  try {
    run();
  } catch (error) {
    if (error instanceof StatusError && error.body.code === 422)
      return error.message.replace('Pod "x" is invalid: ', "");
    throw error;
  }
  return "";
}

const path = { type: PODS, namespace: "ns", name: "x", subresource: "resize", rest: "" };
const restart = { resizePolicy: [{ resourceName: "cpu", restartPolicy: "RestartContainer" }] };
const sidecar = { restartPolicy: "Always", ...restart };
const BASE = {
  containers: [one("a", { resources: SMALL }), one("b")],
  initContainers: [one("i", { resources: SMALL }), one("s", { ...sidecar, resources: SMALL })],
};
/** The pod whose first container is otherwise. */
const withA = (fields: Fields): Fields => ({ ...BASE, containers: [one("a", fields), one("b")] });

function resize(before: Fields, after: Fields, metadata: Fields = {}) {
  const old = podOf(before, metadata);
  const sent = { ...podOf(after, metadata), metadata: old.metadata };
  const next = applyDefaults(PODS, mergeSent(path, old, sent));
  return { spec: next.spec, problem: problemOf(() => validateUpdate(PODS, next, old, "resize")) };
}

describe("pods/resize", () => {
  it.each<[string, Fields, Fields]>([
    ["other amounts", BASE, withA({ resources: BIG })],
    [
      "requests where there were none",
      BASE,
      {
        ...BASE,
        containers: [BASE.containers[0], one("b", { resources: { requests: { memory: "1Mi" } } })],
      },
    ],
    [
      "an init container and a sidecar",
      BASE,
      { ...BASE, initContainers: BASE.initContainers.map((it) => ({ ...it, resources: BIG })) },
    ],
    ["the pod itself", { ...BASE, resources: SMALL }, { ...BASE, resources: BIG }],
    ["nothing", BASE, BASE],
  ])("changes %s", (_what, before, after) => {
    expect(resize(before, after)).toEqual({ spec: podOf(after).spec, problem: "" });
  });

  test("takes nothing but resources", () => {
    const sent = {
      ...withA({ resources: BIG, image: "other", env: [] }),
      activeDeadlineSeconds: 5,
    };
    const { spec } = podOf(withA({ resources: BIG }));
    expect(resize(BASE, sent)).toEqual({ spec, problem: "" });
  });

  const guaranteed = { limits: { cpu: "1", memory: "1Gi" } };
  const stubborn = { ...BASE, initContainers: [one("i", { resources: SMALL, ...restart })] };
  const others = { requests: { "x.io/y": "1" }, limits: { "x.io/y": "1" } };
  const more = {
    requests: { ...SMALL.requests, "x.io/y": "2" },
    limits: { ...SMALL.limits, "x.io/y": "2" },
  };
  it.each<[string, Fields, Fields, string]>([
    [
      "the class of the pod",
      { containers: [one("a", { resources: guaranteed })] },
      { containers: [one("a", { resources: { ...guaranteed, requests: { cpu: "500m" } } })] },
      'spec: Invalid value: "Guaranteed": Pod QOS Class may not change as a result of resizing',
    ],
    [
      "requests and limits to none",
      BASE,
      withA({ resources: others }),
      "[spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed, spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed]",
    ],
    [
      "other resources",
      BASE,
      withA({ resources: more }),
      "spec: Forbidden: only cpu and memory resources are mutable",
    ],
    [
      "the resizePolicy",
      BASE,
      withA({ resources: SMALL, ...restart }),
      "spec: Forbidden: only cpu and memory resources are mutable",
    ],
    [
      "the order of containers",
      BASE,
      { ...BASE, containers: [...BASE.containers].reverse() },
      "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize",
    ],
    [
      "names",
      BASE,
      { ...BASE, containers: [BASE.containers[0], one("c")] },
      "spec.containers[1].name: Forbidden: containers may not be renamed or reordered on resize",
    ],
    [
      "the number of containers",
      BASE,
      { ...BASE, initContainers: [] },
      "spec.initContainers: Forbidden: initContainers may not be added or removed on resize",
    ],
    [
      "an init container that would have to start anew",
      stubborn,
      { ...stubborn, initContainers: [one("i", { resources: BIG, ...restart })] },
      "spec.initContainers[0]: Forbidden: non-sidecar init containers with a resize policy of RestartContainer cannot be resized",
    ],
    [
      "pod-level resources to none",
      { ...BASE, resources: SMALL },
      BASE,
      "spec.resources: Forbidden: pod-level resources cannot be removed",
    ],
    [
      "a request to more than its limit",
      BASE,
      withA({ resources: { ...SMALL, requests: { cpu: "3", "x.io/y": "1" } } }),
      "must be less than or equal to cpu limit of 200m",
    ],
    [
      "amounts to rubbish",
      BASE,
      withA({ resources: 7 }),
      "spec.containers[0].resources: Invalid value: 7: must be of type object",
    ],
    ["containers to rubbish", BASE, { ...BASE, containers: [7, null] }, "must be of type object"],
    ["containers to no list", BASE, { ...BASE, containers: 7 }, "must be of type array"],
  ])("does not change %s", (_what, before, after, problem) => {
    expect(resize(before, after).problem).toContain(problem);
  });

  test("is none of a mirror pod's", () => {
    const annotations = { "kubernetes.io/config.mirror": "x" };
    const { problem } = resize(BASE, BASE, { annotations });
    expect(problem).toContain("Forbidden: static pods cannot be resized");
  });
});

describe("the resizePolicy of a container", () => {
  const create = (spec: Fields, ...resizePolicy: unknown[]) =>
    problemOf(() =>
      validateCreate(PODS, podOf({ ...spec, containers: [one("a", { resizePolicy })] })),
    );
  const cpu = { resourceName: "cpu", restartPolicy: "RestartContainer" };

  it.each([
    [
      "of an unknown resource",
      {},
      [{ ...cpu, resourceName: "disk" }],
      'resourceName: Unsupported value: "disk": supported values: "cpu", "memory"',
    ],
    ["unknown", {}, [{ ...cpu, restartPolicy: "Maybe" }], 'Unsupported value: "Maybe"'],
    ["of nothing", {}, [{}], "resourceName: Required value"],
    ["given twice", {}, [cpu, cpu], 'spec.containers[0].resizePolicy: Duplicate value: "cpu"'],
    [
      "of a pod that never restarts",
      { restartPolicy: "Never" },
      [cpu],
      "Invalid value: \"RestartContainer\": must be 'NotRequired' when `restartPolicy` is 'Never'",
    ],
  ])("is refused when it is %s", (_what, spec, policies, problem) => {
    expect(create(spec, ...policies)).toContain(problem);
  });

  test("is taken for both resources", () => {
    expect(create({}, cpu, { resourceName: "memory", restartPolicy: "NotRequired" })).toBe("");
  });
});
