/**
 * projected clusterTrustBundle: the trust anchors of one ClusterTrustBundle by name, or of all of a signer that the
 * labels match, as one PEM file without repeats, in an order that depends on nothing but the anchors. Pure.
 */

import { matchesLabels } from "../../api/label-selector.ts";
import type { ClusterTrustBundle, Volume } from "../../api/types.ts";
import { LongshoreError } from "../../core/errors.ts";
import { readPem, writePem } from "../pem.ts";

type ProjectedSource = NonNullable<NonNullable<Volume["projected"]>["sources"]>[number];
export type TrustBundleSource = NonNullable<ProjectedSource["clusterTrustBundle"]>;

/** Throws VolumeNotReady where nothing is found and that is not allowed. */
export function computeTrustAnchors(
  source: TrustBundleSource,
  bundles: readonly ClusterTrustBundle[],
): Buffer {
  const found = bundles.filter((bundle) => isMeant(source, bundle));
  if (found.length === 0 && source.optional !== true)
    throw new LongshoreError(
      "VolumeNotReady",
      source.name === undefined
        ? "combination of signerName and labelSelector matched zero ClusterTrustBundles"
        : `while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "${source.name}" not found`,
    );
  const anchors = found.flatMap(({ spec }) => readPem(spec.trustBundle));
  const distinct = new Map(anchors.map((der) => [der.toString("base64"), der]));
  return writePem("CERTIFICATE", [...distinct.values()].sort(Buffer.compare));
}

function isMeant(
  { name, signerName, labelSelector }: TrustBundleSource,
  { metadata, spec }: ClusterTrustBundle,
): boolean {
  if (name !== undefined) return metadata.name === name;
  // No selector selects nothing, an empty one everything.
  if (labelSelector === undefined || spec.signerName !== signerName) return false;
  return matchesLabels(labelSelector, metadata.labels ?? {});
}
