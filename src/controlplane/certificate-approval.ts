/**
 * Which certificate requests the control plane approves by itself: those of nodes for what they are. A client
 * certificate for a bootstrap token or for the node itself (kube-controller-manager's csrapproving), and, beyond
 * upstream, a serving certificate for the node itself whose every name is one of its Node object and nobody else's. All
 * others are for people. Pure; called by the certificate controller.
 */

import { BlockList, isIP } from "node:net";
import {
  type CertificateRequest,
  certificateRequestOf,
  KUBELET_CLIENT,
  KUBELET_SERVING,
  signerRefusal,
} from "./certificate-request.ts";
import { type KubeObject, listAt, textAt } from "./objects.ts";

export interface ApprovalView {
  readonly nodes: readonly KubeObject[];
  /** What the API server is reached by. */
  readonly serverNames: readonly string[];
}

/** Why it is approved, or undefined. */
export function approvalOf(object: KubeObject, view: ApprovalView): string | undefined {
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
    case KUBELET_SERVING:
      return isItself && areOfNodeAlone(request, view)
        ? "Auto approving kubelet serving certificate for the node's own addresses."
        : undefined;
    default:
      return undefined;
  }
}

/**
 * A node writes its addresses itself: with those of the API server or of another node it could serve in their place. No
 * wildcards, capitals or addresses in another form either, which would be those names in disguise.
 */
function areOfNodeAlone(
  { commonName, dnsNames, ips }: CertificateRequest,
  { nodes, serverNames }: ApprovalView,
): boolean {
  const isAsking = ({ metadata }: KubeObject): boolean =>
    `system:node:${metadata.name}` === commonName;
  const own = new Set(nodes.filter(isAsking).flatMap(namesOfNode));
  const others = nodes.filter((node) => !isAsking(node)).flatMap(namesOfNode);
  const taken = [...serverNames, ...others];
  const takenIps = new BlockList();
  for (const name of taken) if (isIP(name) !== 0) takenIps.addAddress(name, familyOf(name));
  return (
    dnsNames.every((it) => own.has(it) && HOST_NAME.test(it) && !taken.includes(it)) &&
    ips.every((it) => own.has(it) && isIP(it) !== 0 && !takenIps.check(it, familyOf(it)))
  );
}

const HOST_NAME = /^(?![\d.]*$)[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/;

function namesOfNode(node: KubeObject): readonly string[] {
  const addresses = listAt(node, "status", "addresses").map((it) => textAt(it, "address"));
  return [node.metadata.name, ...addresses];
}

function familyOf(ip: string): "ipv4" | "ipv6" {
  return isIP(ip) === 6 ? "ipv6" : "ipv4";
}
