/**
 * Registry credentials of a pod's imagePullSecrets: the entry of a .dockerconfigjson (or .dockercfg) that names the
 * image's registry. Missing or unreadable secrets count as none, as in the kubelet; the pull then tells. Used by
 * manager.ts; nothing read here is ever logged.
 */

import type { Pod, Secret } from "../api/types.ts";
import type { ImageCredentials } from "../runtime/runtime.ts";
import type { ObjectSource } from "../volumes/volumes.ts";

const DEFAULT_REGISTRIES = ["docker.io", "index.docker.io", "registry-1.docker.io"];

interface AuthEntry {
  readonly auth?: string;
  readonly username?: string;
  readonly password?: string;
  readonly identitytoken?: string;
}

/** The registry of an image name: its first part when that looks like a host. */
function registryOf(image: string): string {
  const [first = "", ...rest] = image.split("/");
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === "localhost");
  return isHost ? first : "docker.io";
}

function parseSecret(secret: Secret): Readonly<Record<string, AuthEntry>> {
  const modern = secret.data?.[".dockerconfigjson"];
  const text = modern ?? secret.data?.[".dockercfg"];
  if (text === undefined) return {};
  try {
    const parsed = JSON.parse(Buffer.from(text, "base64").toString("utf8"));
    return (modern === undefined ? parsed : parsed.auths) ?? {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}

function toCredentials(server: string, entry: AuthEntry): ImageCredentials {
  const [user, ...rest] = Buffer.from(entry.auth ?? "", "base64")
    .toString("utf8")
    .split(":");
  const username = entry.username ?? user;
  const password = entry.password ?? rest.join(":");
  return {
    serverAddress: server,
    ...(username === undefined || username === "" ? {} : { username, password }),
    ...(entry.identitytoken === undefined ? {} : { identityToken: entry.identitytoken }),
  };
}

/** The first credentials that fit the image's registry. */
export async function findCredentials(
  pod: Pod,
  image: string,
  objects: Pick<ObjectSource, "getSecret">,
  signal: AbortSignal,
): Promise<ImageCredentials | undefined> {
  const registry = registryOf(image);
  const names = DEFAULT_REGISTRIES.includes(registry) ? DEFAULT_REGISTRIES : [registry];
  for (const { name } of pod.spec.imagePullSecrets ?? []) {
    if (name === undefined) continue;
    const secret = await objects.getSecret(pod.metadata.namespace, name, signal);
    if (secret === undefined) continue;
    for (const [server, entry] of Object.entries(parseSecret(secret))) {
      const host = server.replace(/^https?:\/\//, "").split("/")[0] ?? "";
      if (names.includes(host)) return toCredentials(server, entry);
    }
  }
  return undefined;
}
