/**
 * Services on create and update, in upstream's words. Pure; problems are collected. Whether an address or a node port
 * is free is not known here. Called by validation.ts.
 */

import { isIP } from "node:net";
import { checkPort, checkPortOrName, checkTexts, PROTOCOLS } from "./container-validation.ts";
import {
  checkBoolean,
  checkEnum,
  checkObject,
  checkUnique,
  child,
  duplicate,
  type Field,
  invalidValue,
  itemsOf,
  objectsOf,
  type Problems,
  required,
  textOf,
} from "./field-errors.ts";
import { checkFormat, DNS_LABEL, DNS_SUBDOMAIN, validateLabels } from "./metadata-validation.ts";
import { at, type KubeObject } from "./objects.ts";

const TYPES = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];

export function validateService(spec: Field, problems: Problems): void {
  if (!checkObject(spec, problems)) return;
  checkEnum(child(spec, "type"), TYPES, problems);
  checkEnum(child(spec, "sessionAffinity"), ["ClientIP", "None"], problems);
  checkEnum(child(spec, "externalTrafficPolicy"), ["Cluster", "Local"], problems);
  checkEnum(child(spec, "internalTrafficPolicy"), ["Cluster", "Local"], problems);
  checkEnum(
    child(spec, "ipFamilyPolicy"),
    ["SingleStack", "PreferDualStack", "RequireDualStack"],
    problems,
  );
  for (const family of itemsOf(child(spec, "ipFamilies"), problems))
    checkEnum(family, ["IPv4", "IPv6"], problems);
  checkBoolean(child(spec, "publishNotReadyAddresses"), problems);
  checkTexts(child(spec, "externalIPs"), problems);
  checkObject(child(spec, "sessionAffinityConfig"), problems);
  validateLabels(child(spec, "selector"), problems);
  validateAddresses(spec, problems);
  validatePorts(spec, problems);
  if (child(spec, "type").value !== "ExternalName") return;
  const external = child(spec, "externalName");
  if (!textOf(external, problems)) problems.push(required(external));
  else checkFormat(external, DNS_SUBDOMAIN, problems);
}

function validateAddresses(spec: Field, problems: Problems): void {
  const list = itemsOf(child(spec, "clusterIPs"), problems);
  for (const field of [child(spec, "clusterIP"), ...list]) {
    const address = textOf(field, problems) ?? "";
    if (address === "" || address === "None" || isIP(address) !== 0) continue;
    const rule = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    problems.push(invalidValue(field, rule));
  }
}

function validatePorts(spec: Field, problems: Problems): void {
  const ports = child(spec, "ports");
  const list = objectsOf(ports, problems);
  const isHeadless = child(spec, "clusterIP").value === "None";
  const isExternalName = child(spec, "type").value === "ExternalName";
  if (!isHeadless && !isExternalName && (ports.value === undefined || list.length === 0))
    problems.push(required(ports));
  for (const port of list) {
    const name = child(port, "name");
    if (name.value !== undefined && name.value !== "") checkFormat(name, DNS_LABEL, problems);
    else if (list.length > 1) problems.push(required(name));
    checkPort(child(port, "port"), true, problems);
    checkPortOrName(child(port, "targetPort"), problems);
    checkPort(child(port, "nodePort"), false, problems);
    checkEnum(child(port, "protocol"), PROTOCOLS, problems);
  }
  checkUnique(
    list.map((port) => child(port, "name")).filter(({ value }) => value !== ""),
    problems,
  );
  const seen = new Set<string>();
  for (const port of list) {
    const { path } = port;
    const [number, protocol] = [at(port.value, "port"), at(port.value, "protocol")];
    const key = `${String(protocol)}/${String(number)}`;
    if (seen.has(key)) problems.push(duplicate({ path, value: key }));
    seen.add(key);
  }
}

/** The cluster address of a service is for its life, unless it had none or becomes an ExternalName. */
export function validateServiceUpdate(
  service: KubeObject,
  old: KubeObject,
  problems: Problems,
): void {
  const before = at(old, "spec", "clusterIP") ?? "";
  const field = { path: "spec.clusterIPs[0]", value: at(service, "spec", "clusterIP") };
  const isExternalName = [old, service].some((one) => at(one, "spec", "type") === "ExternalName");
  if (before === "" || isExternalName || field.value === before) return;
  if (field.value === undefined || field.value === "")
    problems.push(invalidValue(field, "primary clusterIP can not be unset"));
  else problems.push(invalidValue(field, "may not change once set"));
}
