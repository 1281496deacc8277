/**
 * Registry credentials of the node itself, which serve every pod: the docker configuration of the root directory or of
 * the agent's user, then what the credential plugins answer. Made by agent.ts, asked for each pull.
 */

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { hasCode, LongshoreError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import {
  type CredentialPlugin,
  type CredentialPluginOptions,
  type CredentialQuestion,
  loadCredentialPlugins,
} from "./credential-plugins.ts";
import { type Credential, findCredentials, type KeyringEntry, readAuths } from "./keyring.ts";

export interface NodeCredentialsOptions {
  readonly rootDir: string;
  /** The agent's HOME; undefined = none. */
  readonly home: string | undefined;
  readonly plugins: readonly Pick<CredentialPlugin, "get" | "stop">[];
  readonly log: Logger;
}

export interface NodeCredentialsConfig {
  readonly rootDir: string;
  readonly imageCredentialProviderConfig?: string;
  readonly imageCredentialProviderBinDir?: string;
}

/** Throws ConfigInvalid for plugins that a person must mend. */
export async function loadNodeCredentials(
  config: NodeCredentialsConfig,
  deps: Omit<CredentialPluginOptions, "binDir">,
): Promise<NodeCredentials> {
  const { rootDir, imageCredentialProviderConfig: path } = config;
  const binDir = config.imageCredentialProviderBinDir ?? "";
  const plugins = path === undefined ? [] : await loadCredentialPlugins(path, { ...deps, binDir });
  return new NodeCredentials({ rootDir, home: deps.env.HOME, plugins, log: deps.log });
}

export class NodeCredentials {
  readonly #options: NodeCredentialsOptions;

  constructor(options: NodeCredentialsOptions) {
    this.#options = options;
  }

  /** In the order in which they are to be tried. */
  async find(question: CredentialQuestion, signal: AbortSignal): Promise<readonly Credential[]> {
    const { plugins } = this.#options;
    const keyrings = [
      await this.#readConfig(),
      ...(await Promise.all(plugins.map((plugin) => plugin.get(question, signal)))),
    ];
    return keyrings.flatMap((entries) => findCredentials(entries, question.repository));
  }

  async stop(): Promise<void> {
    for (const plugin of this.#options.plugins) plugin.stop();
  }

  /** The first file that is there and readable, read anew each time: it may be renewed by others. */
  async #readConfig(): Promise<readonly KeyringEntry[]> {
    const { rootDir, home, log } = this.#options;
    const paths = [
      join(rootDir, "config.json"),
      ...(home === undefined ? [] : [join(home, ".docker", "config.json")]),
    ];
    for (const path of paths) {
      try {
        return await readConfig(path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") continue;
        if (!hasCode(error, "ConfigInvalid")) throw error;
        log.warn({ path, err: error }, "a docker configuration is left aside");
      }
    }
    return [];
  }
}

async function readConfig(path: string): Promise<readonly KeyringEntry[]> {
  const text = await readFile(path, "utf8");
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    // Not its words: they quote the file.
    throw new LongshoreError("ConfigInvalid", `${path} is not JSON`);
  }
  const read = readAuths((parsed as { auths?: unknown } | null)?.auths ?? {});
  if (read.kind === "entries") return read.entries;
  throw new LongshoreError("ConfigInvalid", `${path}: ${read.why}`);
}
