/**
 * Where the rest of the control plane plugs into the API server: bearer tokens, authorization, admission and the
 * subresources that are not objects (logs, exec, proxy, tokens). Types only. `startControlPlane` asks its `extend`
 * option for them once, after the store is open and before the first request.
 */

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import type { KubeObject } from "./objects.ts";
import type { KeyPair } from "./pki.ts";
import type { ResourceType } from "./registry.ts";
import type { Store } from "./store.ts";

export interface User {
  /** Common name of the client certificate, or what the token says. */
  readonly name: string;
  /** Organizations of the client certificate or groups of the token's owner, and `system:authenticated`. */
  readonly groups: readonly string[];
  readonly uid?: string;
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export type TokenVerdict =
  | { readonly kind: "user"; readonly user: User; readonly audiences: readonly string[] }
  | { readonly kind: "refused"; readonly message: string };

/**
 * Whose a bearer token is, if it is good for one of these audiences (none asked for: the API server's own).
 * Undefined for a token of another kind than this one knows.
 */
export type TokenAuthenticator = (
  token: string,
  audiences: readonly string[],
) => TokenVerdict | undefined;

export interface RequestAttributes {
  /** get, list, watch, create, update, patch, delete, deletecollection; for paths that are no resource: get, post… */
  readonly verb: string;
  readonly path: string;
  /** Absent for paths that are no resource (/version, /healthz…). */
  readonly type?: ResourceType;
  readonly subresource?: string;
  readonly namespace?: string;
  readonly name?: string;
  readonly fieldSelector?: string;
  readonly labelSelector?: string;
}

export type Decision =
  | { readonly kind: "allow" }
  /** The message follows `… is forbidden: User "x" cannot get resource …: `; may be empty. */
  | { readonly kind: "deny"; readonly message: string };

/** Runs after authentication, before anything is read. Members of system:masters never reach it. */
export type Authorizer = (user: User, attributes: RequestAttributes) => Decision;

interface AdmissionBase {
  readonly type: ResourceType;
  readonly user: User;
  readonly namespace?: string;
  readonly name: string;
  /** "status", "binding"… or absent. */
  readonly subresource?: string;
  readonly isDryRun: boolean;
}

export type AdmissionRequest =
  | (AdmissionBase & { readonly operation: "CREATE"; readonly object: KubeObject })
  | (AdmissionBase & {
      readonly operation: "UPDATE";
      readonly object: KubeObject;
      readonly old: KubeObject;
    })
  | (AdmissionBase & { readonly operation: "DELETE"; readonly old: KubeObject });

/**
 * Runs synchronously in the order of the list, after defaulting and before validation. Returns the object to store
 * (what it returns for DELETE is ignored); throws a StatusError to refuse.
 */
export type Admission = (request: AdmissionRequest) => KubeObject | undefined;

export interface ConnectRequest {
  readonly user: User;
  readonly type: ResourceType;
  readonly subresource: string;
  readonly namespace?: string;
  readonly name: string;
  /** What the subresource belongs to: the Pod, the Node, the ServiceAccount. It exists. */
  readonly parent: KubeObject;
  /** The path after the subresource, e.g. "/stats/summary" for nodes/x/proxy/stats/summary; "" if none. */
  readonly rest: string;
  readonly query: URLSearchParams;
  readonly request: IncomingMessage;
}

/** Thrown errors are answered as Status while nothing has been sent; after that the connection is cut. */
export interface ConnectHandler {
  serve(connect: ConnectRequest, response: ServerResponse): Promise<void>;
  /** For requests with `Connection: Upgrade`; without it they are refused with 400. */
  upgrade?(connect: ConnectRequest, socket: Duplex, head: Buffer): Promise<void>;
}

export interface Document {
  readonly contentType: string;
  readonly body: string | Uint8Array;
}

export interface Extensions {
  /** Asked one after the other. */
  readonly tokens?: readonly TokenAuthenticator[];
  readonly authorize?: Authorizer;
  /** What a GET of a path that is no resource answers. */
  readonly documents?: (path: string) => Document | undefined;
  readonly admission?: readonly Admission[];
  /** By "resource/subresource": "pods/log", "pods/exec", "nodes/proxy", "serviceaccounts/token"… */
  readonly connect?: Readonly<Record<string, ConnectHandler>>;
}

export interface ClientCredentials {
  /** PEM of the certificate authority that signs kubelets' serving certificates made here. */
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface ExtensionContext {
  /** Where the control plane keeps its keys, mode 0700. */
  readonly pkiDir: string;
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly randomUid: () => string;
  readonly log: Logger;
  /** Client certificate kube-apiserver-kubelet-client for calls to nodes. */
  readonly kubeletClient: ClientCredentials;
  /** The authority with its key, for certificate requests. */
  readonly authority: KeyPair;
}

export type Extend = (context: ExtensionContext) => Extensions;
