/**
 * Objects as a meta.k8s.io/v1 Table, which is what kubectl get asks for: the server chooses the columns and writes
 * the cells. Columns with and without -o wide are those of the API server. Pure; called by REST for get, list and
 * watch when the client accepts a Table.
 */

import { CERTIFICATE_SIGNING_REQUEST_VIEW } from "./certificate-columns.ts";
import { ENDPOINT_SLICE_VIEW, ENDPOINTS_VIEW, SERVICE_VIEW } from "./network-columns.ts";
import {
  CONFIG_MAP_VIEW,
  DEFAULT_VIEW,
  EVENT_VIEW,
  LEASE_VIEW,
  NAMESPACE_VIEW,
  NODE_VIEW,
  SECRET_VIEW,
  SERVICE_ACCOUNT_VIEW,
} from "./object-columns.ts";
import type { KubeObject } from "./objects.ts";
import { POD_VIEW } from "./pod-columns.ts";
import { type ResourceType, resourceName } from "./registry.ts";
import type { TableView } from "./table-view.ts";
import { CLAIM_VIEW, VOLUME_VIEW } from "./volume-columns.ts";

export type IncludeObject = "None" | "Metadata" | "Object";

export interface TableMeta {
  readonly resourceVersion?: string;
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

const META_VERSION = "meta.k8s.io/v1";

/** By resource name. */
const VIEWS: ReadonlyMap<string, TableView> = new Map([
  ["certificatesigningrequests.certificates.k8s.io", CERTIFICATE_SIGNING_REQUEST_VIEW],
  ["configmaps", CONFIG_MAP_VIEW],
  ["endpoints", ENDPOINTS_VIEW],
  ["endpointslices.discovery.k8s.io", ENDPOINT_SLICE_VIEW],
  ["events", EVENT_VIEW],
  ["leases.coordination.k8s.io", LEASE_VIEW],
  ["namespaces", NAMESPACE_VIEW],
  ["nodes", NODE_VIEW],
  ["persistentvolumeclaims", CLAIM_VIEW],
  ["persistentvolumes", VOLUME_VIEW],
  ["pods", POD_VIEW],
  ["secrets", SECRET_VIEW],
  ["serviceaccounts", SERVICE_ACCOUNT_VIEW],
  ["services", SERVICE_VIEW],
]);

/** `nowMs` is the time that ages are counted to, in milliseconds of the epoch. */
export function computeTable(
  type: ResourceType,
  objects: readonly KubeObject[],
  meta: TableMeta,
  nowMs: number,
  includeObject: IncludeObject,
): object {
  const view = VIEWS.get(resourceName(type)) ?? DEFAULT_VIEW;
  const rows = objects.map((object) => {
    const conditions = view.conditions?.(object) ?? [];
    return {
      cells: view.cells(object, nowMs),
      ...(conditions.length > 0 && { conditions }),
      object: rowObject(object, includeObject),
    };
  });
  return {
    kind: "Table",
    apiVersion: META_VERSION,
    metadata: meta,
    columnDefinitions: view.columns,
    rows,
  };
}

function rowObject(object: KubeObject, include: IncludeObject): object | null {
  switch (include) {
    case "None":
      return null;
    case "Metadata":
      return {
        kind: "PartialObjectMetadata",
        apiVersion: META_VERSION,
        metadata: object.metadata,
      };
    case "Object":
      return object;
  }
}
