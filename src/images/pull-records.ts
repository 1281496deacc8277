/**
 * What is remembered of pulls, as the kubelet keeps it: `<root>/image_manager/pulling` has a file for each image whose
 * pull began, `pulled` one for each image ID with the secrets that could pull it (their coordinates and a hash, never
 * what is in them). Files are replaced atomically. One that cannot be read costs a warning and counts as a pull by
 * nobody known. Owned by access.ts, which makes calls one at a time.
 */

import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { formatTime } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import { replaceFile } from "../core/replace-file.ts";
import type { SecretRef } from "./keyring.ts";
import type { ServiceAccountRef } from "./service-accounts.ts";

export interface PullingSecret extends SecretRef {
  readonly credentialHash: string;
}

/** Who could pull an image under one repository name. */
export interface PulledBy {
  readonly nodePodsAccessible?: boolean;
  readonly kubernetesSecrets?: readonly PullingSecret[];
  readonly kubernetesServiceAccounts?: readonly ServiceAccountRef[];
}

export interface PulledRecord {
  readonly imageRef: string;
  /** By repository. Empty = pulled in circumstances that nobody knows any more. */
  readonly credentialMapping: Readonly<Record<string, PulledBy>>;
}

export interface PullRecordsOptions {
  readonly rootDir: string;
  readonly clock: Clock;
  readonly log: Logger;
}

const API_VERSION = "kubelet.config.k8s.io/v1beta1";

export class PullRecords {
  readonly #options: PullRecordsOptions;
  readonly #pulling: string;
  readonly #pulled: string;

  constructor(options: PullRecordsOptions) {
    this.#options = options;
    this.#pulling = join(options.rootDir, "image_manager", "pulling");
    this.#pulled = join(options.rootDir, "image_manager", "pulled");
  }

  /** Makes the folders and removes what an interrupted write left. */
  async open(): Promise<void> {
    for (const folder of [this.#pulling, this.#pulled]) {
      await mkdir(folder, { recursive: true, mode: 0o700 });
      for (const name of await readdir(folder))
        if (name.endsWith(".tmp")) await rm(join(folder, name), { force: true });
    }
  }

  /** Images whose pull began and of which nothing more is known. */
  async listIntents(): Promise<readonly string[]> {
    const images: string[] = [];
    for (const name of await readdir(this.#pulling)) {
      const content = await this.#read(join(this.#pulling, name));
      if (typeof content?.image === "string") images.push(content.image);
      else await rm(join(this.#pulling, name), { force: true });
    }
    return images;
  }

  writeIntent(image: string): Promise<void> {
    const content = { kind: "ImagePullIntent", apiVersion: API_VERSION, image };
    return this.#write(join(this.#pulling, fileNameOf(image)), content);
  }

  async removeIntent(image: string): Promise<void> {
    await rm(join(this.#pulling, fileNameOf(image)), { force: true });
  }

  async find(imageId: string): Promise<PulledRecord | undefined> {
    const path = join(this.#pulled, fileNameOf(imageId));
    const content = await this.#read(path);
    if (content === undefined) return undefined;
    if (isPulledRecord(content)) return content;
    this.#options.log.warn(
      { path, image: imageId },
      "the record of an image's pull is corrupt; its pods must show their credentials again",
    );
    const unknown = { imageRef: imageId, credentialMapping: {} };
    await this.write(unknown);
    return unknown;
  }

  write(record: PulledRecord): Promise<void> {
    const lastUpdatedTime = formatTime(this.#options.clock.now());
    const kind = "ImagePulledRecord";
    return this.#write(join(this.#pulled, fileNameOf(record.imageRef)), {
      ...{ kind, apiVersion: API_VERSION, lastUpdatedTime },
      ...record,
    });
  }

  /** Forgets images that are no longer on the node. */
  async prune(imageIds: readonly string[]): Promise<void> {
    const kept = new Set(imageIds.map(fileNameOf));
    for (const name of await readdir(this.#pulled))
      if (!kept.has(name)) await rm(join(this.#pulled, name), { force: true });
  }

  /** undefined when there is no such file, {} when it is not a JSON object. */
  async #read(path: string): Promise<Readonly<Record<string, unknown>> | undefined> {
    let text: string;
    try {
      text = await readFile(path, "utf8");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
    try {
      const content: unknown = JSON.parse(text);
      return content !== null && typeof content === "object" ? { ...content } : {};
    } catch (error) {
      if (error instanceof SyntaxError) return {};
      throw error;
    }
  }

  #write(path: string, content: object): Promise<void> {
    return replaceFile(path, JSON.stringify(content));
  }
}

function fileNameOf(key: string): string {
  return `sha256-${createHash("sha256").update(key).digest("hex")}`;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function isPulledRecord(value: object): value is PulledRecord {
  const { imageRef, credentialMapping } = value as Partial<PulledRecord>;
  return (
    typeof imageRef === "string" &&
    isObject(credentialMapping) &&
    Object.values(credentialMapping).every(
      (by: unknown) =>
        isObject(by) &&
        [by.kubernetesSecrets ?? [], by.kubernetesServiceAccounts ?? []].every(
          (list) => Array.isArray(list) && list.every(isObject),
        ),
    )
  );
}
