/**
 * The security context of a container, its own over its pod's, as what the runtime is asked for: user, groups, rights
 * and profiles. Pure. Throws ContainerConfigInvalid, in the kubelet's words, for what must not run. Used by
 * container-config.ts; `needsImageUser` also by pods/starter.ts, which asks for the image's user only where it counts.
 */

import type { Container as ContainerSpec, Pod } from "../api/types.ts";
import { LongshoreError } from "../core/errors.ts";
import type { ContainerConfig } from "./runtime.ts";

type ContainerSecurity = NonNullable<ContainerSpec["securityContext"]>;

/** The fields a container inherits from its pod. */
type Inherited =
  | "runAsUser"
  | "runAsGroup"
  | "runAsNonRoot"
  | "seccompProfile"
  | "appArmorProfile"
  | "seLinuxOptions";

/** The container's setting, or else its pod's. */
export function securityOf<K extends Inherited>(
  pod: Pod,
  container: ContainerSpec,
  field: K,
): ContainerSecurity[K] | undefined {
  const ofPod = pod.spec.securityContext as Pick<ContainerSecurity, K> | undefined;
  return container.securityContext?.[field] ?? ofPod?.[field];
}

/** Whether the image's user decides as whom the container runs, or whether it may. */
export function needsImageUser(pod: Pod, container: ContainerSpec): boolean {
  if (securityOf(pod, container, "runAsUser") !== undefined) return false;
  return (
    securityOf(pod, container, "runAsGroup") !== undefined ||
    securityOf(pod, container, "runAsNonRoot") === true
  );
}

type SecurityConfig = Pick<
  ContainerConfig,
  | "user"
  | "supplementalGroups"
  | "hasStrictGroups"
  | "privileged"
  | "readOnlyRootfs"
  | "noNewPrivileges"
  | "seccomp"
  | "appArmor"
  | "seLinux"
  | "unmaskedProc"
  | "addCapabilities"
  | "dropCapabilities"
>;

/** @param imageUser user of the image, `name`, `uid` or either with a group; empty = root. */
export function computeSecurity(
  pod: Pod,
  container: ContainerSpec,
  imageUser: string,
): SecurityConfig {
  ensureNotRoot(pod, container, imageUser);
  const security = container.securityContext;
  const user = computeUser(pod, container, imageUser);
  const appArmor = computeAppArmor(pod, container);
  const seLinux = securityOf(pod, container, "seLinuxOptions");
  return {
    ...(user === undefined ? {} : { user }),
    supplementalGroups: computeGroups(pod),
    ...(pod.spec.securityContext?.supplementalGroupsPolicy === "Strict"
      ? { hasStrictGroups: true }
      : {}),
    privileged: security?.privileged ?? false,
    readOnlyRootfs: security?.readOnlyRootFilesystem ?? false,
    noNewPrivileges: security?.allowPrivilegeEscalation === false,
    seccomp: computeSeccomp(pod, container),
    ...(appArmor === undefined ? {} : { appArmor }),
    ...(seLinux === undefined ? {} : { seLinux }),
    ...(security?.procMount === "Unmasked" ? { unmaskedProc: true } : {}),
    addCapabilities: (security?.capabilities?.add ?? []).map(plainCapability),
    dropCapabilities: (security?.capabilities?.drop ?? []).map(plainCapability),
  };
}

/** The group that owns the pod's volumes is one of every process. */
function computeGroups({ spec }: Pod): readonly string[] {
  const { fsGroup, supplementalGroups = [] } = spec.securityContext ?? {};
  const groups = fsGroup === undefined ? supplementalGroups : [fsGroup, ...supplementalGroups];
  return [...new Set(groups.map(String))];
}

function ensureNotRoot(pod: Pod, container: ContainerSpec, imageUser: string): void {
  if (securityOf(pod, container, "runAsNonRoot") !== true) return;
  const uid = securityOf(pod, container, "runAsUser");
  const { name, namespace, uid: podUid } = pod.metadata;
  const where = `(pod: "${name}_${namespace}(${podUid})", container: ${container.name})`;
  if (uid !== undefined) {
    if (Number(uid) !== 0) return;
    throw invalid(`container's runAsUser breaks non-root policy ${where}`);
  }
  const [user = ""] = imageUser.split(":");
  if (/^0*$/.test(user))
    throw invalid(`container has runAsNonRoot and image will run as root ${where}`);
  if (!/^\d+$/.test(user))
    throw invalid(
      `container has runAsNonRoot and image has non-numeric user (${user}), cannot verify user is non-root ${where}`,
    );
}

/** A group alone goes with the image's user, never with root in its place. */
function computeUser(pod: Pod, container: ContainerSpec, imageUser: string): string | undefined {
  const uid = securityOf(pod, container, "runAsUser");
  const gid = securityOf(pod, container, "runAsGroup");
  if (uid === undefined) {
    if (gid === undefined) return undefined;
    const [ownUser] = imageUser.split(":");
    return `${ownUser || "0"}:${gid}`;
  }
  return gid === undefined ? String(uid) : `${uid}:${gid}`;
}

/** Upstream's default is Unconfined, but an Engine's own profile is what its users expect; RuntimeDefault is the same. */
function computeSeccomp(pod: Pod, container: ContainerSpec): ContainerConfig["seccomp"] {
  const profile = securityOf(pod, container, "seccompProfile");
  if (profile?.type === "Unconfined") return "unconfined";
  if (profile?.type !== "Localhost") return "default";
  return `localhost/${localPath(profile.localhostProfile ?? "")}`;
}

/** A file below the directory of profiles, and never one outside of it. */
function localPath(path: string): string {
  const isInside = path !== "" && !path.startsWith("/") && !path.split("/").includes("..");
  if (isInside && !path.includes("\0")) return path;
  throw invalid(
    `seccompProfile.localhostProfile ${JSON.stringify(path)} is not a path below the directory seccomp of the state directory`,
  );
}

/** Nothing for RuntimeDefault: the Engine applies its own profile wherever the host has AppArmor. */
function computeAppArmor(pod: Pod, container: ContainerSpec): ContainerConfig["appArmor"] {
  const profile = securityOf(pod, container, "appArmorProfile");
  if (profile?.type === "Unconfined") return "unconfined";
  if (profile?.type !== "Localhost") return undefined;
  const name = profile.localhostProfile?.trim() ?? "";
  if (name === "") throw invalid(`invalid AppArmor profile name: ${JSON.stringify(name)}`);
  return `localhost/${name}`;
}

/** Docker takes both spellings, Kubernetes' users write both; one is enough to compare. */
function plainCapability(name: string): string {
  return name.toUpperCase().replace(/^CAP_/, "");
}

function invalid(message: string): LongshoreError {
  return new LongshoreError("ContainerConfigInvalid", message);
}
