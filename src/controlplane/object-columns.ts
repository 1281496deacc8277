/**
 * The tables of nodes, events and the small kinds, and the one for kinds that have no table of their own, as the API
 * server prints them. Pure; called by table.ts.
 */

import { ageOf } from "./duration.ts";
import { at, type KubeObject, listAt, textAt } from "./objects.ts";
import {
  AGE,
  type Cell,
  column,
  creationAge,
  NAME,
  NONE,
  numberAt,
  type TableView,
  textOr,
  UNKNOWN,
  wideColumn,
} from "./table-view.ts";

const ROLE_PREFIX = "node-role.kubernetes.io/";
const ROLE_LABEL = "kubernetes.io/role";

export const NODE_VIEW: TableView = {
  columns: [
    NAME,
    column("Status", "The status of the node"),
    column("Roles", "The roles of the node"),
    AGE,
    column("Version", "Kubelet Version reported by the node."),
    wideColumn("Internal-IP", "The first address of type InternalIP."),
    wideColumn("External-IP", "The first address of type ExternalIP."),
    wideColumn("OS-Image", "OS Image reported by the node from /etc/os-release."),
    wideColumn("Kernel-Version", "Kernel Version reported by the node from 'uname -r'."),
    wideColumn("Container-Runtime", "ContainerRuntime Version reported by the node."),
  ],
  cells: (node, nowMs) => [
    node.metadata.name,
    nodeStatus(node),
    nodeRoles(node),
    creationAge(node, nowMs),
    textAt(node, "status", "nodeInfo", "kubeletVersion"),
    nodeAddress(node, "InternalIP"),
    nodeAddress(node, "ExternalIP"),
    textOr(UNKNOWN, node, "status", "nodeInfo", "osImage"),
    textOr(UNKNOWN, node, "status", "nodeInfo", "kernelVersion"),
    textOr(UNKNOWN, node, "status", "nodeInfo", "containerRuntimeVersion"),
  ],
};

export const EVENT_VIEW: TableView = {
  columns: [
    column("Last Seen", "The time at which the most recent occurrence of this event was recorded."),
    column("Type", "Type of this event (Normal, Warning), new types could be added in the future"),
    column("Reason", "A short, machine understandable string that gives the reason."),
    column("Object", "The object that this event is about."),
    wideColumn("Subobject", "The part of the object that this event is about."),
    wideColumn("Source", "The component reporting this event."),
    column("Message", "A human-readable description of the status of this operation."),
    wideColumn("First Seen", "The time at which the event was first recorded."),
    wideColumn("Count", "The number of times this event has occurred."),
    { ...NAME, priority: 1 },
  ],
  cells: eventCells,
};

export const CONFIG_MAP_VIEW = smallView(
  [column("Data", "Data contains the configuration data.")],
  (map) => [sizeAt(map, "data") + sizeAt(map, "binaryData")],
);

export const SECRET_VIEW = smallView(
  [
    column("Type", "Used to facilitate programmatic handling of secret data."),
    column("Data", "Data contains the secret data."),
  ],
  (secret) => [textOr("Opaque", secret, "type"), sizeAt(secret, "data")],
);

export const NAMESPACE_VIEW = smallView(
  [column("Status", "The status of the namespace")],
  (namespace) => [textAt(namespace, "status", "phase")],
);

export const SERVICE_ACCOUNT_VIEW = smallView(
  [column("Secrets", "Secrets that pods running using this ServiceAccount may use.")],
  (account) => [listAt(account, "secrets").length],
);

export const LEASE_VIEW = smallView(
  [column("Holder", "holderIdentity contains the identity of the holder of a current lease.")],
  (lease) => [textAt(lease, "spec", "holderIdentity")],
);

export const DEFAULT_VIEW: TableView = {
  columns: [NAME, { ...AGE, name: "Created At", type: "date" }],
  cells: (object) => [object.metadata.name, object.metadata.creationTimestamp ?? ""],
};

/** Name and age around a few columns. */
function smallView(
  columns: TableView["columns"],
  cells: (object: KubeObject) => readonly Cell[],
): TableView {
  return {
    columns: [NAME, ...columns, AGE],
    cells: (object, nowMs) => [object.metadata.name, ...cells(object), creationAge(object, nowMs)],
  };
}

function sizeAt(object: KubeObject, field: string): number {
  return Object.keys(at(object, field) ?? {}).length;
}

function nodeStatus(node: KubeObject): string {
  const ready = listAt(node, "status", "conditions").find(
    (condition) => textAt(condition, "type") === "Ready",
  );
  const isReady = textAt(ready, "status") === "True";
  const word = ready === undefined ? "Unknown" : isReady ? "Ready" : "NotReady";
  return at(node, "spec", "unschedulable") === true ? `${word},SchedulingDisabled` : word;
}

function nodeRoles(node: KubeObject): string {
  const roles = Object.entries(node.metadata.labels ?? {}).flatMap(([label, value]) => {
    if (label.startsWith(ROLE_PREFIX)) return [label.slice(ROLE_PREFIX.length)];
    return label === ROLE_LABEL ? [value] : [];
  });
  return [...new Set(roles.filter((role) => role !== ""))].sort().join(",") || NONE;
}

function nodeAddress(node: KubeObject, type: string): string {
  const found = listAt(node, "status", "addresses").find(
    (address) => textAt(address, "type") === type,
  );
  return textOr(NONE, found, "address");
}

function eventCells(event: KubeObject, nowMs: number): readonly Cell[] {
  const first = textAt(event, "firstTimestamp") || textAt(event, "eventTime");
  const isSeries = at(event, "series") !== undefined;
  const last = isSeries
    ? textAt(event, "series", "lastObservedTime")
    : textAt(event, "lastTimestamp") || first;
  // A single event of the new API carries no count.
  const count = isSeries ? numberAt(event, "series", "count") : numberAt(event, "count") || 1;
  return [
    ageOf(last, nowMs),
    textAt(event, "type"),
    textAt(event, "reason"),
    eventTarget(event),
    textAt(event, "involvedObject", "fieldPath"),
    eventSource(event),
    textAt(event, "message").trim(),
    ageOf(first, nowMs),
    count,
    event.metadata.name,
  ];
}

function eventTarget(event: KubeObject): string {
  const kind = textAt(event, "involvedObject", "kind").toLowerCase();
  const name = textAt(event, "involvedObject", "name");
  return name === "" ? kind : `${kind}/${name}`;
}

function eventSource(event: KubeObject): string {
  const component = textAt(event, "source", "component") || textAt(event, "reportingComponent");
  const host = textAt(event, "source", "host") || textAt(event, "reportingInstance");
  return host === "" ? component : `${component}, ${host}`;
}
