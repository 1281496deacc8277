import { describe, expect, it } from "vitest";
import type { Node, Pod } from "../../../src/api/types.ts";
import type { RequestAttributes, User } from "../../../src/controlplane/extension.ts";
import { authorize } from "../../../src/controlplane/node-authorizer.ts";
import { type NodeRequest, nodeRestriction } from "../../../src/controlplane/node-restriction.ts";
import * as registry from "../../../src/controlplane/registry.ts";

const NODE: User = { name: "system:node:n", groups: ["system:nodes", "system:authenticated"] };
const PROXY: User = { name: "system:kube-proxy", groups: ["system:authenticated"] };
const TOKEN: User = { name: "system:bootstrap:a", groups: ["system:bootstrappers"] };
const NOBODY: User = { name: "eve", groups: ["system:authenticated"] };

const pod = {
  metadata: { name: "web", namespace: "d", uid: "pod-uid", resourceVersion: "1", labels: {} },
  spec: {
    nodeName: "n",
    serviceAccountName: "default",
    imagePullSecrets: [{ name: "pull" }],
    containers: [
      {
        name: "c",
        env: [{ name: "A", valueFrom: { secretKeyRef: { name: "env", key: "k" } } }],
        envFrom: [{ configMapRef: { name: "settings" } }],
      },
    ],
    volumes: [
      { name: "v", projected: { sources: [{ secret: { name: "projected" } }] } },
      { name: "p", persistentVolumeClaim: { claimName: "data" } },
      { name: "e", ephemeral: {} },
    ],
  },
} as unknown as Pod;
const mirror = {
  ...pod,
  metadata: { ...pod.metadata, annotations: { "kubernetes.io/config.mirror": "x" } },
  spec: { ...pod.spec, imagePullSecrets: [{ name: "stolen" }] },
} as Pod;
const owner = { apiVersion: "v1", kind: "Node", name: "n", uid: "node-uid", controller: true };
/** A mirror pod as a node may make it. */
const plainMirror = {
  metadata: { ...mirror.metadata, ownerReferences: [owner] },
  spec: { nodeName: "n", containers: [{ name: "c" }] },
} as unknown as Pod;

function owned(...owners: readonly object[]): object {
  return {
    resource: "pods",
    operation: "create",
    object: { ...plainMirror, metadata: { ...plainMirror.metadata, ownerReferences: owners } },
  };
}

const view = {
  podsOnNode: (name: string) => (name === "n" ? [pod, mirror] : []),
  claimOf: (volume: string) => (volume === "free" ? undefined : { namespace: "d", name: volume }),
};

type Ask = [verb: string, what: string, where: Partial<RequestAttributes>];

function ask(user: User, [verb, what, where]: Ask): string {
  const [plural = "", subresource] = what.split("/");
  const type = registry.RESOURCE_TYPES.find((it) => it.plural === plural);
  const decision = authorize(
    user,
    {
      verb,
      path: "/",
      ...(type === undefined ? {} : { type }),
      ...(subresource === undefined ? {} : { subresource }),
      ...where,
    },
    view,
  );
  return decision.kind === "allow" ? "allow" : `deny ${decision.message}`.trim();
}

const inD = (name: string) => ({ namespace: "d", name });
const select = (fieldSelector: string, namespace?: string) =>
  namespace === undefined ? { fieldSelector } : { fieldSelector, namespace };
const UNRELATED = "deny no relationship found between node 'n' and this object";

describe("a node", () => {
  it.each<[...Ask, string]>([
    ["create", "nodes", {}, "allow"],
    ["get", "nodes", { name: "n" }, "allow"],
    ["patch", "nodes/status", { name: "n" }, "allow"],
    ["list", "nodes", select("metadata.name=n"), "allow"],
    ["list", "nodes", {}, "deny node 'n' cannot read all nodes, only its own Node object"],
    ["get", "nodes", { name: "m" }, "deny node 'n' cannot read 'm', only its own Node object"],
    ["delete", "nodes", { name: "n" }, "deny"],
    ["list", "pods", select("spec.nodeName=n"), "allow"],
    ["watch", "pods", select("spec.nodeName=n,status.phase!=Failed"), "allow"],
    [
      "list",
      "pods",
      select("spec.nodeName=m"),
      "deny can only list/watch pods with spec.nodeName field selector",
    ],
    ["get", "pods", inD("web"), "allow"],
    ["get", "pods", inD("other"), UNRELATED],
    ["update", "pods", inD("web"), "deny"],
    ["patch", "pods/status", inD("web"), "allow"],
    ["create", "pods/exec", inD("web"), "deny"],
    ["get", "secrets", inD("env"), "allow"],
    ["get", "secrets", inD("pull"), "allow"],
    ["get", "secrets", inD("projected"), "allow"],
    ["watch", "secrets", select("metadata.name=env", "d"), "allow"],
    ["get", "secrets", inD("stolen"), UNRELATED],
    ["get", "secrets", { namespace: "e", name: "env" }, UNRELATED],
    ["list", "secrets", { namespace: "d" }, "deny No Object name found"],
    ["list", "secrets", {}, "deny can only read namespaced object of this type"],
    ["update", "secrets", inD("env"), "deny can only read resources of this type"],
    ["get", "configmaps", inD("settings"), "allow"],
    ["get", "configmaps", inD("env"), UNRELATED],
    ["get", "persistentvolumeclaims", inD("data"), "allow"],
    ["get", "persistentvolumeclaims", inD("web-e"), "allow"],
    ["get", "persistentvolumeclaims", inD("other"), UNRELATED],
    ["get", "persistentvolumeclaims", { namespace: "e", name: "data" }, UNRELATED],
    [
      "list",
      "persistentvolumeclaims",
      inD("data"),
      "deny can only read individual resources of this type",
    ],
    ["get", "persistentvolumes", { name: "data" }, "allow"],
    ["get", "persistentvolumes", { name: "other" }, UNRELATED],
    ["get", "persistentvolumes", { name: "free" }, UNRELATED],
    ["get", "persistentvolumes/status", { name: "data" }, "deny cannot read subresource"],
    ["create", "serviceaccounts/token", inD("default"), "allow"],
    ["create", "serviceaccounts/token", inD("admin"), UNRELATED],
    ["get", "serviceaccounts", inD("default"), "allow"],
    ["get", "serviceaccounts", inD("admin"), UNRELATED],
    [
      "list",
      "serviceaccounts",
      { namespace: "d" },
      "deny can only create tokens for individual service accounts",
    ],
    ["watch", "clustertrustbundles", {}, "allow"],
    ["create", "podcertificaterequests", { namespace: "d" }, "allow"],
    ["watch", "podcertificaterequests", select("spec.nodeName=n"), "allow"],
    [
      "list",
      "podcertificaterequests",
      select("spec.nodeName=m"),
      "deny can only list/watch podcertificaterequests with spec.nodeName field selector",
    ],
    ["delete", "podcertificaterequests", inD("req-1"), "deny"],
    ["patch", "podcertificaterequests/status", inD("req-1"), "deny"],
    ["update", "leases", { namespace: "kube-node-lease", name: "n" }, "allow"],
    [
      "update",
      "leases",
      { namespace: "kube-node-lease", name: "m" },
      "deny can only access node lease with the same name as the requesting node",
    ],
    [
      "get",
      "leases",
      { namespace: "kube-system", name: "n" },
      'deny can only access leases in the "kube-node-lease" system namespace',
    ],
    ["list", "services", {}, "allow"],
    ["list", "endpointslices", {}, "deny"],
    ["create", "events", { namespace: "d" }, "allow"],
    ["list", "events", { namespace: "d" }, "deny"],
    ["list", "", { path: "/apis/node.k8s.io/v1/runtimeclasses" }, "allow"],
    ["post", "", { path: "/apis/authentication.k8s.io/v1/tokenreviews" }, "allow"],
    ["post", "", { path: "/apis/node.k8s.io/v1/runtimeclasses" }, "deny"],
    ["get", "", { path: "/version" }, "allow"],
    ["get", "", { path: "/debug/pprof" }, "deny"],
  ])("%s %s %j: %s", (verb, what, where, expected) => {
    expect(ask(NODE, [verb, what, where])).toBe(expected);
  });
});

describe("the proxy and others", () => {
  it.each<[User, ...Ask, string]>([
    [PROXY, "watch", "endpointslices", {}, "allow"],
    [PROXY, "list", "services", {}, "allow"],
    [PROXY, "watch", "nodes", {}, "allow"],
    [PROXY, "get", "secrets", inD("env"), "deny"],
    [PROXY, "patch", "nodes/status", { name: "n" }, "deny"],
    [NOBODY, "get", "pods", inD("web"), "deny"],
    [TOKEN, "create", "certificatesigningrequests", {}, "allow"],
    [TOKEN, "get", "certificatesigningrequests", { name: "r" }, "allow"],
    [TOKEN, "update", "certificatesigningrequests/approval", { name: "r" }, "deny"],
    [TOKEN, "delete", "certificatesigningrequests", { name: "r" }, "deny"],
    [TOKEN, "get", "nodes", { name: "n" }, "deny"],
    [NODE, "create", "certificatesigningrequests", {}, "allow"],
    [NODE, "update", "certificatesigningrequests/approval", { name: "r" }, "deny"],
    [
      { name: "eve", groups: ["system:nodes"] },
      "get",
      "secrets",
      inD("env"),
      'deny unknown node for user "eve"',
    ],
    [{ name: "admin", groups: ["system:masters"] }, "get", "secrets", inD("env"), "allow"],
  ])("$name %s %s %j: %s", (user, verb, what, where, expected) => {
    expect(ask(user, [verb, what, where])).toBe(expected);
  });
});

describe("node restriction", () => {
  const base: NodeRequest = {
    nodeName: "n",
    operation: "update",
    group: "",
    resource: "nodes",
    subresource: "",
    namespace: "",
    name: "n",
  };
  const nodeWith = (labels: Readonly<Record<string, string>>, taints: readonly object[] = []) => ({
    metadata: { name: "n", uid: "u", resourceVersion: "1", labels: { ...labels } },
    spec: { taints },
  });
  const changeLabel = (key: string): Partial<NodeRequest> => ({
    object: nodeWith({ [key]: "x" }),
    previous: nodeWith({}),
  });
  const token = (uid: string) => ({
    resource: "serviceaccounts",
    subresource: "token",
    operation: "create" as const,
    namespace: "d",
    name: "default",
    object: { spec: { boundObjectRef: { apiVersion: "v1", kind: "Pod", name: "web", uid } } },
  });
  const certificate = (change: object = {}): Partial<NodeRequest> => ({
    group: "certificates.k8s.io",
    resource: "podcertificaterequests",
    operation: "create",
    namespace: "d",
    name: "req-1",
    object: {
      spec: {
        ...{ nodeName: "n", nodeUID: "node-uid", podName: "web", podUID: "pod-uid" },
        ...{ serviceAccountName: "default", serviceAccountUID: "account-uid" },
        ...change,
      },
    },
  });
  it.each<[string, Partial<NodeRequest>, string | undefined]>([
    ["gives certificates to pods of the node", certificate(), undefined],
    [
      "gives none to what says nothing",
      { ...certificate(), object: { spec: null } },
      'node "n" can only create PodCertificateRequests for itself',
    ],
    [
      "gives none in the name of another node",
      certificate({ nodeUID: "other" }),
      'node "n" can only create PodCertificateRequests for itself',
    ],
    [
      "gives none to a pod that was replaced",
      certificate({ podUID: "old" }),
      'node "n" can only create PodCertificateRequests for pods that run on it',
    ],
    [
      "gives none to another account",
      certificate({ serviceAccountName: "admin" }),
      "the service account is not the pod's",
    ],
    ["lets a node label itself", changeLabel("topology.kubernetes.io/zone"), undefined],
    ["lets a node set labels of its own", changeLabel("example.com/rack"), undefined],
    [
      "keeps restricted labels from nodes",
      changeLabel("node-restriction.kubernetes.io/team"),
      "is not allowed to modify labels: node-restriction.kubernetes.io/team",
    ],
    [
      "keeps unknown kubernetes.io labels from nodes",
      changeLabel("node-role.kubernetes.io/control-plane"),
      "is not allowed to modify labels: node-role.kubernetes.io/control-plane",
    ],
    [
      "keeps other nodes' objects from nodes",
      { name: "m", object: nodeWith({}), previous: nodeWith({}) },
      'node "n" is not allowed to modify node "m"',
    ],
    [
      "keeps a node from changing its taints",
      { object: nodeWith({}), previous: nodeWith({}, [{ key: "a", effect: "NoSchedule" }]) },
      'node "n" is not allowed to modify taints',
    ],
    [
      "lets a node delete its pods only",
      { resource: "pods", operation: "delete", name: "web", previous: pod, nodeName: "m" },
      'node "m" can only delete pods with spec.nodeName set to itself',
    ],
    [
      "lets a node end its pod",
      { resource: "pods", operation: "delete", previous: pod },
      undefined,
    ],
    [
      "lets a node create mirror pods only",
      { resource: "pods", operation: "create", object: pod },
      'pod does not have "kubernetes.io/config.mirror" annotation, node "n" can only create mirror pods',
    ],
    [
      "lets a mirror pod name no service account",
      {
        resource: "pods",
        operation: "create",
        object: { ...plainMirror, spec: mirror.spec },
      },
      'node "n" can not create pods that reference a service account',
    ],
    ["lets a node create a mirror pod that it owns", owned(owner), undefined],
    [
      "lets no mirror pod be without an owner",
      owned(),
      'node "n" can only create pods with an owner reference set to itself',
    ],
    [
      "lets no mirror pod have two owners",
      owned(owner, owner),
      'node "n" can only create pods with a single owner reference set to itself',
    ],
    [
      "lets no mirror pod belong to another node",
      owned({ ...owner, name: "m" }),
      'node "n" can only create pods with an owner reference set to itself',
    ],
    [
      "lets no mirror pod have an owner that does not control it",
      owned({ ...owner, controller: false }),
      'node "n" can only create pods with a controller owner reference set to itself',
    ],
    [
      "lets no mirror pod hold up its node's deletion",
      owned({ ...owner, blockOwnerDeletion: true }),
      'node "n" must not set blockOwnerDeletion on an owner reference',
    ],
    [
      "lets no mirror pod belong to a node of before",
      owned({ ...owner, uid: "old" }),
      "node n UID mismatch: expected old got node-uid",
    ],
    [
      "lets a node create mirror pods on itself only",
      {
        resource: "pods",
        operation: "create",
        object: { ...plainMirror, spec: { ...plainMirror.spec, nodeName: "m" } },
      },
      'node "n" can only create pods with spec.nodeName set to itself',
    ],
    [
      "lets a node report on its own pods only",
      { resource: "pods", subresource: "status", nodeName: "m", object: pod, previous: pod },
      'node "m" can only update pod status for pods with spec.nodeName set to itself',
    ],
    ["gives tokens for pods of the node", token("pod-uid"), undefined],
    [
      "gives no token for a pod that was replaced",
      token("old"),
      "the UID in the bound object reference (old) does not match the UID in record. The object might have been deleted and then recreated",
    ],
    [
      "lets a node create its own lease only",
      { group: "coordination.k8s.io", resource: "leases", operation: "create", name: "m" },
      "can only access node lease with the same name as the requesting node",
    ],
  ])("%s", (_sentence, change, expected) => {
    const metadata = { name: "n", uid: "node-uid", resourceVersion: "1" };
    const getNode = (): Node => ({ apiVersion: "v1", kind: "Node", metadata });
    const account = { metadata: { name: "default", uid: "account-uid", resourceVersion: "1" } };
    const view = { getPod: () => pod, getNode, getServiceAccount: () => account };
    expect(nodeRestriction({ ...base, ...change }, view)).toBe(expected);
  });
});
