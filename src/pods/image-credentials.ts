/**
 * Registry credentials for one image of a pod: those of its imagePullSecrets, then the node's own. A secret that is
 * missing or of no use is told in an event and the others are tried, as in the kubelet. Used by manager.ts; nothing
 * read here is ever logged.
 */

import { type EventSink, involvedPod } from "../api/events.ts";
import type { Pod, Secret } from "../api/types.ts";
import { hasCode } from "../core/errors.ts";
import {
  type Credential,
  findCredentials,
  type KeyringEntry,
  readPullSecret,
  unique,
} from "../images/keyring.ts";
import type { NodeCredentials } from "../images/node-credentials.ts";
import { repositoryOf } from "../images/repository.ts";
import type { ServiceAccountSource } from "../images/service-accounts.ts";
import type { ObjectSource } from "../volumes/volumes.ts";

export interface CredentialSources {
  readonly objects: Pick<ObjectSource, "getSecret"> & ServiceAccountSource;
  readonly nodeCredentials: Pick<NodeCredentials, "find">;
  readonly events: EventSink;
}

const REASON = "FailedToRetrieveImagePullSecret";

/** In the order in which they are to be tried; empty = pull without. */
export async function lookUpCredentials(
  { objects, nodeCredentials, events }: CredentialSources,
  pod: Pod,
  image: string,
  signal: AbortSignal,
): Promise<readonly Credential[]> {
  const warn = (message: string): void =>
    events.record(involvedPod(pod), "Warning", REASON, message);
  const entries: KeyringEntry[] = [];
  const missing: string[] = [];
  const names = (pod.spec.imagePullSecrets ?? []).flatMap(({ name = "" }) => name || []);
  const secrets = await Promise.all(names.map((name) => getSecret(objects, pod, name, signal)));
  for (const [index, name] of names.entries()) {
    const secret = secrets[index];
    const read = secret && readPullSecret(secret);
    if (read === undefined) missing.push(name);
    else if (read.kind === "entries") entries.push(...read.entries);
    else warn(`The image pull secret ${name} is of no use: ${read.why}.`);
  }
  if (missing.length > 0)
    warn(
      `Unable to retrieve some image pull secrets (${missing.join(", ")}); attempting to pull the image may not succeed.`,
    );
  const repository = repositoryOf(image);
  const own = await nodeCredentials.find({ repository, pod, accounts: objects }, signal);
  return unique([...findCredentials(entries, repository), ...own]);
}

/** Whatever keeps the API server from giving it, the pull is tried without. */
async function getSecret(
  objects: CredentialSources["objects"],
  pod: Pod,
  name: string,
  signal: AbortSignal,
): Promise<Secret | undefined> {
  try {
    return await objects.getSecret(pod.metadata.namespace, name, signal);
  } catch (error) {
    if (hasCode(error, "Aborted") || signal.aborted) throw error;
    return undefined;
  }
}
