/**
 * The OpenAPI documents, as little as kubectl needs: for every kind, that POST, PUT and PATCH take fieldValidation,
 * dryRun and fieldManager, so that kubectl leaves validation to the server. They say nothing of the fields of a kind,
 * and PATCH names no media type: told more, kubectl would merge lists by what is written here instead of by the Go
 * types it was built with. Pure; called by server.ts.
 */

import { hashValue } from "../core/hash.ts";
import { encodeDocument } from "./openapi-pb.ts";
import { apiVersionOf, RESOURCE_TYPES, type ResourceType } from "./registry.ts";

export interface OpenapiReply {
  readonly contentType: string;
  readonly body: string | Uint8Array;
}

const JSON_TYPE = "application/json";
/** Clients ask with an "@", which is no valid media type to answer with. */
const PROTOBUF_ACCEPT = /application\/com\.github\.proto-openapi\.spec\.v2[.@]v1\.0\+protobuf/;
const PROTOBUF_TYPE = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const V2 = "/openapi/v2";
const V3 = "/openapi/v3";
const INFO = { title: "Kubernetes", version: "v1.36.0+longshore" };
const WRITE_PARAMETERS = ["dryRun", "fieldManager", "fieldValidation"];
const GVK = "x-kubernetes-group-version-kind";

/** The reply to a GET of this path (without query), or undefined where there is no such document. */
export function openapiReply(path: string, accept: string): OpenapiReply | undefined {
  if (path === V2) return PROTOBUF_ACCEPT.test(accept) ? protobufV2() : json(documentV2());
  if (path === V3) return json(index());
  if (!path.startsWith(`${V3}/`)) return undefined;
  const types = typesUnder(path.slice(V3.length + 1));
  return types.length > 0 ? json(documentV3(types)) : undefined;
}

function json(body: object): OpenapiReply {
  return { contentType: JSON_TYPE, body: JSON.stringify(body) };
}

function protobufV2(): OpenapiReply {
  const operations = RESOURCE_TYPES.map((type) => ({
    path: `${collectionOf(type)}/{name}`,
    queryParameters: WRITE_PARAMETERS,
    extensions: { [GVK]: gvkOf(type) },
  }));
  return { contentType: PROTOBUF_TYPE, body: encodeDocument(INFO, operations) };
}

function index(): object {
  const roots = [...new Set(RESOURCE_TYPES.map(rootOf))];
  const entries = roots.map((root) => {
    const hash = hashValue(documentV3(typesUnder(root)));
    return [root, { serverRelativeURL: `${V3}/${root}?hash=${hash}` }] as const;
  });
  return { paths: Object.fromEntries(entries) };
}

/** "api/v1" or "apis/discovery.k8s.io/v1": where a type is found, and the name of its document. */
function rootOf(type: ResourceType): string {
  return `${type.group === "" ? "api" : "apis"}/${apiVersionOf(type)}`;
}

function typesUnder(root: string): readonly ResourceType[] {
  return RESOURCE_TYPES.filter((type) => rootOf(type) === root);
}

function documentV3(types: readonly ResourceType[]): object {
  const parameter = (name: string, place: string) => ({
    name,
    in: place,
    ...(place === "path" && { required: true }),
    schema: { type: "string", uniqueItems: true },
  });
  return {
    openapi: "3.0.0",
    info: INFO,
    paths: Object.fromEntries(types.flatMap((type) => pathsOf(type, parameter))),
    components: { schemas: Object.fromEntries(types.map(schemaOf)) },
  };
}

function documentV2(): object {
  const parameter = (name: string, place: string) => ({
    name,
    in: place,
    ...(place === "path" && { required: true }),
    type: "string",
    uniqueItems: true,
  });
  return {
    swagger: "2.0",
    info: INFO,
    paths: Object.fromEntries(RESOURCE_TYPES.flatMap((type) => pathsOf(type, parameter))),
    definitions: Object.fromEntries(RESOURCE_TYPES.map(schemaOf)),
  };
}

function collectionOf(type: ResourceType): string {
  const inNamespace = type.namespaced ? "namespaces/{namespace}/" : "";
  return `/${rootOf(type)}/${inNamespace}${type.plural}`;
}

type ParameterWriter = (name: string, place: "path" | "query") => object;

/** The collection, the item and its subresources; only what writes is described. */
function pathsOf(type: ResourceType, parameter: ParameterWriter): readonly [string, object][] {
  const collection = collectionOf(type);
  const scope = type.namespaced ? [parameter("namespace", "path")] : [];
  const write = (verb: string, action: string) => ({
    operationId: `${verb}${type.group}${type.version}${type.kind}`,
    parameters: WRITE_PARAMETERS.map((name) => parameter(name, "query")),
    responses: { 200: { description: "OK" } },
    "x-kubernetes-action": action,
    [GVK]: gvkOf(type),
  });
  const item = (name: string) => ({
    parameters: [parameter("name", "path"), ...scope],
    put: write(`replace${name}`, "put"),
    patch: write(`patch${name}`, "patch"),
  });
  const parts = type.subresources.filter(
    ({ verbs, isConnect }) => verbs.includes("patch") && !isConnect,
  );
  return [
    [collection, { parameters: scope, post: write("create", "post") }],
    [`${collection}/{name}`, item("")],
    ...parts.map(({ name }) => [`${collection}/{name}/${name}`, item(name)] as [string, object]),
  ];
}

function schemaOf(type: ResourceType): readonly [string, object] {
  const group = type.group === "" ? "core" : (type.group.split(".")[0] ?? "");
  const name = `io.k8s.api.${group}.${type.version}.${type.kind}`;
  return [name, { type: "object", [GVK]: [gvkOf(type)] }];
}

function gvkOf(type: ResourceType): object {
  return { group: type.group, version: type.version, kind: type.kind };
}
