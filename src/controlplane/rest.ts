/**
 * The verbs on stored objects: create, read, list, update, patch, delete and the subresources that are writes, with
 * admission, conflict detection and the split between an object and its status. Synchronous, so that nothing comes
 * between reading and writing. Called by server.ts, which has authenticated and authorized the request.
 */

import { isDeepStrictEqual } from "node:util";
import { type Clock, formatTime } from "../core/clock.ts";
import { applyDefaults, prepareForCreate, prepareForUpdate } from "./defaults.ts";
import { type DeleteChoices, deleteObject, isReleased } from "./deletion.ts";
import type { Admission, AdmissionRequest, User } from "./extension.ts";
import { type Page, pageOf } from "./listing.ts";
import { checkIdentity, mergeSent, nameObject, readObject } from "./object-input.ts";
import { at, isObject, type KubeObject, textAt, withMeta } from "./objects.ts";
import { applyPatch } from "./patch.ts";
import { PODS, type ResourceType } from "./registry.ts";
import type { ResourcePath } from "./request-path.ts";
import { type Predicate, parseFieldSelector, parseLabelSelector } from "./selectors.ts";
import { badRequest, conflict, modified, notFound, type Status } from "./status-error.ts";
import type { Store } from "./store.ts";
import { validateCreate, validateUpdate } from "./validation.ts";

export interface RestOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly random: () => number;
  readonly randomUid: () => string;
  readonly admission: readonly Admission[];
}

export interface RestCall {
  readonly user: User;
  readonly path: ResourcePath;
  readonly query: URLSearchParams;
}

/** `Omit` that keeps a union a union. */
type PartOf<T> = T extends unknown
  ? Omit<T, "type" | "user" | "namespace" | "name" | "subresource" | "isDryRun">
  : never;

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

  list(call: RestCall): Page {
    const { type, namespace } = call.path;
    return pageOf(this.#options.store.list(type, namespace, selectorOf(call)), call.query);
  }

  create(call: RestCall, body: unknown): KubeObject {
    const { type } = call.path;
    const { store, clock, random, randomUid } = this.#options;
    const named = nameObject(call.path, readObject(type, body), random);
    const whole = applyDefaults(type, withInitialGeneration(type, named));
    const defaulted = prepareForCreate(type, whole);
    const object = this.#admit(call, defaulted.metadata.name, {
      operation: "CREATE",
      object: defaulted,
    });
    validateCreate(type, object);
    if (!isDryRun(call)) return store.create(type, object);
    return withMeta(object, { uid: randomUid(), creationTimestamp: formatTime(clock.now()) });
  }

  update(call: RestCall, body: unknown): KubeObject {
    const sent = readObject(call.path.type, body);
    return this.#change(call, () => sent);
  }

  patch(call: RestCall, contentType: string, body: unknown): KubeObject {
    const { type } = call.path;
    return this.#change(call, (current) =>
      readObject(type, applyPatch(type, current, contentType, body)),
    );
  }

  /** The object while something holds it, otherwise what upstream answers for its kind. */
  delete(call: RestCall, body: unknown): object {
    const { type, name = "" } = call.path;
    const old = this.get(call);
    this.#admit(call, name, { operation: "DELETE", old });
    if (isDryRun(call)) return old;
    const { object, isGone } = deleteObject(
      this.#options,
      targetOf(call, old),
      choicesOf(call, body),
    );
    if (!isGone || type === PODS) return object;
    const uid = old.metadata.uid ?? "";
    const group = type.group === "" ? {} : { group: type.group };
    return success(200, { name, ...group, kind: type.plural, uid });
  }

  deleteCollection(call: RestCall, body: unknown): Page {
    const page = this.list(call);
    for (const old of page.items) {
      this.#admit(call, old.metadata.name, { operation: "DELETE", old });
      if (isDryRun(call)) continue;
      deleteObject(this.#options, targetOf(call, old), choicesOf(call, body));
    }
    return page;
  }

  /** pods/binding: names the node, once. */
  bind(call: RestCall, body: unknown): Status {
    const { type, namespace, name = "" } = call.path;
    const nodeName = textAt(body, "target", "name");
    if (nodeName === "") throw badRequest("target.name: Required value");
    const old = this.get(call);
    const assigned = textAt(old, "spec", "nodeName");
    if (assigned !== "")
      throw conflict(type, name, `pod ${name} is already assigned to node "${assigned}"`);
    if (old.metadata.deletionTimestamp !== undefined)
      throw conflict(type, name, `pod ${name} is being deleted, cannot be assigned to a host`);
    this.#options.store.update(type, namespace, name, (pod) => ({
      ...pod,
      spec: { ...(isObject(pod.spec) ? pod.spec : {}), nodeName },
    }));
    return success(201);
  }

  /** pods/eviction: a delete, since there are no disruption budgets. */
  evict(call: RestCall, body: unknown): Status {
    this.delete(call, at(body, "deleteOptions"));
    return success(201);
  }

  #change(call: RestCall, change: (current: KubeObject) => KubeObject): KubeObject {
    const { type, namespace, name = "", subresource } = call.path;
    const { store } = this.#options;
    const compute = (old: KubeObject): KubeObject => {
      const sent = change(old);
      checkIdentity(call.path, sent, old);
      const wanted = sent.metadata.resourceVersion ?? "";
      if (wanted !== "" && wanted !== old.metadata.resourceVersion) throw modified(type, name);
      const merged = applyDefaults(type, mergeSent(call.path, old, sent));
      const defaulted = subresource === undefined ? prepareForUpdate(type, merged, old) : merged;
      const object = withGeneration(
        old,
        this.#admit(call, name, { operation: "UPDATE", object: defaulted, old }),
      );
      validateUpdate(type, object, old, subresource);
      return object;
    };
    if (isDryRun(call)) return compute(this.get(call));
    const next = store.update(type, namespace, name, compute);
    return isReleased(type, next) ? store.delete(type, namespace, name) : next;
  }

  #admit(call: RestCall, name: string, part: PartOf<AdmissionRequest>): KubeObject {
    const { type, namespace, subresource } = call.path;
    let request: AdmissionRequest = {
      ...part,
      type,
      user: call.user,
      name,
      isDryRun: isDryRun(call),
      ...(namespace === undefined ? {} : { namespace }),
      ...(subresource === undefined ? {} : { subresource }),
    };
    for (const admit of this.#options.admission) {
      const admitted = admit(request);
      if (request.operation !== "DELETE" && admitted !== undefined)
        request = { ...request, object: admitted };
    }
    return request.operation === "DELETE" ? request.old : request.object;
  }
}

/** What of a collection a list, a watch or a collection's delete is about. Throws 400. */
export function selectorOf(call: RestCall): Predicate {
  const labels = parseLabelSelector(call.query.get("labelSelector") ?? "");
  const fields = parseFieldSelector(call.path.type.plural, call.query.get("fieldSelector") ?? "");
  const { name } = call.path;
  return (object) =>
    (name === undefined || object.metadata.name === name) && labels(object) && fields(object);
}

function isDryRun(call: RestCall): boolean {
  const asked = call.query.getAll("dryRun");
  if (asked.some((value) => value !== "All"))
    throw badRequest(`invalid dryRun: ${asked.join(",")}`);
  return asked.length > 0;
}

function targetOf(call: RestCall, { metadata }: KubeObject): Parameters<typeof deleteObject>[1] {
  const { name, namespace } = metadata;
  return { type: call.path.type, name, ...(namespace === undefined ? {} : { namespace }) };
}

/** DeleteOptions from the body, or from the query where the body has none. Throws 400. */
function choicesOf({ query }: RestCall, body: unknown): DeleteChoices {
  const asked = at(body, "gracePeriodSeconds") ?? query.get("gracePeriodSeconds") ?? undefined;
  const grace = asked === undefined ? undefined : Number(asked);
  if (grace !== undefined && !Number.isInteger(grace))
    throw badRequest(`invalid gracePeriodSeconds: ${String(asked)}`);
  const uid = textAt(body, "preconditions", "uid");
  const resourceVersion = textAt(body, "preconditions", "resourceVersion");
  return {
    ...(grace === undefined ? {} : { gracePeriodSeconds: grace }),
    precondition: {
      ...(uid === "" ? {} : { uid }),
      ...(resourceVersion === "" ? {} : { resourceVersion }),
    },
  };
}

function withInitialGeneration(type: ResourceType, object: KubeObject): KubeObject {
  return type === PODS ? withMeta(object, { generation: 1 }) : object;
}

function withGeneration(old: KubeObject, object: KubeObject): KubeObject {
  const { generation } = old.metadata;
  if (generation === undefined || isDeepStrictEqual(old.spec, object.spec)) return object;
  return withMeta(object, { generation: generation + 1 });
}

function success(code: number, details?: NonNullable<Status["details"]>): Status {
  return {
    kind: "Status",
    apiVersion: "v1",
    metadata: {},
    status: "Success",
    ...(details === undefined ? {} : { details }),
    code,
  };
}
