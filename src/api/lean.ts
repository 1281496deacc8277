/**
 * What is kept in memory of objects of which a cluster has thousands: of Services and EndpointSlices only what the agent
 * reads. Pure. Given to their reflectors by agent.ts and agent-proxy.ts.
 */

import type { EndpointSlice, NamespacedMeta, Service } from "./types.ts";

/** kube-proxy's: another proxy serves it. */
const SERVICE_LABELS = ["service.kubernetes.io/service-proxy-name"];
const SLICE_LABELS = ["kubernetes.io/service-name", "service.kubernetes.io/headless"];
/** From when the network programming latency counts. */
const SLICE_ANNOTATIONS = ["endpoints.kubernetes.io/last-change-trigger-time"];

type Texts = Readonly<Record<string, string>>;

function pick(texts: Texts | undefined, keys: readonly string[]): Texts | undefined {
  const kept = keys.flatMap((key) => {
    const text = texts?.[key];
    return text === undefined ? [] : [[key, text] as const];
  });
  return kept.length === 0 ? undefined : Object.fromEntries(kept);
}

function leanMeta(
  { name, namespace, uid, resourceVersion, labels, annotations }: NamespacedMeta,
  keep: { readonly labels: readonly string[]; readonly annotations: readonly string[] },
): NamespacedMeta {
  const keptLabels = pick(labels, keep.labels);
  const keptAnnotations = pick(annotations, keep.annotations);
  return {
    ...{ name, namespace, uid, resourceVersion },
    ...(keptLabels === undefined ? {} : { labels: keptLabels }),
    ...(keptAnnotations === undefined ? {} : { annotations: keptAnnotations }),
  };
}

export function leanService({ metadata, spec, status }: Service): Service {
  const { loadBalancer } = status ?? {};
  return {
    ...{ apiVersion: "v1", kind: "Service" },
    metadata: leanMeta(metadata, { labels: SERVICE_LABELS, annotations: [] }),
    ...(spec === undefined ? {} : { spec }),
    ...(loadBalancer?.ingress === undefined ? {} : { status: { loadBalancer } }),
  };
}

export function leanSlice(slice: EndpointSlice): EndpointSlice {
  const { metadata, addressType, ports, endpoints } = slice;
  return {
    ...{ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType },
    metadata: leanMeta(metadata, { labels: SLICE_LABELS, annotations: SLICE_ANNOTATIONS }),
    ...(ports === undefined ? {} : { ports }),
    endpoints: (endpoints ?? []).map(leanEndpoint),
  };
}

type Endpoint = NonNullable<EndpointSlice["endpoints"]>[number];

function leanEndpoint({ addresses, conditions, nodeName, zone, hints }: Endpoint): Endpoint {
  return {
    addresses,
    ...(conditions === undefined ? {} : { conditions }),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone }),
    ...(hints === undefined ? {} : { hints }),
  };
}
