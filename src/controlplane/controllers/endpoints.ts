/**
 * From a Service and the pods it selects to EndpointSlices and the legacy Endpoints object: pure, in the terms of
 * kube-controller-manager's endpointslice and endpoint controllers. Names of slices are a function of the service,
 * the address type, the resolved ports and the chunk, so that a second run yields the same objects. Called by the
 * endpointslices controller.
 */

import type { IEndpoint } from "kubernetes-models/discovery.k8s.io/v1/Endpoint";
import type { IEndpointSlice } from "kubernetes-models/discovery.k8s.io/v1/EndpointSlice";
import type { IEndpointAddress } from "kubernetes-models/v1/EndpointAddress";
import type { IEndpointSubset } from "kubernetes-models/v1/EndpointSubset";
import type { IEndpoints } from "kubernetes-models/v1/Endpoints";
import type { IServicePort } from "kubernetes-models/v1/ServicePort";
import type { Pod, Service } from "../../api/types.ts";
import { canonicalJson, hashValue } from "../../core/hash.ts";

export const MANAGED_BY = "endpointslice.kubernetes.io/managed-by";
export const SLICE_CONTROLLER = "endpointslice-controller.k8s.io";
export const SERVICE_NAME = "kubernetes.io/service-name";
const HEADLESS = "service.kubernetes.io/headless";
/** kube-controller-manager's --max-endpoints-per-slice. */
const MAX_ENDPOINTS = 100;

type Family = "IPv4" | "IPv6";

interface ResolvedPort {
  readonly name: string;
  readonly port: number;
  readonly protocol: "SCTP" | "TCP" | "UDP";
  readonly appProtocol?: string;
}

/** True for services whose endpoints come from pods; others are made by hand or have none. */
export function hasManagedEndpoints(service: Service): boolean {
  return (
    service.spec?.type !== "ExternalName" && Object.keys(service.spec?.selector ?? {}).length > 0
  );
}

export function isSelected(service: Service, pod: Pod): boolean {
  const labels = pod.metadata.labels ?? {};
  return Object.entries(service.spec?.selector ?? {}).every(
    ([key, value]) => labels[key] === value,
  );
}

/** The slices that should exist, sorted by name; without endpoints there is one empty slice per address family. */
export function computeEndpointSlices(
  service: Service,
  pods: readonly Pod[],
): readonly IEndpointSlice[] {
  const families = (service.spec?.ipFamilies ?? ["IPv4"]) as readonly Family[];
  const members = pods.filter((pod) => isSelected(service, pod) && isListable(pod)).sort(byName);
  return families
    .flatMap((family) => slicesOfFamily(service, members, family))
    .sort((a, b) => ((a.metadata?.name ?? "") < (b.metadata?.name ?? "") ? -1 : 1));
}

function slicesOfFamily(service: Service, pods: readonly Pod[], family: Family): IEndpointSlice[] {
  const groups = new Map<string, { ports: readonly ResolvedPort[]; endpoints: IEndpoint[] }>();
  for (const pod of pods) {
    const address = addressOf(pod, family);
    if (address === undefined) continue;
    const ports = resolvePorts(service, pod);
    const key = canonicalJson(ports);
    const group = groups.get(key) ?? { ports, endpoints: [] };
    group.endpoints.push(endpointOf(service, pod, address));
    groups.set(key, group);
  }
  if (groups.size === 0) return [sliceOf(service, family, [], [], 0)];
  return [...groups.values()].flatMap(({ ports, endpoints }) => {
    const chunks = Math.ceil(endpoints.length / MAX_ENDPOINTS);
    return Array.from({ length: chunks }, (_, chunk) =>
      sliceOf(
        service,
        family,
        ports,
        endpoints.slice(chunk * MAX_ENDPOINTS, (chunk + 1) * MAX_ENDPOINTS),
        chunk,
      ),
    );
  });
}

function sliceOf(
  service: Service,
  family: Family,
  ports: readonly ResolvedPort[],
  endpoints: readonly IEndpoint[],
  chunk: number,
): IEndpointSlice {
  const { name, namespace, uid, labels, annotations } = service.metadata;
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${name}-${hashValue([family, ports, chunk]).slice(0, 8)}`,
      namespace,
      labels: {
        ...labels,
        [SERVICE_NAME]: name,
        [MANAGED_BY]: SLICE_CONTROLLER,
        ...(isHeadless(service) ? { [HEADLESS]: "" } : {}),
      },
      ...(annotations === undefined ? {} : { annotations: withoutApplied(annotations) }),
      ownerReferences: [
        {
          apiVersion: "v1",
          kind: "Service",
          name,
          uid,
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    addressType: family,
    endpoints: [...endpoints],
    ports: [...ports],
  };
}

function endpointOf(service: Service, pod: Pod, address: string): IEndpoint {
  const serving = isPodReady(pod);
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const hostname = hostnameFor(service, pod);
  return {
    addresses: [address],
    conditions: {
      ready: service.spec?.publishNotReadyAddresses === true || (serving && !terminating),
      serving,
      terminating,
    },
    ...(hostname === undefined ? {} : { hostname }),
    ...(pod.spec.nodeName ? { nodeName: pod.spec.nodeName } : {}),
    targetRef: targetRefOf(pod),
  };
}

/** The legacy object: terminating pods are left out unless the service publishes addresses that are not ready. */
export function computeEndpoints(service: Service, pods: readonly Pod[]): IEndpoints {
  const publishesAll = service.spec?.publishNotReadyAddresses === true;
  const family = (service.spec?.ipFamilies?.[0] ?? "IPv4") as Family;
  const groups = new Map<string, IEndpointSubset>();
  for (const pod of pods.filter((it) => isSelected(service, it) && isListable(it)).sort(byName)) {
    if (pod.metadata.deletionTimestamp !== undefined && !publishesAll) continue;
    const address = addressOf(pod, family);
    if (address === undefined) continue;
    const ports = resolvePorts(service, pod);
    if (ports.length === 0 && (service.spec?.ports ?? []).length > 0) continue;
    const key = canonicalJson(ports);
    const subset: IEndpointSubset =
      groups.get(key) ?? (ports.length === 0 ? {} : { ports: ports.map(legacyPort) });
    const list = publishesAll || isPodReady(pod) ? "addresses" : "notReadyAddresses";
    subset[list] = [...(subset[list] ?? []), legacyAddress(service, pod, address)];
    groups.set(key, subset);
  }
  const { name, namespace, labels } = service.metadata;
  return {
    apiVersion: "v1",
    kind: "Endpoints",
    metadata: {
      name,
      namespace,
      labels: {
        ...labels,
        "endpoints.kubernetes.io/managed-by": "endpoint-controller",
        ...(isHeadless(service) ? { [HEADLESS]: "" } : {}),
      },
    },
    subsets: [...groups.values()],
  };
}

function legacyAddress(service: Service, pod: Pod, ip: string): IEndpointAddress {
  const hostname = hostnameFor(service, pod);
  return {
    ip,
    ...(hostname === undefined ? {} : { hostname }),
    ...(pod.spec.nodeName ? { nodeName: pod.spec.nodeName } : {}),
    targetRef: targetRefOf(pod),
  };
}

/** In the legacy object a port without a name has no name field. */
function legacyPort({ name, ...port }: ResolvedPort): ResolvedPort {
  return (name === "" ? port : { name, ...port }) as ResolvedPort;
}

function resolvePorts(service: Service, pod: Pod): readonly ResolvedPort[] {
  return (service.spec?.ports ?? []).flatMap((port) => {
    const number = resolvePort(port, pod);
    if (number === undefined) return [];
    return [
      {
        name: port.name ?? "",
        port: number,
        protocol: (port.protocol ?? "TCP") as ResolvedPort["protocol"],
        ...(port.appProtocol === undefined ? {} : { appProtocol: port.appProtocol }),
      },
    ];
  });
}

function resolvePort(port: IServicePort, pod: Pod): number | undefined {
  const target = port.targetPort ?? port.port;
  if (typeof target === "number") return target === 0 ? port.port : target;
  const sidecars = (pod.spec.initContainers ?? []).filter((it) => it.restartPolicy === "Always");
  return [...pod.spec.containers, ...sidecars]
    .flatMap((container) => container.ports ?? [])
    .find((it) => it.name === target && (it.protocol ?? "TCP") === (port.protocol ?? "TCP"))
    ?.containerPort;
}

function isListable(pod: Pod): boolean {
  return pod.status?.phase !== "Succeeded" && pod.status?.phase !== "Failed";
}

function addressOf(pod: Pod, family: Family): string | undefined {
  const { podIP, podIPs } = pod.status ?? {};
  const ips = podIPs?.map((it) => it.ip) ?? (podIP ? [podIP] : []);
  return ips.find((ip) => ip.includes(":") === (family === "IPv6"));
}

function isPodReady(pod: Pod): boolean {
  return pod.status?.conditions?.some((it) => it.type === "Ready" && it.status === "True") === true;
}

function isHeadless(service: Service): boolean {
  return service.spec?.clusterIP === "None";
}

function hostnameFor(service: Service, pod: Pod): string | undefined {
  const isNamed = pod.spec.hostname && pod.spec.subdomain === service.metadata.name;
  return isNamed ? pod.spec.hostname : undefined;
}

function targetRefOf(pod: Pod) {
  const { namespace, name, uid } = pod.metadata;
  return { kind: "Pod", namespace, name, uid };
}

/** kubectl's copy of the manifest is about the Service, not about the slice. */
function withoutApplied(annotations: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(annotations).filter(
      ([key]) => key !== "kubectl.kubernetes.io/last-applied-configuration",
    ),
  );
}

function byName(a: Pod, b: Pod): number {
  return a.metadata.name < b.metadata.name ? -1 : 1;
}
