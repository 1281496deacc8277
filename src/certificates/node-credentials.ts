/**
 * Who the node is towards the API server: what its kubeconfig says, with the client certificate of the rotation in place
 * of an older one there. Whoever listens learns when it changes. While the node has no certificate at all (it
 * bootstraps), every call fails with ApiUnauthorized and nothing is sent. Made by agent-certificates.ts.
 */

import type { ClusterCredentials, RequestCredentials, TlsMaterial } from "../api/credentials.ts";
import { LongshoreError } from "../core/errors.ts";
import { type Identity, identityOf, laterOf } from "./identity.ts";

export interface NodeCredentialsOptions {
  /** Of the kubeconfig; of the bootstrap kubeconfig, for address and authority only, where there is no other. */
  readonly base: ClusterCredentials;
  readonly isBootstrapping: boolean;
  /** What the certificate directory holds. */
  readonly own: Identity | undefined;
}

export class NodeCredentials implements ClusterCredentials {
  readonly server: URL;
  readonly #options: NodeCredentialsOptions;
  readonly #listeners: (() => void)[] = [];
  #own: Identity | undefined;
  readonly #refused = new WeakSet<Identity>();
  #seen: { readonly tls: TlsMaterial; readonly identity: Identity | undefined } | undefined;
  #made:
    | { readonly base: TlsMaterial; readonly own: Identity; readonly tls: TlsMaterial }
    | undefined;

  constructor(options: NodeCredentialsOptions) {
    this.#options = options;
    this.#own = options.own;
    this.server = options.base.server;
  }

  /**
   * The client certificate in use; undefined = none, or one whose key is no pair with it. One that the server refuses
   * (of another cluster, or over by a better clock than ours) gives way to the kubeconfig's.
   */
  get identity(): Identity | undefined {
    const both = [this.#own, this.#seen?.identity];
    const good = both.filter((it) => it !== undefined && !this.#refused.has(it));
    const [own, given] = good.length === 0 ? both : good;
    return laterOf(own, given);
  }

  /** Whether the server refused the certificate in use. */
  get isRefused(): boolean {
    const { identity } = this;
    return identity !== undefined && this.#refused.has(identity);
  }

  /** The next request carries it. */
  use(identity: Identity): void {
    this.#own = identity;
    for (const listener of this.#listeners) listener();
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  async current(signal: AbortSignal): Promise<RequestCredentials> {
    const { base, isBootstrapping } = this.#options;
    const given = await base.current(signal);
    if (this.#seen?.tls !== given.tls && !isBootstrapping) {
      const { cert = "", key = "" } = given.tls;
      this.#seen = { tls: given.tls, identity: identityOf(cert, key) };
    }
    const own = this.#own;
    if (own === undefined && isBootstrapping)
      throw new LongshoreError(
        "ApiUnauthorized",
        "the node has no client certificate yet: its request is not signed",
      );
    if (own === undefined || this.identity !== own) return given;
    if (this.#made?.base !== given.tls || this.#made.own !== own)
      this.#made = { base: given.tls, own, tls: { ...given.tls, cert: own.cert, key: own.key } };
    return { tls: this.#made.tls };
  }

  expire(): void {
    if (this.identity !== undefined) this.#refused.add(this.identity);
    this.#options.base.expire();
  }

  close(): void {
    this.#options.base.close();
  }
}
