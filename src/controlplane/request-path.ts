/** Reads what a URL asks for: the resource, its namespace, name and subresource. Pure; called by server.ts. */

import { findType, NAMESPACES, type ResourceType } from "./registry.ts";
import { badRequest } from "./status-error.ts";

export interface ResourcePath {
  readonly type: ResourceType;
  readonly namespace?: string;
  readonly name?: string;
  readonly subresource?: string;
  /** What follows the subresource, with its leading slash; "" if nothing does. */
  readonly rest: string;
}

/** Undefined where the path names no resource that is served. Throws 400 for broken percent-encoding. */
export function parseResourcePath(pathname: string): ResourcePath | undefined {
  const parts = decodedParts(pathname);
  const isCore = parts[0] === "api";
  if (!isCore && parts[0] !== "apis") return undefined;
  const [group = "", version = "", ...tail] = isCore ? ["", ...parts.slice(1)] : parts.slice(1);
  const isInside =
    tail[0] === "namespaces" &&
    tail.length >= 3 &&
    findType(group, version, tail[2] ?? "") !== undefined;
  const namespace = isInside ? tail[1] : undefined;
  const [plural = "", name, subresource, ...rest] = isInside ? tail.slice(2) : tail;
  const type = findType(group, version, plural);
  if (type === undefined || (isInside && !type.namespaced)) return undefined;
  if (type.namespaced && namespace === undefined && name !== undefined) return undefined;
  if (type === NAMESPACES && isInside) return undefined;
  return {
    type,
    ...(namespace === undefined ? {} : { namespace }),
    ...(name === undefined ? {} : { name }),
    ...(subresource === undefined ? {} : { subresource }),
    rest: rest.length === 0 ? "" : `/${rest.join("/")}`,
  };
}

function decodedParts(pathname: string): readonly string[] {
  const parts = pathname.split("/").filter((part) => part !== "");
  try {
    return parts.map(decodeURIComponent);
  } catch (error) {
    if (!(error instanceof URIError)) throw error;
    throw badRequest(`the path ${pathname} has a broken percent-encoding`);
  }
}
