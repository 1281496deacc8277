/** What clients ask before they talk about objects: version, groups and resources. Pure; called by server.ts. */

import { apiVersionOf, RESOURCE_TYPES } from "./registry.ts";

/** The document at a path, or undefined where there is none. */
export function discoveryDocument(path: string): object | string | undefined {
  if (["/healthz", "/livez", "/readyz"].includes(path)) return "ok";
  if (path === "/version")
    return { major: "1", minor: "36", gitVersion: "v1.36.0", platform: "linux/amd64" };
  if (path === "/api") return { kind: "APIVersions", versions: ["v1"] };
  if (path === "/apis") return { kind: "APIGroupList", apiVersion: "v1", groups: groups() };
  const match = /^\/(?:api|apis\/([^/]+))\/([^/]+)\/?$/.exec(path);
  return match === null ? undefined : resourceList(match[1] ?? "", match[2] ?? "");
}

function groups(): readonly object[] {
  const named = RESOURCE_TYPES.filter((type) => type.group !== "");
  return named.map((type) => {
    const version = { groupVersion: apiVersionOf(type), version: type.version };
    return { name: type.group, versions: [version], preferredVersion: version };
  });
}

function resourceList(group: string, version: string): object | undefined {
  const types = RESOURCE_TYPES.filter((type) => type.group === group && type.version === version);
  if (types.length === 0) return undefined;
  const resources = types.flatMap((type) => [
    {
      name: type.plural,
      singularName: type.singular,
      namespaced: type.namespaced,
      kind: type.kind,
      verbs: type.verbs,
      shortNames: type.shortNames,
      categories: type.categories,
    },
    ...type.subresources.map((sub) => ({
      name: `${type.plural}/${sub.name}`,
      singularName: "",
      namespaced: type.namespaced,
      kind: sub.kind,
      ...(sub.group === undefined ? {} : { group: sub.group, version: sub.version }),
      verbs: sub.verbs,
    })),
  ]);
  const groupVersion = apiVersionOf({ group, version });
  return { kind: "APIResourceList", apiVersion: "v1", groupVersion, resources };
}
