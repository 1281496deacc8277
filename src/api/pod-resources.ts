/**
 * What a whole pod requests and may use, and the quality of service class that follows: containers that run together
 * add up, those that run before count by the greatest, what the pod itself says wins. Pure. Used by admission, by the
 * cgroups of pods and by the status.
 */

import { milliValue, parseQuantity, value, type WireQuantity } from "./quantity.ts";
import type { Container, PodSpec, PodStatus } from "./types.ts";

/** By resource name: cpu in millicores, everything else in whole units. */
export type Amounts = Readonly<Record<string, number>>;

export type QosClass = NonNullable<PodStatus["qosClass"]>;

type ResourceList = Readonly<Record<string, WireQuantity>>;
type Resources = { readonly requests?: ResourceList; readonly limits?: ResourceList };

export function toAmounts(list: ResourceList | null | undefined): Amounts {
  return Object.fromEntries(
    Object.entries(list ?? {}).map(([name, quantity]) => [
      name,
      name === "cpu" ? milliValue(quantity) : value(quantity),
    ]),
  );
}

/** A limit without a request is also the request. */
export function requestsOf({ resources }: { readonly resources?: Resources | undefined }): Amounts {
  return toAmounts({ ...resources?.limits, ...resources?.requests });
}

export function limitsOf({ resources }: { readonly resources?: Resources | undefined }): Amounts {
  return toAmounts(resources?.limits);
}

function combine(a: Amounts, b: Amounts, how: (x: number, y: number) => number): Amounts {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return Object.fromEntries([...names].map((name) => [name, how(a[name] ?? 0, b[name] ?? 0)]));
}

const add = (x: number, y: number): number => x + y;

function aggregate(spec: PodSpec, amountsOf: (container: Container) => Amounts): Amounts {
  let running: Amounts = {};
  let greatest: Amounts = {};
  for (const container of spec.initContainers ?? []) {
    const together = combine(running, amountsOf(container), add);
    if (container.restartPolicy === "Always") running = together;
    greatest = combine(greatest, together, Math.max);
  }
  const sum = spec.containers.map(amountsOf).reduce((a, b) => combine(a, b, add), running);
  return combine(sum, greatest, Math.max);
}

/** With the overhead of the pod's RuntimeClass. */
export function computePodRequests(spec: PodSpec): Amounts {
  const requests = { ...aggregate(spec, requestsOf), ...toAmounts(spec.resources?.requests) };
  return combine(requests, toAmounts(spec.overhead), add);
}

/** Of a resource when any container has a limit for it. */
export function computeLimitSums(spec: PodSpec): Amounts {
  return aggregate(spec, limitsOf);
}

/** Of a resource only when the pod, or each of its containers, has a limit for it: else there is none. */
export function computePodLimits(spec: PodSpec): Amounts {
  const all = [...(spec.initContainers ?? []), ...spec.containers].map(limitsOf);
  const sums = Object.entries(aggregate(spec, limitsOf)).filter(([name]) =>
    all.every((limits) => (limits[name] ?? 0) > 0),
  );
  const limits = { ...Object.fromEntries(sums), ...toAmounts(spec.resources?.limits) };
  const overhead = toAmounts(spec.overhead);
  return Object.fromEntries(
    Object.entries(limits).map(([name, amount]) => [name, amount + (overhead[name] ?? 0)]),
  );
}

const COUNTED = ["cpu", "memory"] as const;

/** As the API server computes it: from the pod's own resources where it has any, else from its containers'. */
export function computeQosClass(spec: PodSpec): QosClass {
  const own = spec.resources;
  const hasOwn = Object.keys({ ...own?.requests, ...own?.limits }).length > 0;
  const parts: readonly { readonly resources?: Resources }[] = hasOwn
    ? [spec]
    : [...(spec.initContainers ?? []), ...spec.containers];
  const nano = (list: ResourceList | undefined, name: string): bigint =>
    parseQuantity(list?.[name] ?? 0);
  const isGuaranteed = parts.every(({ resources }) =>
    COUNTED.every((name) => {
      const limit = nano(resources?.limits, name);
      const request = resources?.requests?.[name];
      return limit > 0n && (request === undefined || parseQuantity(request) === limit);
    }),
  );
  if (isGuaranteed) return "Guaranteed";
  const hasAny = parts.some(({ resources }) =>
    COUNTED.some(
      (name) => nano(resources?.limits, name) > 0n || nano(resources?.requests, name) > 0n,
    ),
  );
  return hasAny ? "Burstable" : "BestEffort";
}
