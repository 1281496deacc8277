/**
 * What this API server says of itself: /version, and /api and /apis in both forms, one document for each group and
 * version, or all of them aggregated when the client asks for that. Everything is computed from the registry; pure,
 * no state. Called by server.ts for every GET before a path is looked up as a resource.
 */

import { apiVersionOf, RESOURCE_TYPES, type ResourceType, type Subresource } from "./registry.ts";

export interface DiscoveryReply {
  readonly contentType: string;
  readonly body: object;
}

type GroupVersion = Pick<ResourceType, "group" | "version">;

const JSON_TYPE = "application/json";
const AGGREGATED_VERSIONS: ReadonlySet<string> = new Set(["v2", "v2beta1"]);
const VERSION = { major: "1", minor: "36", gitVersion: "v1.36.0+longshore" };

/**
 * The reply to a GET of this path (without query), or undefined where the path is not one of discovery.
 * `platform` is the one of /version, as Go writes it.
 */
export function discoveryReply(
  path: string,
  accept: string,
  platform = "linux/amd64",
): DiscoveryReply | undefined {
  const [root, ...rest] = path.replace(/\/$/, "").slice(1).split("/");
  if (root === "version" && rest.length === 0) return plain(versionInfo(platform));
  if (root === "api") return coreReply(rest, accept);
  if (root === "apis") return groupsReply(rest, accept);
  return undefined;
}

function plain(body: object): DiscoveryReply {
  return { contentType: JSON_TYPE, body };
}

function versionInfo(platform: string): object {
  return {
    ...VERSION,
    emulationMajor: VERSION.major,
    emulationMinor: VERSION.minor,
    minCompatibilityMajor: VERSION.major,
    minCompatibilityMinor: "35",
    gitCommit: "",
    gitTreeState: "clean",
    buildDate: "1970-01-01T00:00:00Z",
    goVersion: "",
    compiler: "",
    platform,
  };
}

function coreReply(rest: readonly string[], accept: string): DiscoveryReply | undefined {
  if (rest.length === 0) return aggregated([""], accept) ?? plain(apiVersions());
  if (rest.length === 1) return resourcesReply("", rest[0]);
  return undefined;
}

function groupsReply(rest: readonly string[], accept: string): DiscoveryReply | undefined {
  const [group, version] = rest;
  if (group === undefined) return aggregated(namedGroups(), accept) ?? plain(apiGroupList());
  if (rest.length > 2 || !namedGroups().includes(group)) return undefined;
  if (version !== undefined) return resourcesReply(group, version);
  return plain({ kind: "APIGroup", apiVersion: "v1", ...apiGroup(group) });
}

function resourcesReply(group: string, version: string | undefined): DiscoveryReply | undefined {
  const types = RESOURCE_TYPES.filter((type) => type.group === group && type.version === version);
  const [first] = types;
  if (first === undefined) return undefined;
  return plain({
    kind: "APIResourceList",
    apiVersion: "v1",
    groupVersion: apiVersionOf(first),
    resources: types.flatMap(apiResources),
  });
}

function apiVersions(): object {
  return { kind: "APIVersions", versions: versionsOf(""), serverAddressByClientCIDRs: [] };
}

function apiGroupList(): object {
  return { kind: "APIGroupList", apiVersion: "v1", groups: namedGroups().map(apiGroup) };
}

function apiGroup(name: string): object {
  const versions = versionsOf(name).map((version) => ({
    groupVersion: apiVersionOf({ group: name, version }),
    version,
  }));
  return { name, versions, preferredVersion: versions[0] };
}

function namedGroups(): readonly string[] {
  return [...new Set(RESOURCE_TYPES.map((type) => type.group))].filter((group) => group !== "");
}

function versionsOf(group: string): readonly string[] {
  const served = RESOURCE_TYPES.filter((type) => type.group === group);
  return [...new Set(served.map((type) => type.version))];
}

function apiResources(type: ResourceType): readonly object[] {
  const main = {
    name: type.plural,
    singularName: type.singular,
    namespaced: type.namespaced,
    kind: type.kind,
    verbs: type.verbs,
    ...namesForKubectl(type),
  };
  const parts = type.subresources.map((part) => ({
    name: `${type.plural}/${part.name}`,
    singularName: "",
    namespaced: type.namespaced,
    ...foreignGroupVersion(type, part),
    kind: part.kind,
    verbs: part.verbs,
  }));
  return [main, ...parts];
}

function namesForKubectl(type: ResourceType): object {
  return {
    ...(type.shortNames.length > 0 && { shortNames: type.shortNames }),
    ...(type.categories.length > 0 && { categories: type.categories }),
  };
}

function foreignGroupVersion(type: ResourceType, part: Subresource): object {
  const { group, version } = groupVersionOf(type, part);
  return group === type.group && version === type.version ? {} : { group, version };
}

function groupVersionOf(type: ResourceType, part: Subresource): GroupVersion {
  return { group: part.group ?? type.group, version: part.version ?? type.version };
}

/** The first clause of the Accept header that decides: an aggregated form, or plain JSON (undefined). */
function aggregated(groups: readonly string[], accept: string): DiscoveryReply | undefined {
  for (const clause of accept.split(",")) {
    const [media, ...parameters] = clause.split(";").map((part) => part.trim());
    if (media !== JSON_TYPE) continue;
    const given = new Map(parameters.map(splitParameter));
    if (!given.has("as")) return undefined;
    const version = given.get("v") ?? "";
    if (given.get("g") !== "apidiscovery.k8s.io" || !AGGREGATED_VERSIONS.has(version)) continue;
    if (given.get("as") !== "APIGroupDiscoveryList") continue;
    return {
      contentType: `${JSON_TYPE};g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`,
      body: {
        kind: "APIGroupDiscoveryList",
        apiVersion: `apidiscovery.k8s.io/${version}`,
        metadata: {},
        items: groups.map(groupDiscovery),
      },
    };
  }
  return undefined;
}

function splitParameter(text: string): readonly [string, string] {
  const [name = "", value = ""] = text.split("=");
  return [name, value];
}

function groupDiscovery(group: string): object {
  const versions = versionsOf(group).map((version) => ({
    version,
    resources: RESOURCE_TYPES.filter(
      (type) => type.group === group && type.version === version,
    ).map(resourceDiscovery),
    freshness: "Current",
  }));
  return { metadata: { ...(group !== "" && { name: group }), creationTimestamp: null }, versions };
}

function resourceDiscovery(type: ResourceType): object {
  const subresources = type.subresources.map((part) => ({
    subresource: part.name,
    responseKind: { ...groupVersionOf(type, part), kind: part.kind },
    verbs: part.verbs,
  }));
  return {
    resource: type.plural,
    responseKind: { group: type.group, version: type.version, kind: type.kind },
    scope: type.namespaced ? "Namespaced" : "Cluster",
    singularResource: type.singular,
    verbs: type.verbs,
    ...namesForKubectl(type),
    ...(subresources.length > 0 && { subresources }),
  };
}
