/**
 * The verbs on stored objects: create, read, list, update, patch and delete, with admission, conflict detection and
 * the split between an object and its status. Synchronous, so that nothing comes between reading and writing.
 * Called by server.ts, which has authenticated and authorized the request.
 */

import type { Clock } from "../core/clock.ts";
import { applyDefaults } from "./defaults.ts";
import { deleteObject, isReleased } from "./deletion.ts";
import type { Admission, User } from "./extension.ts";
import { at, isObject, type KubeObject, textAt, withMeta } from "./objects.ts";
import { applyPatch } from "./patch.ts";
import type { ObjectPage } from "./present.ts";
import { apiVersionOf, NAMESPACES, PODS, type ResourceType } from "./registry.ts";
import type { ResourcePath } from "./request-path.ts";
import { type Predicate, parseFieldSelector, parseLabelSelector } from "./selectors.ts";
import { badRequest, invalid, modified, notFound, StatusError } from "./status-error.ts";
import type { Store } from "./store.ts";
import { validateCreate, validateUpdate } from "./validation.ts";

export interface RestOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly admission: readonly Admission[];
}

export interface RestCall {
  readonly user: User;
  readonly path: ResourcePath;
  readonly query: URLSearchParams;
}

const NAME = /^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/;
const NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789";

export class Rest {
  readonly #options: RestOptions;

  constructor(options: RestOptions) {
    this.#options = options;
  }

  get(call: RestCall): KubeObject {
    const { type, namespace, name = "" } = call.path;
    const found = this.#options.store.get(type, namespace, name);
    if (found === undefined) throw notFound(type, name);
    return found;
  }

  /** A page by name order; `continue` is the key after which it goes on, at whatever version holds then. */
  list(call: RestCall): ObjectPage {
    const { type, namespace } = call.path;
    const { items, resourceVersion } = this.#options.store.list(type, namespace, selectorOf(call));
    const limit = Number(call.query.get("limit") ?? 0);
    const after = decodeContinue(call.query.get("continue") ?? "");
    const rest = after === "" ? items : items.filter((item) => pageKey(item) > after);
    if (!(limit > 0) || rest.length <= limit) return { items: rest, meta: { resourceVersion } };
    const page = rest.slice(0, limit);
    const next = encodeContinue(pageKey(page.at(-1) as KubeObject));
    const remainingItemCount = rest.length - limit;
    return { items: page, meta: { resourceVersion, continue: next, remainingItemCount } };
  }

  create(call: RestCall, body: unknown): KubeObject {
    const { type, namespace } = call.path;
    const named = this.#name(type, objectOf(type, body), namespace);
    if (type.namespaced) this.#requireNamespace(namespace ?? "");
    const base = { type, user: call.user, name: named.metadata.name, isDryRun: isDryRun(call) };
    let object = prepare(type, applyDefaults(type, named));
    for (const admit of this.#options.admission) {
      object =
        admit({
          ...base,
          ...(namespace === undefined ? {} : { namespace }),
          operation: "CREATE",
          object,
        }) ?? object;
    }
    validateCreate(type, object);
    return base.isDryRun ? object : this.#options.store.create(type, object);
  }

  update(call: RestCall, body: unknown): KubeObject {
    const sent = objectOf(call.path.type, body);
    return this.#change(call, (current) => {
      const wanted = sent.metadata.resourceVersion;
      if (wanted !== undefined && wanted !== "" && wanted !== current.metadata.resourceVersion)
        throw modified(call.path.type, current.metadata.name);
      return sent;
    });
  }

  /** JSON, merge and strategic merge patches; anything else is refused with 415. */
  patch(call: RestCall, mediaType: string, body: unknown): KubeObject {
    return this.#change(call, (current) => {
      const patched = applyPatch(call.path.type, current, mediaType, body);
      if (patched.metadata.resourceVersion !== current.metadata.resourceVersion)
        throw modified(call.path.type, current.metadata.name);
      return patched;
    });
  }

  delete(call: RestCall, body: unknown): KubeObject {
    const { type, namespace, name = "" } = call.path;
    const old = this.get(call);
    const base = { type, user: call.user, name, isDryRun: isDryRun(call) };
    for (const admit of this.#options.admission)
      admit({
        ...base,
        ...(namespace === undefined ? {} : { namespace }),
        operation: "DELETE",
        old,
      });
    if (base.isDryRun) return old;
    const asked =
      at(body, "gracePeriodSeconds") ?? call.query.get("gracePeriodSeconds") ?? undefined;
    const uid = textAt(body, "preconditions", "uid");
    const resourceVersion = textAt(body, "preconditions", "resourceVersion");
    const target = { type, name, ...(namespace === undefined ? {} : { namespace }) };
    return deleteObject(this.#options, target, {
      ...(asked === undefined ? {} : { gracePeriodSeconds: Number(asked) }),
      precondition: {
        ...(uid === "" ? {} : { uid }),
        ...(resourceVersion === "" ? {} : { resourceVersion }),
      },
    }).object;
  }

  deleteCollection(call: RestCall, body: unknown): ObjectPage {
    const { query: _, ...rest } = call;
    const page = this.list({ ...rest, query: withoutPaging(call.query) });
    const items = page.items.map(({ metadata: { name, namespace } }) => {
      const path = { ...call.path, name, ...(namespace === undefined ? {} : { namespace }) };
      return this.delete({ ...rest, query: new URLSearchParams(), path }, body);
    });
    return { ...page, items };
  }

  /** pods/eviction: there are no disruption budgets here, so it is a delete. */
  evict(call: RestCall, body: unknown): object {
    const { subresource: _, ...path } = call.path;
    this.delete({ ...call, path }, at(body, "deleteOptions"));
    return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };
  }

  /** pods/binding: names the node, once. */
  bind(call: RestCall, body: unknown): object {
    const { type, namespace, name = "" } = call.path;
    this.#options.store.update(type, namespace, name, (pod) => {
      if (textAt(pod, "spec", "nodeName") !== "") throw modified(type, name);
      const spec = { ...(pod.spec as object), nodeName: textAt(body, "target", "name") };
      return { ...pod, spec };
    });
    return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };
  }

  #change(call: RestCall, change: (current: KubeObject) => KubeObject): KubeObject {
    const { type, namespace, name = "", subresource } = call.path;
    const { store, admission } = this.#options;
    const base = { type, user: call.user, name, isDryRun: isDryRun(call) };
    const compute = (old: KubeObject): KubeObject => {
      let object = merge(type, old, applyDefaults(type, change(old)), subresource);
      for (const admit of admission) {
        object =
          admit({
            ...base,
            ...(namespace === undefined ? {} : { namespace }),
            ...(subresource === undefined ? {} : { subresource }),
            operation: "UPDATE",
            object,
            old,
          }) ?? object;
      }
      validateUpdate(type, object, old, subresource);
      return object;
    };
    if (base.isDryRun) return compute(this.get(call));
    const next = store.update(type, namespace, name, compute);
    return isReleased(type, next) ? store.delete(type, namespace, name) : next;
  }

  #name(type: ResourceType, object: KubeObject, namespace: string | undefined): KubeObject {
    const {
      name = "",
      generateName = "",
      namespace: own,
    } = object.metadata as Partial<KubeObject["metadata"]>;
    if (own !== undefined && own !== "" && own !== namespace)
      throw badRequest(
        "the namespace of the provided object does not match the namespace sent on the request",
      );
    const letter = (): string =>
      NAME_LETTERS[Math.floor(this.#options.random() * NAME_LETTERS.length)] ?? "b";
    const full =
      name === "" && generateName !== ""
        ? generateName + Array.from({ length: 5 }, letter).join("")
        : name;
    if (full === "") {
      throw invalid(type, "", [
        {
          reason: "FieldValueRequired",
          message: "Required value: name or generateName is required",
          field: "metadata.name",
        },
      ]);
    }
    if (!NAME.test(full) || full.length > 253) {
      const message = `Invalid value: "${full}": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character`;
      throw invalid(type, full, [{ reason: "FieldValueInvalid", message, field: "metadata.name" }]);
    }
    return withMeta(object, { name: full, ...(namespace === undefined ? {} : { namespace }) });
  }

  #requireNamespace(name: string): void {
    if (this.#options.store.get(NAMESPACES, undefined, name) === undefined)
      throw notFound(NAMESPACES, name);
  }
}

export function selectorOf(call: RestCall): Predicate {
  const labels = parseLabelSelector(call.query.get("labelSelector") ?? "");
  const fields = parseFieldSelector(call.path.type.plural, call.query.get("fieldSelector") ?? "");
  const { name } = call.path;
  return (object) =>
    labels(object) && fields(object) && (name === undefined || object.metadata.name === name);
}

function isDryRun(call: RestCall): boolean {
  return call.query.getAll("dryRun").includes("All");
}

function objectOf(type: ResourceType, body: unknown): KubeObject {
  if (!isObject(body)) throw badRequest("the body of the request must be a JSON object");
  const { kind = type.kind, apiVersion = apiVersionOf(type) } = body;
  if (kind !== type.kind || apiVersion !== apiVersionOf(type)) {
    const why = `the API version in the data (${apiVersion}, ${kind}) does not match the expected (${apiVersionOf(type)}, ${type.kind})`;
    throw badRequest(why);
  }
  const { managedFields: _, ...metadata } = isObject(body.metadata) ? body.metadata : {};
  return { ...body, kind, apiVersion, metadata } as unknown as KubeObject;
}

/** What the server itself decides about a new object. */
function prepare(type: ResourceType, object: KubeObject): KubeObject {
  if (type === NAMESPACES) {
    const labels = {
      ...object.metadata.labels,
      "kubernetes.io/metadata.name": object.metadata.name,
    };
    return {
      ...withMeta(object, { labels }),
      spec: { finalizers: ["kubernetes"] },
      status: { phase: "Active" },
    };
  }
  if (type === PODS)
    return { ...withMeta(object, { generation: 1 }), status: { phase: "Pending" } };
  return object;
}

/** Main updates keep the status, status updates keep all but it; what only the server sets stays. */
function merge(
  type: ResourceType,
  old: KubeObject,
  sent: KubeObject,
  subresource?: string,
): KubeObject {
  if (subresource === "status") return { ...old, status: sent.status };
  const hasStatus = type.subresources.some(({ name }) => name === "status");
  const { deletionTimestamp, deletionGracePeriodSeconds, generation } = old.metadata;
  const specChanged =
    generation !== undefined && JSON.stringify(old.spec) !== JSON.stringify(sent.spec);
  const kept = withMeta(sent, {
    ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    ...(deletionGracePeriodSeconds === undefined ? {} : { deletionGracePeriodSeconds }),
    ...(generation === undefined ? {} : { generation: generation + (specChanged ? 1 : 0) }),
  });
  return hasStatus && old.status !== undefined ? { ...kept, status: old.status } : kept;
}

/** The order of the store's lists. */
function pageKey({ metadata }: KubeObject): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}

function encodeContinue(key: string): string {
  return Buffer.from(key).toString("base64url");
}

function decodeContinue(token: string): string {
  return Buffer.from(token, "base64url").toString("utf8");
}

function withoutPaging(query: URLSearchParams): URLSearchParams {
  const copy = new URLSearchParams(query);
  copy.delete("limit");
  copy.delete("continue");
  return copy;
}
