/**
 * Credential provider plugins: programs that are asked on standard input which credentials an image needs
 * (CredentialProviderRequest) and answer on standard output. Answers are kept as long as they say; callers for one
 * image share a run. A plugin that fails is logged and counts as one without an answer, as in the kubelet.
 * Made by agent.ts, asked by node-credentials.ts.
 */

import { constants } from "node:fs";
import { access, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { orAborted } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, LongshoreError, messageOf } from "../core/errors.ts";
import type { CommandResult, Exec } from "../core/exec.ts";
import type { Logger } from "../core/logger.ts";
import {
  type CredentialProvider,
  PROVIDER_API,
  parseCredentialProviders,
  parseGoDuration,
} from "./credential-plugin-config.ts";
import { type KeyringEntry, readAuths } from "./keyring.ts";
import { covers, registryOf } from "./repository.ts";

export interface CredentialPluginOptions {
  readonly binDir: string;
  readonly exec: Exec;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Answer {
  readonly entries: readonly KeyringEntry[];
  /** Where it is kept. */
  readonly key: string;
  readonly cacheMs: number;
}

const TIMEOUT_MS = 60_000;
const GLOBAL = "";
const MAX_WORDS = 2000;

/** @param path a file, or a folder of .json, .yaml and .yml files. Throws ConfigInvalid for what a person must mend. */
export async function loadCredentialPlugins(
  path: string,
  options: CredentialPluginOptions,
): Promise<readonly CredentialPlugin[]> {
  const providers: CredentialProvider[] = [];
  try {
    for (const file of await configFilesOf(path))
      providers.push(...parseCredentialProviders(await readFile(file, "utf8"), file));
  } catch (error) {
    throw hasCode(error, "ConfigInvalid") ? error : cannotRead(path, error);
  }
  const plugins = new Map<string, CredentialPlugin>();
  for (const provider of providers) {
    if (plugins.has(provider.name))
      throw new LongshoreError("ConfigInvalid", `${path} names ${provider.name} twice`);
    const program = join(options.binDir, provider.name);
    await access(program, constants.X_OK).catch((cause: unknown) => {
      throw new LongshoreError(
        "ConfigInvalid",
        `the credential provider ${program} of ${path} is not there or not executable`,
        { cause },
      );
    });
    plugins.set(provider.name, new CredentialPlugin(provider, options));
  }
  return [...plugins.values()];
}

async function configFilesOf(path: string): Promise<readonly string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const names = (await readdir(path)).filter((name) => /\.(json|ya?ml)$/.test(name)).sort();
  if (names.length > 0) return names.map((name) => join(path, name));
  throw new LongshoreError("ConfigInvalid", `${path} has no .json, .yaml or .yml file`);
}

function cannotRead(path: string, cause: unknown): LongshoreError {
  const message = `cannot read the credential provider configuration ${path}: ${messageOf(cause)}`;
  return new LongshoreError("ConfigInvalid", message, { cause });
}

export class CredentialPlugin {
  readonly #provider: CredentialProvider;
  readonly #options: CredentialPluginOptions;
  readonly #kept = new Map<
    string,
    { readonly entries: Answer["entries"]; readonly until: number }
  >();
  readonly #running = new Map<string, Promise<Answer["entries"]>>();
  readonly #closed = new AbortController();

  constructor(provider: CredentialProvider, options: CredentialPluginOptions) {
    this.#provider = provider;
    this.#options = options;
  }

  async get(repository: string, signal: AbortSignal): Promise<readonly KeyringEntry[]> {
    const { matchImages } = this.#provider;
    if (!matchImages.some((pattern) => covers(pattern, repository))) return [];
    const kept = this.#find(repository);
    if (kept !== undefined) return kept;
    const running =
      this.#running.get(repository) ??
      this.#ask(repository).finally(() => this.#running.delete(repository));
    this.#running.set(repository, running);
    return orAborted(running, signal);
  }

  /** Kills what runs. */
  stop(): void {
    this.#closed.abort();
  }

  #find(repository: string): readonly KeyringEntry[] | undefined {
    const now = this.#options.clock.now();
    for (const [key, { until }] of this.#kept) if (until <= now) this.#kept.delete(key);
    const keys = [repository, registryOf(repository), GLOBAL];
    return keys.map((key) => this.#kept.get(key)?.entries).find((entries) => entries !== undefined);
  }

  async #ask(repository: string): Promise<readonly KeyringEntry[]> {
    const { log, clock } = this.#options;
    const { name: plugin, defaultCacheMs } = this.#provider;
    try {
      const answer = parseAnswer(await this.#run(repository), repository, defaultCacheMs);
      if (answer.cacheMs > 0)
        this.#kept.set(answer.key, {
          entries: answer.entries,
          until: clock.now() + answer.cacheMs,
        });
      return answer.entries;
    } catch (error) {
      if (!hasCode(error, "Aborted"))
        log.warn(
          { plugin, image: repository, err: error },
          "a credential provider gave no credentials; the pull goes on without them",
        );
      return [];
    }
  }

  async #run(repository: string): Promise<string> {
    const { exec, binDir, env } = this.#options;
    const { name, args, env: own } = this.#provider;
    const inherited = Object.entries(env).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, value] as const],
    );
    const request = {
      kind: "CredentialProviderRequest",
      apiVersion: PROVIDER_API,
      image: repository,
    };
    const command = {
      file: join(binDir, name),
      args,
      env: { ...Object.fromEntries(inherited), ...own },
      input: JSON.stringify(request),
      timeoutMs: TIMEOUT_MS,
    };
    let result: CommandResult;
    try {
      result = await exec(command, this.#closed.signal);
    } catch (error) {
      if (hasCode(error, "Aborted")) throw error;
      // Not the error's own words: they have the arguments, among which people put secrets.
      const isLate = hasCode(error, "CommandTimeout");
      throw failure(isLate ? `it did not end within ${TIMEOUT_MS / 1000} s` : "it cannot be run");
    }
    if (result.code === 0) return result.stdout;
    throw failure(`it ended with ${result.code}: ${result.stderr.trim().slice(0, MAX_WORDS)}`);
  }
}

function failure(words: string): LongshoreError {
  return new LongshoreError("CommandFailed", words);
}

/** Errors never quote the answer: it holds secrets. */
function parseAnswer(text: string, repository: string, defaultCacheMs: number): Answer {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw failure("it printed something that is not JSON");
  }
  const { apiVersion, kind, cacheKeyType, cacheDuration, auth } = (parsed ?? {}) as Readonly<
    Record<string, unknown>
  >;
  if (kind !== "CredentialProviderResponse" || apiVersion !== PROVIDER_API)
    throw failure(`it did not print a CredentialProviderResponse of ${PROVIDER_API}`);
  const keys: Readonly<Record<string, string>> = {
    Image: repository,
    Registry: registryOf(repository),
    Global: GLOBAL,
  };
  const key = keys[String(cacheKeyType)];
  if (key === undefined) throw failure("its cacheKeyType is not Image, Registry or Global");
  const read = readAuths(auth ?? {});
  if (read.kind === "unusable") throw failure(read.why);
  const cacheMs = cacheDuration == null ? defaultCacheMs : parseGoDuration(cacheDuration);
  if (cacheMs === undefined) throw failure("its cacheDuration is not a duration such as 10m");
  return { entries: read.entries, key, cacheMs };
}
