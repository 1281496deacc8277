/**
 * POST serviceaccounts/NAME/token: a token for the account, for some audiences and seconds, bound to a Pod, a Secret
 * or a Node if so asked. Bounds and refusals are upstream's; what a node may ask for is NodeRestriction's. A
 * ConnectHandler, given to the server by install.ts.
 */

import type { ServerResponse } from "node:http";
import { type Clock, formatTime } from "../../core/clock.ts";
import { readBody } from "../body.ts";
import type { Admission, ConnectHandler, ConnectRequest } from "../extension.ts";
import {
  checkObject,
  child,
  type Field,
  integerOf,
  invalidValue,
  itemsOf,
  type Problems,
  refuse,
  textOf,
} from "../field-errors.ts";
import { readObject } from "../object-input.ts";
import { at, isObject, type KubeObject, textAt } from "../objects.ts";
import { NODES, PODS, type ResourceType, SECRETS, SERVICE_ACCOUNTS } from "../registry.ts";
import { badRequest, conflict, methodNotAllowed, notFound } from "../status-error.ts";
import type { Store } from "../store.ts";
import { type ClaimsRequest, computeClaims, ISSUER, referenceTo } from "./claims.ts";
import { type SigningKey, signToken } from "./signing-key.ts";

export interface TokenRequestOptions {
  readonly key: SigningKey;
  readonly store: Pick<Store, "get">;
  readonly clock: Clock;
  readonly randomUid: () => string;
  /** NodeRestriction; refuses by throwing. */
  readonly admit: Admission;
}

const TOKEN_REQUESTS: ResourceType = {
  ...SERVICE_ACCOUNTS,
  ...{ group: "authentication.k8s.io", plural: "tokenrequests", kind: "TokenRequest" },
};

const DEFAULT_SECONDS = 3600;
const MIN_SECONDS = 600;
const MAX_SECONDS = 2 ** 32;
/**
 * Pods' own tokens for the API server ask for this life. Upstream lets them live for a year and only warns after it,
 * for the sake of clients that never read the file again.
 */
const EXTENDED_FROM_SECONDS = 3607;
const EXTENDED_SECONDS = 365 * 24 * 3600;

export function createTokenRequestHandler(options: TokenRequestOptions): ConnectHandler {
  return {
    async serve(connect, response) {
      if (connect.request.method !== "POST") throw methodNotAllowed();
      const body = readObject(TOKEN_REQUESTS, await readBody(connect.request));
      send(response, issueToken(options, connect, body));
    },
  };
}

interface Wanted {
  readonly audiences: readonly string[];
  readonly seconds: number;
}

type Asked = Pick<
  ConnectRequest,
  "user" | "type" | "name" | "namespace" | "subresource" | "parent"
>;

/** The TokenRequest with its token. Throws 400, 403, 404, 409 and 422. */
export function issueToken(
  options: TokenRequestOptions,
  connect: Asked,
  body: KubeObject,
): KubeObject {
  const { key, store, clock, randomUid, admit } = options;
  const { user, type, name, namespace = "", subresource, parent: account } = connect;
  const wanted = readWanted(connect, body);
  admit({
    ...{ operation: "CREATE", object: body, type, user, name, namespace, subresource },
    isDryRun: false,
  });
  const bound = readBound(store, account, at(body, "spec", "boundObjectRef"));
  const now = clock.now();
  const id = randomUid();
  const isExtended =
    bound.pod !== undefined &&
    wanted.seconds === EXTENDED_FROM_SECONDS &&
    wanted.audiences.every((audience) => audience === ISSUER);
  const life = isExtended
    ? { lifeSeconds: EXTENDED_SECONDS, warnAfterSeconds: wanted.seconds }
    : { lifeSeconds: wanted.seconds };
  const audiences = wanted.audiences;
  const claims = computeClaims({
    ...{ account, bound, audiences, id, ...life },
    now: Math.floor(now / 1000),
  });
  return {
    ...body,
    metadata: { name, namespace, creationTimestamp: formatTime(now) },
    spec: {
      ...(isObject(body.spec) ? body.spec : {}),
      audiences,
      expirationSeconds: wanted.seconds,
    },
    status: {
      token: signToken(key, claims),
      expirationTimestamp: formatTime(now + wanted.seconds * 1000),
    },
  };
}

/** Throws 422. */
function readWanted({ name, namespace }: Asked, body: KubeObject): Wanted {
  const problems: Problems = [];
  const root: Field = { path: "", value: body };
  for (const [field, value] of Object.entries({ name, namespace })) {
    const sent = child(child(root, "metadata"), field);
    if (sent.value === undefined || sent.value === "" || sent.value === value) continue;
    problems.push(invalidValue(sent, `must match the service account ${field} if specified`));
  }
  const spec = child(root, "spec");
  checkObject(spec, problems);
  const expiration = child(spec, "expirationSeconds");
  const seconds = integerOf(expiration, problems) ?? DEFAULT_SECONDS;
  if (seconds < MIN_SECONDS)
    problems.push(invalidValue(expiration, "may not specify a duration less than 10 minutes"));
  if (seconds > MAX_SECONDS)
    problems.push(invalidValue(expiration, "may not specify a duration larger than 2^32 seconds"));
  const asked = itemsOf(child(spec, "audiences"), problems).map((it) => textOf(it, problems) ?? "");
  const bound = child(spec, "boundObjectRef");
  checkObject(bound, problems);
  for (const field of ["apiVersion", "kind", "name", "uid"]) textOf(child(bound, field), problems);
  refuse(TOKEN_REQUESTS, { ...body, metadata: { name: "" } }, problems);
  return { audiences: asked.length === 0 ? [ISSUER] : asked, seconds };
}

/** Throws 400, 404 and 409. */
function readBound(
  store: Pick<Store, "get">,
  account: KubeObject,
  reference: unknown,
): ClaimsRequest["bound"] {
  if (reference === undefined || reference === null) return {};
  const { name: accountName, namespace } = account.metadata;
  const [kind, name] = [textAt(reference, "kind"), textAt(reference, "name")];
  const apiVersion = textAt(reference, "apiVersion");
  const find = (type: ResourceType, place: string | undefined): KubeObject => {
    const found = store.get(type, place, name);
    if (found === undefined) throw notFound(type, name);
    const uid = textAt(reference, "uid");
    if (uid === "" || uid === found.metadata.uid) return found;
    const why = `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`;
    throw conflict({ ...type, plural: type.kind }, name, why);
  };
  switch (apiVersion === "v1" ? kind : "") {
    case "Pod": {
      const pod = find(PODS, namespace);
      if (textAt(pod, "spec", "serviceAccountName") !== accountName)
        throw badRequest(
          `cannot bind token for serviceaccount "${accountName}" to pod running with different serviceaccount name.`,
        );
      return { pod: referenceTo(pod), ...nodeOf(store, pod) };
    }
    case "Secret":
      return { secret: referenceTo(find(SECRETS, namespace)) };
    case "Node":
      return { node: referenceTo(find(NODES, undefined)) };
    default:
      throw badRequest(
        `cannot bind token to object of type ${apiVersion.replace(/^(?=[^/]*$)/, "/")}, Kind=${kind}`,
      );
  }
}

/** Of a pod that has one; known by name alone while it is not registered. */
function nodeOf(store: Pick<Store, "get">, pod: KubeObject): Pick<ClaimsRequest["bound"], "node"> {
  const name = textAt(pod, "spec", "nodeName");
  if (name === "") return {};
  const node = store.get(NODES, undefined, name);
  return { node: node === undefined ? { name, uid: "" } : referenceTo(node) };
}

function send(response: ServerResponse, body: object): void {
  const text = JSON.stringify(body);
  const length = Buffer.byteLength(text);
  response.writeHead(201, { "content-type": "application/json", "content-length": length });
  response.end(text);
}
