/** Service account tokens in pods, at the API server and at the kubelet's. */

import { createPrivateKey, createPublicKey } from "node:crypto";
import { beforeAll, expect, test } from "vitest";
import { readToken, signToken } from "../../src/controlplane/tokens/signing-key.ts";
import { podManifest, shell, useCluster } from "../support/cluster.ts";

const cluster = useCluster();
const MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

/** The node's own kubectl inside the pod: a client that looks for its token and the API server where all of them do. */
const hostPaths = ["/usr", "/lib", "/lib64"].map((path) => ({ name: path.slice(1), path }));
const withKubectl = {
  env: [{ name: "PATH", value: "/bin:/usr/bin" }],
  volumeMounts: hostPaths.map(({ name, path }) => ({ name, mountPath: path, readOnly: true })),
};
const volumes = hostPaths.map(({ name, path }) => ({ name, hostPath: { path } }));

const CALLS = `
kubectl get pod $HOSTNAME -o jsonpath='{.metadata.name} {.spec.serviceAccountName}'; echo
kubectl get secrets 2>&1
cd ${MOUNT}; cat namespace; echo
wget -q -O - --no-check-certificate --header "Authorization: Bearer $(cat token)" https://$KUBERNETES_SERVICE_HOST/api/v1/namespaces/$(cat namespace)/configmaps/kube-root-ca.crt | grep -c BEGIN
`;

beforeAll(async () => {
  const noToken = { automountServiceAccountToken: false };
  await cluster.apply(
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "shy" }, ...noToken },
    podManifest("caller", {
      restartPolicy: "Never",
      containers: [shell("main", CALLS, withKubectl)],
      volumes,
    }),
    podManifest("without", {
      restartPolicy: "Never",
      ...noToken,
      containers: [shell("main", `ls ${MOUNT} 2>&1`)],
    }),
  );
  await cluster.apply(
    podManifest("shy", {
      restartPolicy: "Never",
      serviceAccountName: "shy",
      containers: [shell("main", `ls ${MOUNT} 2>&1`)],
    }),
    podManifest("holder", { containers: [shell("main", "trap 'exit 0' TERM; sleep 600 & wait")] }),
  );
});

test("scenario 35: a pod calls the API with its mounted token, as its account and no more", async () => {
  const outputs = await cluster.outputs("caller", "without", "shy");
  expect(outputs.caller?.split("\n")).toEqual([
    "caller default",
    expect.stringMatching(
      `secrets is forbidden: User "system:serviceaccount:${cluster.namespace}:default" cannot list`,
    ),
    cluster.namespace,
    "1",
    "",
  ]);
  for (const name of ["without", "shy"])
    expect(outputs[name]).toContain(`${MOUNT}: No such file or directory`);
});

test("the kubelet's server tells 200, 403 and 401 by the API server's word on a token", async () => {
  await cluster.node.kubectl("-n", "kube-system", "create", "serviceaccount", cluster.namespace);
  const token = async (namespace: string, account: string): Promise<string> =>
    (await cluster.node.kubectl("-n", namespace, "create", "token", account)).trim();
  const ask = async (bearer: string): Promise<string> => {
    const url = "https://127.0.0.1:10250/metrics";
    const header = `Authorization: Bearer ${bearer}`;
    return cluster.node.sh(`curl -sk -o /dev/null -w '%{http_code}' -H '${header}' ${url}`);
  };
  const privateKey = createPrivateKey(
    await cluster.node.sh("cat /var/lib/longshore/controlplane/pki/sa.key"),
  );
  const key = { privateKey, publicKey: createPublicKey(privateKey), id: "" };
  const admin = await token("kube-system", cluster.namespace);
  const expired = { ...readToken(key, admin)?.claims, exp: Math.floor(Date.now() / 1000) - 1 };
  expect(await ask(admin)).toBe("200");
  expect(await ask(await token(cluster.namespace, "default"))).toBe("403");
  expect(await ask(signToken(key, expired))).toBe("401");
  await cluster.node.kubectl("-n", "kube-system", "delete", "serviceaccount", cluster.namespace);
});

test("the token of a pod that is gone opens nothing", async () => {
  await cluster.ready("holder");
  const token = (await cluster.kubectl("exec", "holder", "--", "cat", `${MOUNT}/token`)).trim();
  const path = `https://127.0.0.1:6443/api/v1/namespaces/${cluster.namespace}/pods`;
  const ask = (): Promise<string> =>
    cluster.node.sh(
      `curl -sk -o /dev/null -w '%{http_code}' -H 'Authorization: Bearer ${token}' ${path}`,
    );
  expect(await ask()).toBe("200");
  await cluster.kubectl("delete", "pod", "holder");
  await cluster.gone("holder");
  expect(await ask()).toBe("401");
});
