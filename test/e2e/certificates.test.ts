/**
 * A node that joins with nothing but a bootstrap token: it is killed on the way, becomes Ready, serves with a certificate
 * that the API server signed, and renews both while pods are looked at. Its certificates live for 20 seconds.
 */

import { afterAll, beforeAll, expect, test } from "vitest";
import { IDLE, podManifest, shell } from "../support/cluster.ts";
import { eventually, NodeContainer } from "../support/node-container.ts";

const CA = "/var/lib/longshore/controlplane/pki/ca.crt";
const AGENT = `longshore agent --hostname-override node1 --kubeconfig /etc/kubernetes/kubelet.conf
  --bootstrap-kubeconfig /etc/kubernetes/bootstrap-kubelet.conf --cert-dir /var/lib/kubelet/pki
  --rotate-server-certificates --client-ca-file ${CA} --proxy-mode off`.replaceAll("\n", " ");
const BOOTSTRAP = `
export KUBECONFIG=/etc/kubernetes/bootstrap-kubelet.conf; mkdir -p /etc/kubernetes
kubectl config set-cluster c --server https://127.0.0.1:6443 --certificate-authority ${CA}
kubectl config set-credentials u --token abcdef.0123456789abcdef
kubectl config set-context x --cluster c --user u; kubectl config use-context x`;

interface Request {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly signerName: string; readonly username: string };
  readonly status: { readonly certificate?: string };
}

let node: NodeContainer;
const requests = async (signer: string): Promise<readonly Request[]> =>
  (await node.json<{ items: Request[] }>("get", "csr")).items.filter((it) =>
    it.spec.signerName.endsWith(signer),
  );

beforeAll(async () => {
  node = await NodeContainer.start();
  await node.up("--control-plane-only", "--cluster-signing-duration", "20s");
  await node.apply({
    ...{ apiVersion: "v1", kind: "Secret", type: "bootstrap.kubernetes.io/token" },
    metadata: { name: "bootstrap-token-abcdef", namespace: "kube-system" },
    stringData: {
      ...{ "token-id": "abcdef", "token-secret": "0123456789abcdef" },
      "usage-bootstrap-authentication": "true",
    },
  });
  await node.sh(BOOTSTRAP);
});
afterAll(() => node.stop());

test("a bootstrap token makes a node that is Ready, also if the agent is killed on the way", async () => {
  for (const seconds of [0.4, 0.8, 1.2]) {
    await node.background("agent", AGENT);
    await node.sh(`sleep ${seconds}`);
    await node.kill("agent");
  }
  await node.background("agent", AGENT);
  await node.kubectl("wait", "--for=create", "node/node1", "--timeout=60s");
  await node.kubectl("wait", "--for=condition=Ready", "node/node1", "--timeout=60s");
  const made = await requests("kube-apiserver-client-kubelet");
  expect(made.filter(({ status }) => status.certificate === undefined)).toEqual([]);
  const byToken = made.filter(({ spec }) => spec.username === "system:bootstrap:abcdef");
  expect(byToken).toHaveLength(1);
  expect(await node.sh("cat /etc/kubernetes/kubelet.conf")).toContain(
    "client-key: /var/lib/kubelet/pki/kubelet-client-current.pem",
  );
});

test("both certificates are renewed while logs are read, without a failure", async () => {
  const pod = podManifest("p", { containers: [shell("main", `echo here; ${IDLE}`)] });
  await node.apply(pod);
  await node.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=60s");
  const end = "openssl x509 -noout -enddate -in /var/lib/kubelet/pki/kubelet";
  const ends = () => node.sh(`${end}-client-current.pem; ${end}-server-current.pem`);
  await eventually("the serving certificate is there", ends);
  const before = (await ends()).split("\n");
  await eventually("both are renewed", async () => {
    expect(await node.kubectl("logs", "p")).toBe("here\n");
    const now = (await ends()).split("\n");
    return now[0] !== before[0] && now[1] !== before[1];
  });
  expect(await node.kubectl("exec", "p", "--", "echo", "there")).toBe("there\n");
  const serving = await requests("kubelet-serving");
  expect(serving.map(({ spec }) => spec.username)).toContain("system:node:node1");
  const metrics = await node.kubectl("get", "--raw", "/api/v1/nodes/node1/proxy/metrics");
  expect(metrics).toMatch(/^kubelet_certificate_manager_client_ttl_seconds \d+$/m);
  expect(metrics).toMatch(/^kubelet_server_expiration_renew_errors 0$/m);
  expect(await node.sh("longshore status")).toMatch(/Certificates client until .*; serving until /);
  // Before it had its first certificate nothing could succeed.
  const log = (await node.logs("agent")).split('"msg":"kubeconfig written"').at(-1) ?? "";
  expect(log.split("\n").filter((line) => /no new certificate|Api[A-Z]/.test(line))).toEqual([]);
});
