/**
 * A kubeconfig file → ClusterCredentials. Everything that is wrong with the file is found here and said with the file,
 * the field and what to do (KubeconfigInvalid); afterwards tokens and certificates only rotate. Called by cli/.
 */

import { readFile } from "node:fs/promises";
import { dirname, isAbsolute, resolve } from "node:path";
import { load, YAMLException } from "js-yaml";
import type { Clock } from "../core/clock.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import type { Exec } from "../core/exec.ts";
import type { ClusterCredentials, RequestCredentials, TlsMaterial } from "./credentials.ts";
import { ExecCredentials, type ExecPlugin } from "./exec-credentials.ts";
import { KubeconfigField } from "./kubeconfig-field.ts";
import { RotatingFile } from "./rotating-file.ts";

export interface KubeconfigDeps {
  readonly clock: Clock;
  /** Runs credential plugins. */
  readonly exec: Exec;
  /** Environment that credential plugins inherit. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** Something given inline (decoded) or in a file that may rotate. */
type Source = { readonly kind: "inline"; readonly text: string } | FileSource;
interface FileSource {
  readonly kind: "file";
  readonly file: RotatingFile;
}

interface User {
  readonly cert?: Source;
  readonly key?: Source;
  readonly token?: Source;
  readonly plugin?: ExecCredentials;
}

interface Cluster {
  readonly server: URL;
  readonly ca?: Source;
  readonly servername?: string;
  readonly isInsecure: boolean;
}

const EXEC_VERSIONS = ["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"];

/** Reads the current context of the file at `path`, and each file it refers to once. */
export async function loadKubeconfig(
  path: string,
  deps: KubeconfigDeps,
): Promise<ClusterCredentials> {
  const root = await readRoot(path);
  const contextName = root.requiredString("current-context", "name one of its contexts");
  const context = root.named("contexts", contextName, "context");
  const reader = new Reader(path, deps);
  const cluster = reader.cluster(
    root.named("clusters", context.requiredString("cluster", "name a cluster"), "cluster"),
  );
  const userName = context.optionalString("user");
  const user: User =
    userName === undefined ? {} : reader.user(root.named("users", userName, "user"), cluster);
  await reader.checkFiles();
  return new KubeconfigCredentials(cluster, user);
}

async function readRoot(path: string): Promise<KubeconfigField> {
  const invalid = (problem: string, cause: unknown): LongshoreError =>
    new LongshoreError("KubeconfigInvalid", `${path}: ${problem}`, { cause });
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (cause) {
    throw invalid(`cannot be read (${messageOf(cause)}); give --kubeconfig a readable file`, cause);
  }
  try {
    return new KubeconfigField({ file: path, path: "", value: load(text) });
  } catch (cause) {
    if (!(cause instanceof YAMLException)) throw cause;
    // The exception's message quotes the lines around, which may hold secrets.
    const line = (cause.mark?.line ?? 0) + 1;
    throw invalid(`is not YAML (${cause.reason}, line ${line})`, undefined);
  }
}

/** Turns fields into sources, and remembers the files for one check at the end. */
class Reader {
  readonly #path: string;
  readonly #deps: KubeconfigDeps;
  readonly #files: { readonly field: KubeconfigField; readonly file: RotatingFile }[] = [];

  constructor(path: string, deps: KubeconfigDeps) {
    this.#path = path;
    this.#deps = deps;
  }

  async checkFiles(): Promise<void> {
    for (const { field, file } of this.#files) {
      await file.text().catch((cause: unknown) => {
        throw field.invalid(`cannot be read (${messageOf(cause)})`, "name a readable file", cause);
      });
    }
  }

  cluster(field: KubeconfigField): Cluster {
    const url = field.requiredString("server", "give the URL of the API server");
    if (!URL.canParse(url) || !/^https?:/.test(url)) {
      throw field.at("server").invalid("is no URL", "write https://host:port");
    }
    if (field.optionalString("proxy-url") !== undefined) {
      throw field
        .at("proxy-url")
        .invalid("is not supported", "remove it and let the node reach the API server directly");
    }
    const ca = this.#source(field, "certificate-authority");
    const isInsecure = field.optionalBoolean("insecure-skip-tls-verify") ?? false;
    if (isInsecure && ca !== undefined) {
      throw field
        .at("insecure-skip-tls-verify")
        .invalid("contradicts certificate-authority", "remove one of the two");
    }
    const servername = field.optionalString("tls-server-name");
    return {
      server: new URL(url),
      isInsecure,
      ...(ca === undefined ? {} : { ca }),
      ...(servername === undefined ? {} : { servername }),
    };
  }

  user(field: KubeconfigField, cluster: Cluster): User {
    for (const refused of ["auth-provider", "username", "password", "as"]) {
      if (!field.at(refused).isAbsent) {
        throw field
          .at(refused)
          .invalid("is not supported", "use a client certificate, a token or an exec plugin");
      }
    }
    const cert = this.#source(field, "client-certificate");
    const key = this.#source(field, "client-key");
    if ((cert === undefined) !== (key === undefined)) {
      const missing = cert === undefined ? "client-certificate" : "client-key";
      throw field.at(missing).invalid("is missing", "give the certificate together with its key");
    }
    const token = this.#token(field);
    const exec = field.at("exec");
    const plugin = exec.isAbsent ? undefined : this.#plugin(exec, field, cluster);
    return {
      ...(cert === undefined ? {} : { cert }),
      ...(key === undefined ? {} : { key }),
      ...(token === undefined ? {} : { token }),
      ...(plugin === undefined ? {} : { plugin }),
    };
  }

  #token(field: KubeconfigField): Source | undefined {
    // As client-go: a token file wins, since it is the one that is renewed.
    const path = field.optionalString("tokenFile");
    if (path !== undefined) return this.#file(field.at("tokenFile"), path);
    const text = field.optionalString("token");
    return text === undefined ? undefined : { kind: "inline", text };
  }

  /** `name-data` (base64) before `name` (a path), as client-go. */
  #source(field: KubeconfigField, name: string): Source | undefined {
    const data = field.at(`${name}-data`);
    if (!data.isAbsent) return { kind: "inline", text: data.base64() };
    const path = field.optionalString(name);
    return path === undefined ? undefined : this.#file(field.at(name), path);
  }

  #file(field: KubeconfigField, path: string): FileSource {
    const full = resolve(dirname(this.#path), path);
    const known = this.#files.find(({ file }) => file.path === full)?.file;
    const file = known ?? new RotatingFile(full, this.#deps.clock);
    this.#files.push({ field, file });
    return { kind: "file", file };
  }

  #plugin(exec: KubeconfigField, user: KubeconfigField, cluster: Cluster): ExecCredentials {
    const apiVersion = exec.requiredString("apiVersion", `use ${EXEC_VERSIONS[0]}`);
    if (!EXEC_VERSIONS.includes(apiVersion)) {
      throw exec.at("apiVersion").invalid("is not supported", `use ${EXEC_VERSIONS.join(" or ")}`);
    }
    if (exec.optionalString("interactiveMode") === "Always") {
      throw exec
        .at("interactiveMode")
        .invalid("is Always, and nobody sits at a node agent", "use IfAvailable or Never");
    }
    const command = exec.requiredString("command", `name the plugin of ${user.path}`);
    const isPath = command.includes("/") && !isAbsolute(command);
    const own = Object.fromEntries(
      exec
        .list("env")
        .map((entry) => [
          entry.requiredString("name", "name the variable"),
          entry.requiredString("value", "give the variable a value"),
        ]),
    );
    const inherited = Object.entries(this.#deps.env).filter(([, value]) => value !== undefined);
    const installHint = exec.optionalString("installHint");
    const plugin: ExecPlugin = {
      apiVersion,
      command: isPath ? resolve(dirname(this.#path), command) : command,
      args: exec.list("args").map((entry) => entry.string()),
      env: { ...(Object.fromEntries(inherited) as Record<string, string>), ...own },
      ...(installHint === undefined ? {} : { installHint }),
      ...(exec.optionalBoolean("provideClusterInfo") === true
        ? { cluster: clusterInfo(cluster) }
        : {}),
    };
    return new ExecCredentials({ plugin, exec: this.#deps.exec, clock: this.#deps.clock });
  }
}

function clusterInfo(cluster: Cluster): object {
  const ca = cluster.ca?.kind === "inline" ? cluster.ca.text : undefined;
  return {
    server: cluster.server.href,
    "insecure-skip-tls-verify": cluster.isInsecure,
    ...(cluster.servername === undefined ? {} : { "tls-server-name": cluster.servername }),
    ...(ca === undefined
      ? {}
      : { "certificate-authority-data": Buffer.from(ca).toString("base64") }),
  };
}

class KubeconfigCredentials implements ClusterCredentials {
  readonly server: URL;
  readonly #cluster: Cluster;
  readonly #user: User;
  #tls: TlsMaterial | undefined;

  constructor(cluster: Cluster, user: User) {
    this.server = cluster.server;
    this.#cluster = cluster;
    this.#user = user;
  }

  async current(signal: AbortSignal): Promise<RequestCredentials> {
    const fromPlugin = await this.#user.plugin?.get(signal);
    const cert = fromPlugin?.cert ?? (await read(this.#user.cert));
    // A file that holds both is read once: between two reads it may be another certificate's.
    const key = fromPlugin?.key ?? (isSameFile(this.#user) ? cert : await read(this.#user.key));
    const token = fromPlugin?.token ?? (await read(this.#user.token))?.trim();
    const ca = await read(this.#cluster.ca);
    const tls: TlsMaterial = {
      rejectUnauthorized: !this.#cluster.isInsecure,
      ...(ca === undefined ? {} : { ca }),
      ...(cert === undefined || key === undefined ? {} : { cert, key }),
      ...(this.#cluster.servername === undefined ? {} : { servername: this.#cluster.servername }),
    };
    if (this.#tls === undefined || !isSameTls(this.#tls, tls)) this.#tls = tls;
    return {
      tls: this.#tls,
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
    };
  }

  expire(): void {
    this.#user.plugin?.expire();
    for (const source of [this.#user.token, this.#user.cert, this.#user.key]) {
      if (source?.kind === "file") source.file.expire();
    }
  }

  close(): void {
    this.#user.plugin?.close();
  }
}

async function read(source: Source | undefined): Promise<string | undefined> {
  return source?.kind === "file" ? source.file.text() : source?.text;
}

function isSameFile({ cert, key }: User): boolean {
  return cert?.kind === "file" && key?.kind === "file" && cert.file === key.file;
}

function isSameTls(a: TlsMaterial, b: TlsMaterial): boolean {
  return a.ca === b.ca && a.cert === b.cert && a.key === b.key;
}
