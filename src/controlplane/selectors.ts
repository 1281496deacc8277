/**
 * Label and field selectors as kubectl and client libraries write them, parsed once into a predicate. Pure; a
 * selector that cannot be understood is a 400. Called by REST for lists, watches and collection deletes.
 */

import { at, type KubeObject } from "./objects.ts";
import { badRequest } from "./status-error.ts";

export type Predicate = (object: KubeObject) => boolean;

const SET = /^([^\s!=,()]+)\s+(in|notin)\s*\(([^)]*)\)$/;
const EQUALITY = /^([^\s!=,()]+)\s*(==|=|!=)\s*([^\s!=,()]*)$/;
const EXISTS = /^(!?)\s*([^\s!=,()]+)$/;

/** Field paths that may be selected on beside metadata.name and metadata.namespace, by plural. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  certificatesigningrequests: ["spec.signerName"],
  pods: [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
  ],
  events: [
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
  ],
  clustertrustbundles: ["spec.signerName"],
  namespaces: ["status.phase"],
  nodes: ["spec.unschedulable"],
  podcertificaterequests: ["spec.signerName", "spec.nodeName"],
  secrets: ["type"],
  services: ["spec.clusterIP", "spec.type"],
};

export function parseLabelSelector(text: string): Predicate {
  const tests = splitOutsideParentheses(text).map(parseRequirement);
  return (object) => tests.every((test) => test(object.metadata.labels ?? {}));
}

export function parseFieldSelector(plural: string, text: string): Predicate {
  const known = ["metadata.name", "metadata.namespace", ...(FIELDS[plural] ?? [])];
  const tests = text
    .split(",")
    .filter((part) => part.trim() !== "")
    .map((part) => parseField(part.trim(), known));
  return (object) => tests.every((test) => test(object));
}

function parseField(part: string, known: readonly string[]): Predicate {
  const match = /^([^=!]+)(==|=|!=)(.*)$/.exec(part);
  if (match === null) throw badRequest(`invalid selector: '${part}'; can't understand '${part}'`);
  const [, field = "", operator, value = ""] = match;
  if (!known.includes(field)) throw badRequest(`field label not supported: ${field}`);
  return (object) => (fieldValue(object, field) === value) === (operator !== "!=");
}

function fieldValue(object: KubeObject, field: string): string {
  if (field === "source") return String(at(object, "source", "component") ?? "");
  const value = at(object, ...field.split("."));
  const isFlag = field === "spec.unschedulable" || field === "spec.hostNetwork";
  return String(value ?? (isFlag ? false : ""));
}

function splitOutsideParentheses(text: string): readonly string[] {
  return text
    .split(/,(?![^(]*\))/)
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function parseRequirement(part: string): (labels: Readonly<Record<string, string>>) => boolean {
  const set = SET.exec(part);
  if (set !== null) {
    const [, key = "", operator, list = ""] = set;
    const values = list.split(",").map((value) => value.trim());
    return (labels) => values.includes(labels[key] ?? "\0") === (operator === "in");
  }
  const equality = EQUALITY.exec(part);
  if (equality !== null) {
    const [, key = "", operator, value] = equality;
    return (labels) => (labels[key] === value) === (operator !== "!=");
  }
  const exists = EXISTS.exec(part);
  if (exists === null) throw badRequest(`unable to parse requirement: found '${part}'`);
  const [, negation, key = ""] = exists;
  return (labels) => Object.hasOwn(labels, key) === (negation === "");
}
