/** Which kubelet the agent says it is. */

/** The Kubernetes version whose behaviour Longshore follows; the rest is build metadata, so that semver parses. */
const KUBERNETES_VERSION = "v1.36.0";

export function kubeletVersion(longshoreVersion: string): string {
  return `${KUBERNETES_VERSION}+longshore.${longshoreVersion}`;
}
