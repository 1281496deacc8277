/**
 * Credentials from a plugin (`users[].user.exec`): a program that prints an ExecCredential. Its answer is kept until its
 * expirationTimestamp, or for good when it names none; callers at the same time share one run.
 * Owned by the credentials of kubeconfig.ts.
 */

import { orAborted } from "../core/abort.ts";
import type { Clock } from "../core/clock.ts";
import { hasCode, LongshoreError } from "../core/errors.ts";
import type { CommandResult, Exec } from "../core/exec.ts";

export interface ExecPlugin {
  readonly apiVersion: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly installHint?: string;
  /** ExecCredential.spec.cluster, present when provideClusterInfo is set. */
  readonly cluster?: object;
}

export interface PluginCredential {
  readonly token?: string;
  readonly cert?: string;
  readonly key?: string;
}

interface Answer {
  readonly credential: PluginCredential;
  readonly expiresAt: number;
}

const TIMEOUT_MS = 60_000;

export interface ExecCredentialsOptions {
  readonly plugin: ExecPlugin;
  readonly exec: Exec;
  readonly clock: Clock;
}

export class ExecCredentials {
  readonly #options: ExecCredentialsOptions;
  readonly #closed = new AbortController();
  #answer: Answer | undefined;
  #running: Promise<Answer> | undefined;

  constructor(options: ExecCredentialsOptions) {
    this.#options = options;
  }

  async get(signal: AbortSignal): Promise<PluginCredential> {
    if (this.#answer !== undefined && this.#options.clock.now() < this.#answer.expiresAt) {
      return this.#answer.credential;
    }
    this.#running ??= this.#run();
    return (await orAborted(this.#running, signal)).credential;
  }

  /** Forgets the answer. */
  expire(): void {
    this.#answer = undefined;
  }

  /** Kills the plugin if it runs. */
  close(): void {
    this.#closed.abort();
  }

  async #run(): Promise<Answer> {
    try {
      this.#answer = await this.#ask();
      return this.#answer;
    } finally {
      this.#running = undefined;
    }
  }

  async #ask(): Promise<Answer> {
    const { plugin, exec } = this.#options;
    const info = {
      apiVersion: plugin.apiVersion,
      kind: "ExecCredential",
      spec: {
        interactive: false,
        ...(plugin.cluster === undefined ? {} : { cluster: plugin.cluster }),
      },
    };
    const env = { ...plugin.env, KUBERNETES_EXEC_INFO: JSON.stringify(info) };
    const command = { file: plugin.command, args: plugin.args, env, timeoutMs: TIMEOUT_MS };
    let result: CommandResult;
    try {
      result = await exec(command, this.#closed.signal);
    } catch (error) {
      if (hasCode(error, "Aborted")) throw error;
      throw failure(plugin, wordsOf(error, plugin));
    }
    if (result.code === 0) return parseAnswer(result.stdout, plugin);
    throw failure(plugin, `it ended with ${result.code}: ${result.stderr.trim().slice(0, 2000)}`);
  }
}

function failure(plugin: ExecPlugin, words: string): LongshoreError {
  const message = `getting credentials from the plugin ${plugin.command}: ${words}`;
  return new LongshoreError("ApiUnauthorized", message);
}

/** Not the error's own words, and it is no cause: they have the arguments, among which people put secrets. */
function wordsOf(error: unknown, plugin: ExecPlugin): string {
  if (hasCode(error, "CommandMissing"))
    return `it is not installed or not on PATH; ${plugin.installHint ?? "install it"}`;
  if (hasCode(error, "CommandTimeout")) return `it did not end within ${TIMEOUT_MS / 1000} s`;
  return "it could not be run; is it an executable file?";
}

/** The ExecCredential that `text` is. Errors never quote it: it holds secrets. */
function parseAnswer(text: string, plugin: ExecPlugin): Answer {
  const problem = (what: string): LongshoreError =>
    new LongshoreError(
      "ApiUnauthorized",
      `the credential plugin ${plugin.command} printed ${what}; it must print an ExecCredential of ${plugin.apiVersion}`,
    );
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw problem("something that is not JSON");
  }
  const { apiVersion, kind, status } = (parsed ?? {}) as Record<string, unknown>;
  if (kind !== "ExecCredential") throw problem("JSON of another kind");
  if (apiVersion !== plugin.apiVersion) throw problem("another apiVersion");
  const fields = (status ?? {}) as Record<string, unknown>;
  const { token, clientCertificateData: cert, clientKeyData: key, expirationTimestamp } = fields;
  const expiresAt =
    typeof expirationTimestamp === "string"
      ? Date.parse(expirationTimestamp)
      : Number.POSITIVE_INFINITY;
  if (Number.isNaN(expiresAt)) throw problem("an expirationTimestamp that is no time");
  if (typeof token === "string") return { credential: { token }, expiresAt };
  if (typeof cert === "string" && typeof key === "string") {
    return { credential: { cert, key }, expiresAt };
  }
  throw problem("neither a token nor a client certificate with its key");
}
