/**
 * Which certificate requests the control plane approves by itself: those of nodes for what they are. A client
 * certificate for a bootstrap token or for the node itself (kube-controller-manager's csrapproving), and, beyond
 * upstream, a serving certificate for the node itself whose every name is one of its Node object. All others are for
 * people. Pure; called by the certificate controller.
 */

import type { Node } from "../api/types.ts";
import {
  type CertificateRequest,
  certificateRequestOf,
  KUBELET_CLIENT,
  KUBELET_SERVING,
  signerRefusal,
} from "./certificate-request.ts";
import { type KubeObject, listAt, textAt } from "./objects.ts";

/** Why it is approved, or undefined. */
export function approvalOf(
  object: KubeObject,
  getNode: (name: string) => Node | undefined,
): string | undefined {
  if (signerRefusal(object) !== undefined) return undefined;
  const request = certificateRequestOf(object);
  const groups = listAt(object, "spec", "groups");
  const isItself =
    groups.includes("system:nodes") && textAt(object, "spec", "username") === request.commonName;
  switch (textAt(object, "spec", "signerName")) {
    case KUBELET_CLIENT:
      if (isItself) return "Auto approving self kubelet client certificate.";
      return groups.includes("system:bootstrappers")
        ? "Auto approving kubelet client certificate of a bootstrap token."
        : undefined;
    case KUBELET_SERVING: {
      const node = getNode(request.commonName.slice("system:node:".length));
      return isItself && node !== undefined && isOfNode(request, node)
        ? "Auto approving kubelet serving certificate for the node's own addresses."
        : undefined;
    }
    default:
      return undefined;
  }
}

function isOfNode({ dnsNames, ips }: CertificateRequest, node: Node): boolean {
  const addresses = new Set(node.status?.addresses?.map(({ address }) => address));
  addresses.add(node.metadata.name);
  return [...dnsNames, ...ips].every((name) => addresses.has(name));
}
