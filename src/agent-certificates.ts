/**
 * The agent's certificates put together: who the node is towards the API server, by kubeconfig, by what is in the
 * certificate directory or by a bootstrap kubeconfig, and what it serves with. Waits for nobody: a node without a
 * certificate starts, and says so. Made, started and stopped by agent.ts.
 */

import { access } from "node:fs/promises";
import { join } from "node:path";
import type { ApiClient } from "./api/client.ts";
import type { ClusterCredentials } from "./api/credentials.ts";
import { createApiClient } from "./api/http-client.ts";
import { type KubeconfigDeps, loadKubeconfig } from "./api/kubeconfig.ts";
import type { Node } from "./api/types.ts";
import { CertificateManager } from "./certificates/certificate-manager.ts";
import { CertificateStore } from "./certificates/certificate-store.ts";
import { type Identity, isFor, type Subject } from "./certificates/identity.ts";
import { NodeCredentials } from "./certificates/node-credentials.ts";
import { writeNodeKubeconfig } from "./certificates/node-kubeconfig.ts";
import { clientSubject, servingSubject } from "./certificates/subjects.ts";
import type { AgentConfig } from "./config.ts";
import { LongshoreError, messageOf } from "./core/errors.ts";
import { canonicalJson } from "./core/hash.ts";
import type { Logger } from "./core/logger.ts";

export interface AgentCertificatesOptions extends KubeconfigDeps {
  readonly config: Pick<
    AgentConfig,
    | "nodeName"
    | "kubeconfig"
    | "bootstrapKubeconfig"
    | "rootDir"
    | "certDir"
    | "rotateCertificates"
    | "serverTLSBootstrap"
  >;
  readonly version: string;
  readonly random: () => number;
  readonly log: Logger;
}

/** For metrics and `longshore status`. */
export interface CertificateFacts {
  /** Milliseconds of the epoch; absent = the node uses no client certificate. */
  readonly clientEndsAt?: number;
  readonly clientRenewErrors: number;
  readonly servingRenewErrors: number;
  /** What keeps a certificate from being renewed. */
  readonly problems: readonly string[];
}

export class AgentCertificates {
  readonly credentials: NodeCredentials;
  readonly #options: AgentCertificatesOptions;
  readonly #clientStore: CertificateStore;
  readonly #subject: Subject;
  #hasKubeconfig: boolean;
  #client: CertificateManager | undefined;
  #serving: CertificateManager | undefined;

  private constructor(
    options: AgentCertificatesOptions,
    found: { readonly credentials: NodeCredentials; readonly hasKubeconfig: boolean },
  ) {
    this.#options = options;
    this.credentials = found.credentials;
    this.#hasKubeconfig = found.hasKubeconfig;
    this.#clientStore = storeOf(options, "kubelet-client");
    this.#subject = clientSubject(options.config.nodeName);
  }

  /** Throws KubeconfigInvalid where there are neither credentials nor a bootstrap kubeconfig to get some with. */
  static async prepare(options: AgentCertificatesOptions): Promise<AgentCertificates> {
    const { config, log } = options;
    const stored = await storeOf(options, "kubelet-client").load();
    const isOurs = stored !== undefined && isFor(stored, clientSubject(config.nodeName));
    const own = isOurs ? stored : undefined;
    const { bootstrapKubeconfig } = config;
    let base: ClusterCredentials;
    let hasKubeconfig = true;
    try {
      base = await loadKubeconfig(config.kubeconfig, options);
    } catch (error) {
      if (bootstrapKubeconfig === undefined || !(await exists(bootstrapKubeconfig))) throw error;
      log.info({ why: messageOf(error), bootstrapKubeconfig }, "bootstrapping");
      base = await loadKubeconfig(bootstrapKubeconfig, options);
      hasKubeconfig = false;
    }
    const credentials = new NodeCredentials({ base, isBootstrapping: !hasKubeconfig, own });
    const certificates = new AgentCertificates(options, { credentials, hasKubeconfig });
    if (!hasKubeconfig && own !== undefined) await certificates.#writeKubeconfig();
    return certificates;
  }

  /** @param client with these credentials. */
  startClient(client: ApiClient): void {
    const { rotateCertificates: rotates, bootstrapKubeconfig } = this.#options.config;
    if (bootstrapKubeconfig === undefined && !rotates) return;
    this.#client = new CertificateManager({
      ...this.#options,
      ...{ purpose: "client", store: this.#clientStore, rotates },
      subject: (signal) => this.#clientSubject(signal),
      current: () => (this.credentials.isRefused ? undefined : this.credentials.identity),
      onIssued: async (issued) => {
        this.credentials.use(issued);
        if (!this.#hasKubeconfig) await this.#writeKubeconfig();
      },
      withClient: (failures, use) => this.#withClient(client, failures, use),
    });
    this.#client.start();
  }

  /** A kubeconfig with a token, or of somebody who is not this node, is left as it is. */
  async #clientSubject(signal: AbortSignal): Promise<Subject | undefined> {
    // What comes to light here comes to light in every request, and is told there.
    await this.credentials.current(signal).catch(() => undefined);
    const { identity } = this.credentials;
    const isNode = identity !== undefined && isFor(identity, this.#subject);
    return isNode || this.#options.config.bootstrapKubeconfig !== undefined
      ? this.#subject
      : undefined;
  }

  /** With `serverTLSBootstrap`; `reload` makes the server read its certificate again. */
  async startServing(serving: {
    readonly client: ApiClient;
    readonly onNode: (listener: (node: Node) => void) => void;
    readonly reload: () => Promise<void>;
  }): Promise<void> {
    if (!this.#options.config.serverTLSBootstrap) return;
    const store = storeOf(this.#options, "kubelet-server");
    let current: Identity | undefined = await store.load();
    let subject: Subject | undefined;
    const manager = new CertificateManager({
      ...this.#options,
      ...{ purpose: "serving", store, rotates: true },
      subject: async () => subject,
      current: () => current,
      onIssued: (issued) => {
        current = issued;
        return serving.reload();
      },
      withClient: (_failures, use) => use(serving.client),
    });
    this.#serving = manager;
    serving.onNode((node) => {
      const next = servingSubject(node);
      if (canonicalJson(next ?? {}) === canonicalJson(subject ?? {})) return;
      subject = next;
      manager.wake();
    });
  }

  async stop(): Promise<void> {
    await Promise.all([this.#client?.stop(), this.#serving?.stop()]);
  }

  facts(): CertificateFacts {
    const { identity } = this.credentials;
    const [client, serving] = [this.#client?.problem, this.#serving?.problem];
    return {
      ...(identity === undefined ? {} : { clientEndsAt: identity.notAfter }),
      clientRenewErrors: this.#client?.renewErrors ?? 0,
      servingRenewErrors: this.#serving?.renewErrors ?? 0,
      problems: [
        ...(client === undefined ? [] : [`client: ${client}`]),
        ...(serving === undefined ? [] : [`serving: ${serving}`]),
      ],
    };
  }

  /**
   * With the node's own certificate while it lasts, else with the bootstrap kubeconfig where there is one, as upstream.
   * Failures go round, since a clock may be wrong, and a server may have forgotten an authority.
   */
  async #withClient<T>(
    own: ApiClient,
    failures: number,
    use: (client: ApiClient) => Promise<T>,
  ): Promise<T> {
    const { config, clock, random, log, version } = this.#options;
    const { identity } = this.credentials;
    const bootstrap = config.bootstrapKubeconfig;
    const canBootstrap = bootstrap !== undefined && (await exists(bootstrap));
    const isOver =
      identity === undefined || this.credentials.isRefused || identity.notAfter <= clock.now();
    const turn = identity === undefined ? 0 : failures % 2;
    if (identity === undefined && !canBootstrap) throw gone(bootstrap);
    if (!canBootstrap || (isOver ? turn === 1 : turn === 0)) return use(own);
    const credentials = await loadKubeconfig(bootstrap, this.#options);
    const userAgent = `longshore/${version}`;
    const client = createApiClient({ credentials, clock, random, log, userAgent });
    try {
      const result = await use(client);
      // What comes of it makes a kubeconfig of before useless.
      this.#hasKubeconfig = false;
      return result;
    } finally {
      client.close();
    }
  }

  async #writeKubeconfig(): Promise<void> {
    const { kubeconfig, bootstrapKubeconfig } = this.#options.config;
    if (bootstrapKubeconfig === undefined || !(await exists(bootstrapKubeconfig)))
      throw gone(bootstrapKubeconfig);
    await writeNodeKubeconfig(kubeconfig, bootstrapKubeconfig, this.#clientStore.currentPath);
    this.#hasKubeconfig = true;
    this.#options.log.info({ kubeconfig }, "kubeconfig written");
  }
}

function storeOf(
  { config }: AgentCertificatesOptions,
  prefix: "kubelet-client" | "kubelet-server",
): CertificateStore {
  return new CertificateStore(config.certDir ?? join(config.rootDir, "pki"), prefix);
}

function gone(path: string | undefined): LongshoreError {
  return new LongshoreError(
    "KubeconfigInvalid",
    `the bootstrap kubeconfig ${path ?? ""} is not there: put one in place to get a certificate`,
  );
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
