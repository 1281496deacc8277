/** Discovery and OpenAPI: what kubectl learns before its first request. */

import { describe, expect, it } from "vitest";
import { discoveryReply } from "../../../src/controlplane/discovery.ts";
import { openapiReply } from "../../../src/controlplane/openapi.ts";

const aggregate = (version: string) =>
  `application/json;g=apidiscovery.k8s.io;v=${version};as=APIGroupDiscoveryList`;

describe("discovery", () => {
  const cases: readonly [string, object][] = [
    ["/version", { major: "1", minor: "36", gitVersion: "v1.36.0+longshore" }],
    ["/api", { kind: "APIVersions", versions: ["v1"] }],
    ["/api/v1", { kind: "APIResourceList", groupVersion: "v1" }],
    ["/apis/discovery.k8s.io/v1", { groupVersion: "discovery.k8s.io/v1" }],
    [
      "/apis/coordination.k8s.io",
      {
        kind: "APIGroup",
        name: "coordination.k8s.io",
        preferredVersion: { groupVersion: "coordination.k8s.io/v1", version: "v1" },
      },
    ],
    [
      "/apis",
      {
        kind: "APIGroupList",
        groups: [
          { name: "coordination.k8s.io" },
          { name: "discovery.k8s.io" },
          { name: "node.k8s.io" },
          { name: "certificates.k8s.io" },
          { name: "authentication.k8s.io" },
          { name: "authorization.k8s.io" },
        ],
      },
    ],
  ];
  it.each(cases)("answers %s", (path, body) => {
    const reply = discoveryReply(path, "application/json, */*");
    expect(reply).toMatchObject({ contentType: "application/json", body });
  });

  it.each([
    "/",
    "/api/v2",
    "/api/v1/pods",
    "/apis/none.k8s.io",
    "/apis/discovery.k8s.io/v2",
    "/apis/discovery.k8s.io/v1/endpointslices",
    "/versions",
  ])("has nothing to say of %s", (path) => {
    expect(discoveryReply(path, "application/json")).toBeUndefined();
  });

  it("lists resources with their names, verbs and subresources", () => {
    const body = discoveryReply("/api/v1", "")?.body as { resources: { name: string }[] };
    const named = (name: string) => body.resources.find((one) => one.name === name);
    expect(named("pods")).toMatchObject({
      singularName: "pod",
      shortNames: ["po"],
      categories: ["all"],
      namespaced: true,
    });
    expect(named("nodes")).not.toHaveProperty("categories");
    expect(named("pods/eviction")).toMatchObject({
      group: "policy",
      version: "v1",
      kind: "Eviction",
      verbs: ["create"],
    });
    expect(named("pods/status")).not.toHaveProperty("group");
    expect(named("pods/ephemeralcontainers")).toMatchObject({
      kind: "Pod",
      verbs: ["get", "patch", "update"],
    });
    expect(named("pods/resize")).toMatchObject({ kind: "Pod", verbs: ["get", "patch", "update"] });
    expect(named("pods/scale")).toBeUndefined();
  });

  const aggregated: readonly [string, string, string][] = [
    ["version 2", `${aggregate("v2")},${aggregate("v2beta1")},application/json`, "v2"],
    ["version 2beta1", `${aggregate("v2beta1")}, application/json`, "v2beta1"],
    ["the first version it knows", `${aggregate("v3")},${aggregate("v2")}`, "v2"],
  ];
  it.each(aggregated)("is aggregated in %s", (_name, accept, version) => {
    const reply = discoveryReply("/apis", accept);
    expect(reply).toMatchObject({
      contentType: aggregate(version),
      body: {
        kind: "APIGroupDiscoveryList",
        apiVersion: `apidiscovery.k8s.io/${version}`,
        items: [{ metadata: { name: "coordination.k8s.io" } }, {}, {}, {}, {}, {}],
      },
    });
  });

  it("is plain for a client that puts plain JSON first", () => {
    const reply = discoveryReply("/api", `application/json,${aggregate("v2")}`);
    expect(reply?.contentType).toBe("application/json");
  });

  it("aggregates the core group under no name, with response kinds", () => {
    const body = discoveryReply("/api", aggregate("v2"))?.body as {
      items: { metadata: object; versions: { resources: object[] }[] }[];
    };
    expect(body.items[0]?.metadata).not.toHaveProperty("name");
    expect(body.items[0]?.versions[0]?.resources).toContainEqual({
      resource: "configmaps",
      responseKind: { group: "", version: "v1", kind: "ConfigMap" },
      scope: "Namespaced",
      singularResource: "configmap",
      verbs: expect.arrayContaining(["get", "watch"]),
      shortNames: ["cm"],
    });
  });
});

interface Document {
  readonly paths: Readonly<Record<string, { readonly patch?: Readonly<Record<string, unknown>> }>>;
}

function documentAt(path: string): Document {
  return JSON.parse(String(openapiReply(path, "application/json")?.body)) as Document;
}

describe("OpenAPI", () => {
  it("version 3 has one document for each group and version", () => {
    const index = documentAt("/openapi/v3");
    expect(Object.keys(index.paths)).toEqual([
      "api/v1",
      "apis/coordination.k8s.io/v1",
      "apis/discovery.k8s.io/v1",
      "apis/node.k8s.io/v1",
      "apis/certificates.k8s.io/v1",
      "apis/certificates.k8s.io/v1beta1",
      "apis/authentication.k8s.io/v1",
      "apis/authorization.k8s.io/v1",
    ]);
    expect(index.paths["api/v1"]).toEqual({
      serverRelativeURL: expect.stringMatching(/^\/openapi\/v3\/api\/v1\?hash=[0-9a-f]+$/),
    });
  });

  it.each([
    ["/openapi/v3/api/v1", "/api/v1/namespaces/{namespace}/pods/{name}", "", "Pod"],
    [
      "/openapi/v3/api/v1",
      "/api/v1/namespaces/{namespace}/pods/{name}/ephemeralcontainers",
      "",
      "Pod",
    ],
    ["/openapi/v3/api/v1", "/api/v1/nodes/{name}", "", "Node"],
    [
      "/openapi/v3/apis/discovery.k8s.io/v1",
      "/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices/{name}",
      "discovery.k8s.io",
      "EndpointSlice",
    ],
    ["/openapi/v2", "/api/v1/namespaces/{namespace}/pods/{name}", "", "Pod"],
  ])("%s says that PATCH of %s validates fields", (document, path, group, kind) => {
    expect(documentAt(document).paths[path]?.patch).toMatchObject({
      parameters: expect.arrayContaining([
        expect.objectContaining({ name: "fieldValidation", in: "query" }),
        expect.objectContaining({ name: "dryRun", in: "query" }),
      ]),
      "x-kubernetes-group-version-kind": { group, version: "v1", kind },
    });
  });

  it("does not describe the body of PATCH, so that kubectl merges by its own types", () => {
    const pods =
      documentAt("/openapi/v3/api/v1").paths["/api/v1/namespaces/{namespace}/pods/{name}"];
    expect(pods?.patch).not.toHaveProperty("requestBody");
  });

  it("version 2 is protobuf for a client that asks for it", () => {
    const reply = openapiReply(
      "/openapi/v2",
      "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    );
    expect(reply?.contentType).toBe("application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
    const bytes = Buffer.from(reply?.body ?? "");
    expect(bytes.subarray(0, 5)).toEqual(Buffer.from("\x0a\x032.0"));
    expect(bytes.includes('{"group":"","version":"v1","kind":"Pod"}')).toBe(true);
  });

  it.each(["/openapi", "/openapi/v3/apis/none/v1", "/openapi/v4"])("has no %s", (path) => {
    expect(openapiReply(path, "*/*")).toBeUndefined();
  });
});
