/**
 * What a pod calls itself: its name or the one its spec gives, its domain when it has a subdomain, and what its kernel
 * is told. Pure. Used by sandbox-config.ts and, for the hosts file, by starter.ts.
 */

import type { Pod } from "../api/types.ts";
import { LongshoreError } from "../core/errors.ts";

/** A DNS label, and the kernel's own limit. */
const MAX_LABEL = 63;
const MAX_KERNEL_NAME = 64;

export interface PodHostname {
  readonly hostname: string;
  /** With the domain; absent without a subdomain. */
  readonly fqdn?: string;
}

export function computeHostname({ metadata, spec }: Pod, clusterDomain: string): PodHostname {
  if (spec.hostnameOverride !== undefined) return { hostname: spec.hostnameOverride };
  const hostname = (spec.hostname || metadata.name).slice(0, MAX_LABEL).replace(/[-.]+$/, "");
  if (!spec.subdomain) return { hostname };
  const fqdn = `${hostname}.${spec.subdomain}.${metadata.namespace}.svc.${clusterDomain}`;
  return { hostname, fqdn };
}

/** Throws ContainerConfigInvalid when the whole name is asked for and does not fit. */
export function computeKernelHostname(pod: Pod, clusterDomain: string): string {
  const { hostname, fqdn } = computeHostname(pod, clusterDomain);
  if (pod.spec.setHostnameAsFQDN !== true || fqdn === undefined) return hostname;
  if (fqdn.length <= MAX_KERNEL_NAME) return fqdn;
  throw new LongshoreError(
    "ContainerConfigInvalid",
    `failed to construct FQDN from pod hostname and cluster domain, FQDN ${fqdn} is too long (${MAX_KERNEL_NAME} characters is the max, ${fqdn.length} characters requested)`,
  );
}
