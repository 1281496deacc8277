/** Which pods get a token mounted, and what an account may do with it. */

import { describe, expect, it } from "vitest";
import { admitWithAccount } from "../../../src/controlplane/controllers/account-admission.ts";
import type { KubeObject } from "../../../src/controlplane/objects.ts";
import { accountMay } from "../../../src/controlplane/tokens/account-authorizer.ts";

const MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount";
const MOUNT = { name: "kube-api-access-abcde", readOnly: true, mountPath: MOUNT_PATH };
const account = { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "app" } };

interface Admitted {
  readonly serviceAccountName: string;
  readonly imagePullSecrets?: unknown;
  readonly volumes?: readonly { readonly name: string; readonly projected?: object }[];
  readonly containers: readonly { readonly volumeMounts?: readonly object[] }[];
  readonly initContainers?: readonly { readonly volumeMounts?: readonly object[] }[];
}

function admit(spec: object, ofAccount: object = {}, annotations: object = {}): Admitted {
  const pod = {
    metadata: { name: "web", annotations },
    spec: { containers: [{ name: "c" }], ...spec },
  } as unknown as KubeObject;
  const get = (_type: unknown, _namespace: unknown, name: string) =>
    name === "missing" ? undefined : ({ ...account, ...ofAccount } as KubeObject);
  return admitWithAccount(pod, "d", { get }, () => "abcde").spec as unknown as Admitted;
}

describe("a new pod", () => {
  it("gets token, root certificate and namespace in every container but ephemeral ones", () => {
    const spec = admit({ initContainers: [{ name: "i" }] });
    expect(spec.serviceAccountName).toBe("default");
    expect(spec.containers[0]?.volumeMounts).toEqual([MOUNT]);
    expect(spec.initContainers?.[0]?.volumeMounts).toEqual([MOUNT]);
    expect(spec.volumes).toEqual([
      {
        name: "kube-api-access-abcde",
        projected: {
          defaultMode: 420,
          sources: [
            { serviceAccountToken: { path: "token", expirationSeconds: 3607 } },
            { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
            {
              downwardAPI: {
                items: [
                  {
                    path: "namespace",
                    fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" },
                  },
                ],
              },
            },
          ],
        },
      },
    ]);
  });

  it.each<[sentence: string, ofPod: boolean | undefined, ofAccount: unknown, volumes: number]>([
    ["the account does not want it", undefined, false, 0],
    ["the pod does not want it", false, undefined, 0],
    ["the pod does not want it, whatever the account says", false, true, 0],
    ["the pod wants it, whatever the account says", true, false, 1],
    ["the account says what is no answer", undefined, "false", 1],
  ])("is mounted a token unless asked not to: %s", (_sentence, ofPod, ofAccount, volumes) => {
    const spec = admit(
      ofPod === undefined ? {} : { automountServiceAccountToken: ofPod },
      ofAccount === undefined ? {} : { automountServiceAccountToken: ofAccount },
    );
    expect(spec.volumes ?? []).toHaveLength(volumes);
    expect(spec.containers[0]?.volumeMounts ?? []).toHaveLength(volumes);
  });

  it("keeps what is mounted at the place already, and a token volume of its own", () => {
    const mine = { name: "mine", mountPath: MOUNT_PATH };
    const spec = admit({ containers: [{ name: "c", volumeMounts: [mine] }] });
    expect(spec.containers[0]?.volumeMounts).toEqual([mine]);
    expect(spec.volumes).toBeUndefined();
    const own = admit({ volumes: [{ name: "kube-api-access-old", projected: {} }] });
    expect(own.volumes).toEqual([{ name: "kube-api-access-old", projected: {} }]);
    expect(own.containers[0]?.volumeMounts).toEqual([{ ...MOUNT, name: "kube-api-access-old" }]);
  });

  it("takes the pull secrets of its account where it names none", () => {
    const secrets = { imagePullSecrets: [{ name: "a" }] };
    expect(admit({}, secrets).imagePullSecrets).toEqual([{ name: "a" }]);
    const own = admit({ imagePullSecrets: [{ name: "b" }] }, secrets);
    expect(own.imagePullSecrets).toEqual([{ name: "b" }]);
  });

  it("is left to validation where it makes no sense", () => {
    for (const spec of [
      { containers: "c" },
      { containers: [1], volumes: {} },
      { containers: null },
    ])
      expect(() => admit(spec)).not.toThrow();
  });

  it("needs its account, unless it is a mirror pod", () => {
    expect(() => admit({ serviceAccountName: "missing" })).toThrow(
      'pods "web" is forbidden: error looking up service account d/missing: serviceaccount "missing" not found',
    );
    const mirror = admit({}, {}, { "kubernetes.io/config.mirror": "x" });
    expect(mirror).toEqual({ containers: [{ name: "c" }] });
  });
});

describe("an account", () => {
  const app = { namespace: "d", name: "app" };
  const ask = (verb: string, resource: string, namespace: string, subresource = "") =>
    accountMay(app, { verb, resource, namespace, subresource, group: "", path: "/" });

  it.each<[string, string, string, string, boolean]>([
    ["get", "pods", "d", "", true],
    ["watch", "configmaps", "d", "", true],
    ["get", "pods", "d", "log", true],
    ["get", "pods", "d", "exec", false],
    ["get", "secrets", "d", "", false],
    ["list", "secrets", "d", "", false],
    ["create", "pods", "d", "", false],
    ["create", "serviceaccounts", "d", "token", false],
    ["list", "pods", "", "", false],
    ["get", "pods", "other", "", false],
    ["get", "nodes", "", "", false],
  ])("asked to %s %s in %j: %j", (verb, resource, namespace, subresource, isAllowed) => {
    expect(ask(verb, resource, namespace, subresource)).toBe(isAllowed);
  });

  it("may do everything when an administrator made it in kube-system", () => {
    const request = { verb: "delete", path: "/", group: "", resource: "nodes" };
    const whole = { ...request, subresource: "", namespace: "" };
    expect(accountMay({ namespace: "kube-system", name: "metrics" }, whole)).toBe(true);
    expect(accountMay({ namespace: "kube-system", name: "default" }, whole)).toBe(false);
  });
});
