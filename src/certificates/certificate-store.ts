/**
 * The files of one certificate in the certificate directory, laid out as the kubelet's: PREFIX-DATE.pem with certificate
 * and key (0600), PREFIX-current.pem as a link to the newest, replaced in one step, and PREFIX.key.tmp, the key of a
 * request that is under way. At every moment there is a whole current certificate or none. One owner per prefix.
 */

import { mkdir, open, readdir, rename, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { readOptional } from "../core/optional-file.ts";
import { replaceFile } from "../core/replace-file.ts";
import { type Identity, parseIdentity } from "./identity.ts";

export class CertificateStore {
  readonly #dir: string;
  readonly #prefix: string;

  constructor(dir: string, prefix: "kubelet-client" | "kubelet-server") {
    this.#dir = dir;
    this.#prefix = prefix;
  }

  get currentPath(): string {
    return this.#path("-current.pem");
  }

  async load(): Promise<Identity | undefined> {
    return parseIdentity(await readOptional(this.currentPath));
  }

  /** Afterwards it is the current one; the one before stays beside it, older ones go. */
  async save(identity: Identity, nowMs: number): Promise<void> {
    const name = await this.#writeDated(`${identity.cert.trimEnd()}\n${identity.key}`, nowMs);
    const updated = this.#path("-updated.pem");
    await rm(updated, { force: true });
    await symlink(name, updated);
    await rename(updated, this.currentPath);
    const isDated = new RegExp(`^${this.#prefix}-\\d{4}(-\\d\\d){5}(-\\d+)?\\.pem$`);
    const dated = (await readdir(this.#dir)).filter((file) => isDated.test(file)).sort();
    const old = dated.filter((file) => file !== name).slice(0, -1);
    await Promise.all(old.map((file) => rm(join(this.#dir, file), { force: true })));
  }

  /** The key of the request under way; undefined without one. */
  async loadKey(): Promise<string | undefined> {
    return (await readOptional(this.#path(".key.tmp"))) || undefined;
  }

  async saveKey(pem: string): Promise<void> {
    await mkdir(this.#dir, { recursive: true, mode: 0o700 });
    await replaceFile(this.#path(".key.tmp"), pem);
  }

  async dropKey(): Promise<void> {
    await rm(this.#path(".key.tmp"), { force: true });
  }

  #path(ending: string): string {
    return join(this.#dir, this.#prefix + ending);
  }

  /** A name that is taken (two in a second, the clock set back) is not written over. */
  async #writeDated(pem: string, nowMs: number): Promise<string> {
    const date = new Date(nowMs).toISOString().slice(0, 19).replace(/[T:]/g, "-");
    for (let attempt = 0; ; attempt++) {
      const name = `${this.#prefix}-${date}${attempt === 0 ? "" : `-${attempt}`}.pem`;
      try {
        await writeNew(join(this.#dir, name), pem);
        return name;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
    }
  }
}

/** On the disk when it resolves: a node that loses power must not come back with a link to nothing. */
async function writeNew(path: string, text: string): Promise<void> {
  const file = await open(path, "wx", 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}
