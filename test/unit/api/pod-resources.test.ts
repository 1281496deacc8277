import { describe, expect, test } from "vitest";
import {
  computePodLimits,
  computePodRequests,
  computeQosClass,
} from "../../../src/api/pod-resources.ts";
import type { Container, PodSpec } from "../../../src/api/types.ts";

type Resources = NonNullable<Container["resources"]>;
const asks = (name: string, resources: Resources = {}): Container => ({ name, resources });
const spec = (containers: readonly Resources[], more: Partial<PodSpec> = {}): PodSpec => ({
  containers: containers.map((resources, index) => asks(`c${index}`, resources)),
  ...more,
});

describe("a pod", () => {
  test.each<readonly [string, PodSpec, object, object]>([
    ["nothing", spec([{}]), {}, {}],
    [
      "the sum of its containers",
      spec([{ requests: { cpu: "100m" } }, { requests: { cpu: "1", memory: "1Ki" } }]),
      { cpu: 1100, memory: 1024 },
      {},
    ],
    [
      "limits where it requests nothing",
      spec([{ limits: { cpu: "2", "example.com/x": "3" } }]),
      { cpu: 2000, "example.com/x": 3 },
      { cpu: 2000, "example.com/x": 3 },
    ],
    [
      "limits only where each container has one",
      spec([{ limits: { cpu: "1", memory: "1Ki" } }, { limits: { cpu: "1" } }]),
      { cpu: 2000, memory: 1024 },
      { cpu: 2000 },
    ],
    [
      "the greatest of what runs before",
      spec([{ requests: { cpu: "1" } }], {
        initContainers: [asks("i", { requests: { cpu: "3" } }), asks("j")],
      }),
      { cpu: 3000 },
      {},
    ],
    [
      "its sidecars with what runs after them",
      spec([{ requests: { cpu: "1" } }], {
        initContainers: [
          asks("before", { requests: { cpu: "2" } }),
          { ...asks("sidecar", { requests: { cpu: "500m" } }), restartPolicy: "Always" },
          asks("after", { requests: { cpu: "2" } }),
        ],
      }),
      { cpu: 2500 },
      {},
    ],
    [
      "what it says itself, and its overhead",
      spec([{ requests: { cpu: "1", memory: "5" } }], {
        resources: { requests: { cpu: "3" }, limits: { cpu: "4" } },
        overhead: { cpu: "250m", memory: "1" },
      }),
      { cpu: 3250, memory: 6 },
      { cpu: 4250 },
    ],
  ])("requests %s", (_what, of, requests, limits) => {
    expect(computePodRequests(of)).toEqual(requests);
    expect(computePodLimits(of)).toEqual(limits);
  });

  const both = { cpu: "1", memory: "1Gi" };
  test.each<readonly [string, PodSpec, string]>([
    ["BestEffort without any", spec([{}, {}]), "BestEffort"],
    ["BestEffort with zeros", spec([{ requests: { cpu: "0" } }]), "BestEffort"],
    ["BestEffort with other resources", spec([{ limits: { "example.com/x": 1 } }]), "BestEffort"],
    ["Guaranteed with limits", spec([{ limits: both }]), "Guaranteed"],
    [
      "Guaranteed in other words",
      spec([{ limits: both, requests: { cpu: "1000m", memory: "1024Mi" } }]),
      "Guaranteed",
    ],
    ["Burstable with less", spec([{ limits: both, requests: { cpu: "1m" } }]), "Burstable"],
    ["Burstable with one of two", spec([{ limits: both }, {}]), "Burstable"],
    [
      "Burstable for its init container",
      spec([{ limits: both }], { initContainers: [asks("i")] }),
      "Burstable",
    ],
    ["Guaranteed by its own limits", spec([{}], { resources: { limits: both } }), "Guaranteed"],
    [
      "Burstable by its own requests",
      spec([{ limits: both }], { resources: { requests: { cpu: "1" } } }),
      "Burstable",
    ],
  ])("is %s", (_sentence, of, expected) => {
    expect(computeQosClass(of)).toBe(expected);
  });
});
