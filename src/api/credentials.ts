/**
 * Who we are towards an API server, as the HTTP client sees it: an address, and TLS material and an Authorization
 * header that may change from call to call. kubeconfig.ts makes them; tests make them by hand.
 */

export interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** Name to verify and to send as SNI in place of the host of the URL. */
  readonly servername?: string;
  /** False only for insecure-skip-tls-verify. */
  readonly rejectUnauthorized: boolean;
}

export interface RequestCredentials {
  readonly tls: TlsMaterial;
  /** Value of the Authorization header. Secret. */
  readonly authorization?: string;
}

export interface ClusterCredentials {
  /** `https://host:port[/prefix]`; `http:` for a local proxy. */
  readonly server: URL;
  /** What the next request is to carry. `tls` is the same object until it changes. */
  current(signal: AbortSignal): Promise<RequestCredentials>;
  /** The server said 401: forget what is cached, so that the next `current` asks the source again. */
  expire(): void;
  /** Tells when requests carry another client certificate, so that what is open can be opened anew. */
  onChange?(listener: () => void): void;
  /** Ends a credential plugin that still runs. */
  close(): void;
}
