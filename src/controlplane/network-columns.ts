/**
 * The tables of services, endpoints and endpoint slices, as the API server prints them. Pure; called by table.ts.
 */

import { at, type KubeObject, listAt, textAt } from "./objects.ts";
import {
  AGE,
  column,
  creationAge,
  listWithMore,
  NAME,
  NONE,
  numberAt,
  type TableView,
  textOr,
  UNKNOWN,
  wideColumn,
} from "./table-view.ts";

const SHOWN_ENDPOINTS = 3;

export const SERVICE_VIEW: TableView = {
  columns: [
    NAME,
    column("Type", "type determines how the Service is exposed."),
    column("Cluster-IP", "clusterIP is the IP address of the service."),
    column("External-IP", "The addresses at which the service is reached from outside."),
    column("Port(s)", "The list of ports that are exposed by this service."),
    AGE,
    wideColumn("Selector", "Route service traffic to pods with matching label keys and values."),
  ],
  cells: (service, nowMs) => [
    service.metadata.name,
    textOr("ClusterIP", service, "spec", "type"),
    clusterIp(service),
    externalIp(service),
    servicePorts(service),
    creationAge(service, nowMs),
    selectorText(service),
  ],
};

export const ENDPOINTS_VIEW: TableView = {
  columns: [
    NAME,
    column("Endpoints", "The set of all endpoints is the union of all subsets."),
    AGE,
  ],
  cells: (endpoints, nowMs) => [
    endpoints.metadata.name,
    endpointsText(endpoints),
    creationAge(endpoints, nowMs),
  ],
};

export const ENDPOINT_SLICE_VIEW: TableView = {
  columns: [
    NAME,
    column(
      "AddressType",
      "addressType specifies the type of address carried by this EndpointSlice.",
    ),
    column("Ports", "ports specifies the list of network ports exposed by each endpoint."),
    column("Endpoints", "endpoints is a list of unique endpoints in this slice."),
    AGE,
  ],
  cells: (slice, nowMs) => [
    slice.metadata.name,
    textAt(slice, "addressType"),
    listWithMore(listAt(slice, "ports").map(slicePort), SHOWN_ENDPOINTS) || "<unset>",
    listWithMore(sliceAddresses(slice), SHOWN_ENDPOINTS) || "<unset>",
    creationAge(slice, nowMs),
  ],
};

function clusterIp(service: KubeObject): string {
  const [first] = listAt(service, "spec", "clusterIPs");
  return typeof first === "string" ? first : textOr(NONE, service, "spec", "clusterIP");
}

function externalIp(service: KubeObject): string {
  const given = listAt(service, "spec", "externalIPs").map(String);
  switch (textOr("ClusterIP", service, "spec", "type")) {
    case "ClusterIP":
    case "NodePort":
      return given.join(",") || NONE;
    case "LoadBalancer":
      return [...loadBalancerAddresses(service), ...given].join(",") || "<pending>";
    case "ExternalName":
      return textAt(service, "spec", "externalName");
    default:
      return UNKNOWN;
  }
}

function loadBalancerAddresses(service: KubeObject): readonly string[] {
  const addresses = listAt(service, "status", "loadBalancer", "ingress").map(
    (ingress) => textAt(ingress, "ip") || textAt(ingress, "hostname"),
  );
  return [...new Set(addresses.filter((address) => address !== ""))].sort();
}

function servicePorts(service: KubeObject): string {
  const texts = listAt(service, "spec", "ports").map((port) => {
    const nodePort = numberAt(port, "nodePort");
    const number = `${numberAt(port, "port")}${nodePort > 0 ? `:${nodePort}` : ""}`;
    return `${number}/${textOr("TCP", port, "protocol")}`;
  });
  return texts.join(",") || NONE;
}

function selectorText(service: KubeObject): string {
  const pairs = Object.entries(at(service, "spec", "selector") ?? {});
  return (
    pairs
      .map(([key, value]) => `${key}=${value}`)
      .sort()
      .join(",") || NONE
  );
}

function endpointsText(endpoints: KubeObject): string {
  const subsets = listAt(endpoints, "subsets");
  if (subsets.length === 0) return NONE;
  return listWithMore(subsets.flatMap(subsetAddresses), SHOWN_ENDPOINTS);
}

/** Headless services may have no ports; their addresses then stand alone. */
function subsetAddresses(subset: unknown): readonly string[] {
  const ips = listAt(subset, "addresses").map((address) => textAt(address, "ip"));
  const ports = listAt(subset, "ports");
  if (ports.length === 0) return ips;
  return ports.flatMap((port) => ips.map((ip) => hostPort(ip, numberAt(port, "port"))));
}

function hostPort(ip: string, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}

function slicePort(port: unknown): string {
  const number = numberAt(port, "port");
  return number > 0 ? String(number) : textOr("*", port, "name");
}

function sliceAddresses(slice: KubeObject): readonly string[] {
  return listAt(slice, "endpoints").flatMap((endpoint) =>
    listAt(endpoint, "addresses").map(String),
  );
}
