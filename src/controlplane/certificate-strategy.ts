/**
 * What kube-apiserver makes of a CertificateSigningRequest that is written: who asks is put into the spec, which never
 * changes after that; approvals and the status of the signer each change only their part (its strategies'
 * PrepareForCreate and PrepareForUpdate, and the plugin CertificateSubjectRestriction). One of the admission hooks.
 */

import { type Clock, formatTime } from "../core/clock.ts";
import { API_CLIENT, parseCertificateRequest } from "./certificate-request.ts";
import type { AdmissionRequest, User } from "./extension.ts";
import { isObject, type KubeObject, listAt, textAt, without } from "./objects.ts";
import { CERTIFICATE_SIGNING_REQUESTS } from "./registry.ts";
import { forbidden } from "./status-error.ts";

const DECISIONS = ["Approved", "Denied"];

export function prepareSigningRequest(
  request: AdmissionRequest,
  clock: Clock,
): KubeObject | undefined {
  if (request.operation === "DELETE") return undefined;
  const { object } = request;
  if (request.type !== CERTIFICATE_SIGNING_REQUESTS) return object;
  if (request.operation === "CREATE") return created(request.name, object, request.user);
  const { old, subresource } = request;
  if (subresource === undefined) return { ...object, spec: old.spec, status: old.status ?? {} };
  const now = formatTime(clock.now());
  const conditions = conditionsOf(object).map((it) => timed(it, conditionsOf(old), now));
  const status = isObject(object.status) ? object.status : {};
  if (subresource === "approval") {
    const certificate = textAt(old, "status", "certificate");
    const rest = without(status as { certificate?: unknown }, "certificate");
    return {
      ...object,
      status: { ...rest, ...(certificate === "" ? {} : { certificate }), conditions },
    };
  }
  const isDecision = (it: unknown): boolean => DECISIONS.includes(textAt(it, "type"));
  const kept = conditionsOf(old).filter(isDecision);
  const others = conditions.filter((it) => !isDecision(it));
  return { ...object, status: { ...status, conditions: [...kept, ...others] } };
}

function created(name: string, object: KubeObject, user: User): KubeObject {
  const { spec } = object;
  if (!isObject(spec)) return object;
  const signer = textAt(spec, "signerName");
  if (signer === API_CLIENT && isForMasters(textAt(spec, "request")))
    throw forbidden(
      CERTIFICATE_SIGNING_REQUESTS,
      name,
      `use of ${API_CLIENT} signer with system:masters group is not allowed`,
    );
  const theirs = without(spec as Record<string, unknown>, "username", "groups", "uid", "extra");
  return {
    ...object,
    spec: {
      ...{ ...theirs, username: user.name, groups: user.groups },
      ...(user.uid === undefined ? {} : { uid: user.uid }),
      ...(user.extra === undefined ? {} : { extra: user.extra }),
    },
    status: {},
  };
}

function isForMasters(request: string): boolean {
  try {
    return parseCertificateRequest(request).organizations.includes("system:masters");
  } catch {
    // Validation says what is wrong with it.
    return false;
  }
}

type Condition = Readonly<Record<string, unknown>>;

function conditionsOf(object: KubeObject): readonly Condition[] {
  return listAt(object, "status", "conditions").filter(isObject);
}

/** With the times that the client left out: of the same condition before, else now. */
function timed(condition: Condition, before: readonly Condition[], now: string): Condition {
  const same = before.find(
    ({ type, status }) => type === condition.type && status === condition.status,
  );
  return {
    ...condition,
    lastUpdateTime: condition.lastUpdateTime ?? now,
    lastTransitionTime: condition.lastTransitionTime ?? same?.lastTransitionTime ?? now,
  };
}
