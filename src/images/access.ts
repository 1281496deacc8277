/**
 * Which pod may use an image that is already on the node: one that a pod pulled with a secret is not there for others
 * just because it is present (the kubelet's KubeletEnsureSecretPulledImages). Keeps the records of pulls. Asked by
 * pods/images.ts before an image is used, told by puller.ts what was pulled and how. Made by agent.ts.
 */

import type { Clock } from "../core/clock.ts";
import { canonicalJson } from "../core/hash.ts";
import type { Logger } from "../core/logger.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Credential, SecretRef } from "./keyring.ts";
import { type PulledBy, PullRecords } from "./pull-records.ts";
import { repositoryOf } from "./repository.ts";

/** KubeletConfiguration's imagePullCredentialsVerificationPolicy. */
export type VerificationPolicy =
  | "NeverVerify"
  | "NeverVerifyPreloadedImages"
  | "NeverVerifyAllowlistedImages"
  | "AlwaysVerify";

export interface ImageAccessOptions {
  readonly rootDir: string;
  readonly imagePullCredentialsVerificationPolicy: VerificationPolicy;
  /** Repositories, or prefixes of them that end with a slash and a star. */
  readonly preloadedImagesVerificationAllowlist: readonly string[];
  readonly clock: Clock;
  readonly log: Logger;
}

/** How many secrets are noted for having the same content as one that pulled. */
const MAX_NOTED = 100;

export class ImageAccess {
  readonly #options: ImageAccessOptions;
  readonly #records: PullRecords;
  /** Pulls under way, and those that a killed agent left, by image. */
  readonly #intents = new Map<string, number>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(options: ImageAccessOptions) {
    this.#options = options;
    this.#records = new PullRecords(options);
  }

  /** An image whose pull was under way when the agent died is nobody's until somebody shows credentials. */
  async start(
    runtime: Pick<Runtime, "inspectImage" | "listImages">,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#records.open();
    for (const image of await this.#records.listIntents()) {
      const found = await runtime.inspectImage(image, signal);
      if (found === undefined) {
        this.#intents.set(image, 0);
        continue;
      }
      if ((await this.#records.find(found.id)) === undefined)
        await this.#records.write({ imageRef: found.id, credentialMapping: {} });
      await this.#records.removeIntent(image);
    }
    await this.#records.prune((await runtime.listImages(signal)).map(({ id }) => id));
  }

  /** Whether every pod may use it; if not, `isGranted` asks for the pod's credentials. */
  async isOpen(image: string, imageId: string): Promise<boolean> {
    return this.#inTurn(async () => {
      const {
        imagePullCredentialsVerificationPolicy: policy,
        preloadedImagesVerificationAllowlist: allowlist,
      } = this.#options;
      const record = await this.#records.find(imageId);
      const isOurs = record !== undefined || this.#intents.has(image);
      if (!mustVerify({ policy, allowlist, repository: repositoryOf(image), isOurs })) return true;
      return record?.credentialMapping[repositoryOf(image)]?.nodePodsAccessible === true;
    });
  }

  async isGranted(
    image: string,
    imageId: string,
    credentials: readonly Credential[],
  ): Promise<boolean> {
    return this.#inTurn(async () => {
      const record = await this.#records.find(imageId);
      const noted = record?.credentialMapping[repositoryOf(image)] ?? {};
      const known = credentials.find((credential) => isKnown(noted, credential));
      if (known === undefined) return false;
      if ((noted.kubernetesSecrets?.length ?? 0) < MAX_NOTED)
        await this.#note(image, imageId, pulledByOf(known));
      return true;
    });
  }

  pullBegins(image: string): Promise<void> {
    return this.#inTurn(async () => {
      const count = this.#intents.get(image);
      if (count === undefined) await this.#records.writeIntent(image);
      this.#intents.set(image, (count ?? 0) + 1);
    });
  }

  /** @param credential what the registry accepted; none, or the node's own = it is there for all. */
  pulled(image: string, imageId: string, credential: Credential | undefined): Promise<void> {
    return this.#inTurn(async () => {
      await this.#note(image, imageId, pulledByOf(credential));
      await this.#endIntent(image);
    });
  }

  pullFailed(image: string): Promise<void> {
    return this.#inTurn(() => this.#endIntent(image));
  }

  async #endIntent(image: string): Promise<void> {
    const left = (this.#intents.get(image) ?? 0) - 1;
    if (left > 0) {
      this.#intents.set(image, left);
      return;
    }
    this.#intents.delete(image);
    await this.#records.removeIntent(image);
  }

  async #note(image: string, imageId: string, by: PulledBy): Promise<void> {
    const record = await this.#records.find(imageId);
    const mapping = record?.credentialMapping ?? {};
    const repository = repositoryOf(image);
    const merged = mergePulledBy(mapping[repository] ?? {}, by);
    if (merged === mapping[repository]) return;
    const credentialMapping = { ...mapping, [repository]: merged };
    await this.#records.write({ imageRef: imageId, credentialMapping });
  }

  /** One at a time: a record is read, changed and written. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work, work);
    this.#last = turn;
    return turn;
  }
}

function pulledByOf(credential: Credential | undefined): PulledBy {
  if (credential?.secret !== undefined)
    return { kubernetesSecrets: [{ ...credential.secret, credentialHash: credential.hash }] };
  if (credential?.serviceAccount !== undefined)
    return { kubernetesServiceAccounts: [credential.serviceAccount] };
  return { nodePodsAccessible: true };
}

/** The same secret, one of the same content, or the same service account. */
function isKnown(noted: PulledBy, { secret, serviceAccount, hash }: Credential): boolean {
  const { kubernetesSecrets = [], kubernetesServiceAccounts = [] } = noted;
  if (secret !== undefined)
    return kubernetesSecrets.some(
      (other) => other.credentialHash === hash || isSame(other, secret),
    );
  return (
    serviceAccount !== undefined &&
    kubernetesServiceAccounts.some((other) => isSame(other, serviceAccount))
  );
}

function isSame(a: SecretRef, b: SecretRef): boolean {
  return a.uid === b.uid && a.namespace === b.namespace && a.name === b.name;
}

/** `old` itself when there is nothing new. A secret is noted once, with the hash it has now. */
function mergePulledBy(old: PulledBy, added: PulledBy): PulledBy {
  if (old.nodePodsAccessible === true) return old;
  if (added.nodePodsAccessible === true) return added;
  const secrets = merge(old.kubernetesSecrets, added.kubernetesSecrets);
  const accounts = merge(old.kubernetesServiceAccounts, added.kubernetesServiceAccounts);
  const merged = {
    ...(secrets === undefined ? {} : { kubernetesSecrets: secrets }),
    ...(accounts === undefined ? {} : { kubernetesServiceAccounts: accounts }),
  };
  return canonicalJson(merged) === canonicalJson(old) ? old : merged;
}

/** What is added replaces its namesake, in its place. */
function merge<T extends SecretRef>(
  old: readonly T[] | undefined,
  added: readonly T[] | undefined,
): readonly T[] | undefined {
  if (old === undefined || added === undefined) return old ?? added;
  const fresh = added.filter((item) => !old.some((other) => isSame(other, item)));
  return [...old.map((item) => added.find((other) => isSame(other, item)) ?? item), ...fresh];
}

export interface VerificationQuestion {
  readonly policy: VerificationPolicy;
  readonly allowlist: readonly string[];
  readonly repository: string;
  /** The agent pulled the image, or began to. */
  readonly isOurs: boolean;
}

/** Whether a pod must show that it may use a present image. */
export function mustVerify(question: VerificationQuestion): boolean {
  switch (question.policy) {
    case "NeverVerify":
      return false;
    case "NeverVerifyPreloadedImages":
      return question.isOurs;
    case "NeverVerifyAllowlistedImages":
      return !question.allowlist.some((pattern) =>
        pattern.endsWith("/*")
          ? question.repository.startsWith(pattern.slice(0, -1))
          : question.repository === pattern,
      );
    case "AlwaysVerify":
      return true;
  }
}
