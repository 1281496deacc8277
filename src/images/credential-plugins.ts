/**
 * Credential provider plugins: programs that are asked on standard input which credentials an image needs
 * (CredentialProviderRequest) and answer on standard output. Answers are kept as long as they say; callers for one
 * image share a run. A plugin that fails is logged and counts as one without an answer, as in the kubelet.
 * Made by agent.ts, asked by node-credentials.ts.
 */

import { constants } from "node:fs";
import { access, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Pod } from "../api/types.ts";
import { orAborted } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { parseGoDuration } from "../core/duration.ts";
import { hasCode, LongshoreError, messageOf } from "../core/errors.ts";
import type { CommandResult, Exec } from "../core/exec.ts";
import { canonicalJson } from "../core/hash.ts";
import type { Logger } from "../core/logger.ts";
import {
  type CredentialProvider,
  PROVIDER_API,
  parseCredentialProviders,
} from "./credential-plugin-config.ts";
import { type Credential, type KeyringEntry, readAuths } from "./keyring.ts";
import { covers, registryOf } from "./repository.ts";
import { type Asker, findAsker, type ServiceAccountSource } from "./service-accounts.ts";

export interface CredentialPluginOptions {
  readonly binDir: string;
  readonly exec: Exec;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Credentials for which image, and for whose pod. */
export interface CredentialQuestion {
  readonly repository: string;
  readonly pod: Pod;
  readonly accounts: ServiceAccountSource;
}

interface Answer {
  readonly entries: readonly KeyringEntry[];
  /** Where it is kept. */
  readonly key: string;
  readonly cacheMs: number;
}

interface Asked {
  readonly repository: string;
  readonly defaultCacheMs: number;
  readonly source: Pick<Credential, "serviceAccount">;
}

const TIMEOUT_MS = 60_000;
/** The API's own default. */
const TOKEN_SECONDS = 3600;
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

  async get(question: CredentialQuestion, signal: AbortSignal): Promise<readonly KeyringEntry[]> {
    const { matchImages, tokens } = this.#provider;
    const { repository, pod, accounts } = question;
    if (!matchImages.some((pattern) => covers(pattern, repository))) return [];
    const asker = await this.#findAsker(question, signal);
    if (asker.kind === "nobody") return [];
    const getToken = async (): Promise<string | undefined> => {
      if (asker.kind === "node" || tokens === undefined) return undefined;
      const request = { audience: tokens.audience, expirationSeconds: TOKEN_SECONDS };
      return (await accounts.requestToken(pod, request, this.#closed.signal)).token;
    };
    if (asker.kind === "account" && tokens?.cacheType === "Token")
      return orAborted(this.#ask(repository, asker, getToken), signal);
    const kept = this.#find(repository, asker);
    if (kept !== undefined) return kept;
    const key = keyOf(repository, asker);
    const running =
      this.#running.get(key) ??
      this.#ask(repository, asker, getToken).finally(() => this.#running.delete(key));
    this.#running.set(key, running);
    return orAborted(running, signal);
  }

  /** Kills what runs. */
  stop(): void {
    this.#closed.abort();
  }

  /** An account that cannot be read now is one that a plugin is not asked for. */
  async #findAsker(
    { repository, pod, accounts }: CredentialQuestion,
    signal: AbortSignal,
  ): Promise<Asker> {
    try {
      return await findAsker(pod, this.#provider.tokens, accounts, signal);
    } catch (error) {
      if (hasCode(error, "Aborted")) throw error;
      this.#warn(repository, error);
      return { kind: "nobody" };
    }
  }

  #find(repository: string, asker: Asker): readonly KeyringEntry[] | undefined {
    const now = this.#options.clock.now();
    for (const [key, { until }] of this.#kept) if (until <= now) this.#kept.delete(key);
    return [repository, registryOf(repository), GLOBAL]
      .map((key) => this.#kept.get(keyOf(key, asker))?.entries)
      .find((entries) => entries !== undefined);
  }

  /** Never rejects. */
  async #ask(
    repository: string,
    asker: Asker,
    getToken: () => Promise<string | undefined>,
  ): Promise<readonly KeyringEntry[]> {
    const { clock } = this.#options;
    const { defaultCacheMs, tokens } = this.#provider;
    try {
      const token = await getToken();
      const text = await this.#run(repository, asker, token);
      const source = asker.kind === "account" ? { serviceAccount: asker.account } : {};
      const { entries, key, cacheMs } = parseAnswer(text, { repository, defaultCacheMs, source });
      if (token !== undefined && tokens?.cacheType === "Token") return entries;
      const isEcho = entries.some(({ credential }) => credential.auth.password === token);
      if (token !== undefined && isEcho)
        throw failure("it gave the token itself back, which only the cacheType Token allows");
      if (cacheMs > 0) this.#kept.set(keyOf(key, asker), { entries, until: clock.now() + cacheMs });
      return entries;
    } catch (error) {
      if (!hasCode(error, "Aborted")) this.#warn(repository, error);
      return [];
    }
  }

  #warn(image: string, error: unknown): void {
    this.#options.log.warn(
      { plugin: this.#provider.name, image, err: error },
      "a credential provider gave no credentials; the pull goes on without them",
    );
  }

  async #run(repository: string, asker: Asker, token: string | undefined): Promise<string> {
    const { exec, binDir, env } = this.#options;
    const { name, args, env: own } = this.#provider;
    const inherited = Object.entries(env).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, value] as const],
    );
    const request = {
      kind: "CredentialProviderRequest",
      apiVersion: PROVIDER_API,
      image: repository,
      ...(token === undefined ? {} : { serviceAccountToken: token }),
      ...(asker.kind === "account" ? { serviceAccountAnnotations: asker.annotations } : {}),
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

function keyOf(base: string, asker: Asker): string {
  return canonicalJson([base, asker]);
}

function failure(words: string): LongshoreError {
  return new LongshoreError("CommandFailed", words);
}

/** Errors never quote the answer: it holds secrets. */
function parseAnswer(text: string, asked: Asked): Answer {
  const { repository, defaultCacheMs, source } = asked;
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
  const read = readAuths(auth ?? {}, source);
  if (read.kind === "unusable") throw failure(read.why);
  const cacheMs = cacheDuration == null ? defaultCacheMs : parseGoDuration(cacheDuration);
  if (cacheMs === undefined) throw failure("its cacheDuration is not a duration such as 10m");
  return { entries: read.entries, key, cacheMs };
}
