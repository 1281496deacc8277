/** Whom the node's certificates are for, as the kubelet asks. Pure. Called by agent-certificates.ts. */

import { isIP } from "node:net";
import type { Node } from "../api/types.ts";
import type { Subject } from "./identity.ts";

export function clientSubject(nodeName: string): Subject {
  const commonName = `system:node:${nodeName}`;
  return { commonName, organization: "system:nodes", dnsNames: [], ips: [] };
}

/** With the addresses that the Node last reported; undefined while it has none, since no signer would take it. */
export function servingSubject(node: Node | undefined): Subject | undefined {
  if (node === undefined) return undefined;
  const dnsNames = new Set<string>();
  const ips = new Set<string>();
  for (const { type, address } of node.status?.addresses ?? []) {
    if (isIP(address) !== 0) ips.add(address);
    else if (address !== "" && !type.endsWith("IP")) dnsNames.add(address);
  }
  if (ips.size === 0) return undefined;
  const names = { dnsNames: [...dnsNames].sort(), ips: [...ips].sort() };
  return { ...clientSubject(node.metadata.name), ...names };
}
