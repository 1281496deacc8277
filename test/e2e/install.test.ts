/**
 * scripts/install under a real systemd: the service starts, a restart touches no container, uninstall leaves nothing;
 * the same in the place of the kubelet, with the files that kubeadm writes.
 */

import { resolve } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Cluster, IDLE, podManifest, shell } from "../support/cluster.ts";
import { eventually, NodeContainer } from "../support/node-container.ts";

const ROOT = resolve(import.meta.dirname, "../..");
const CP = "/var/lib/longshore-cp";

let node: NodeContainer;
let cluster: Cluster;

beforeAll(async () => {
  node = await NodeContainer.start({
    init: "systemd",
    extra: [
      ...["-v", `${ROOT}/scripts:/src/scripts:ro`, "-v", `${ROOT}/deploy:/src/deploy:ro`],
      ...["-v", `${ROOT}/test/fixtures/kubeadm:/src/kubeadm:ro`],
    ],
  });
  cluster = new Cluster(node, "default");
  await node.background("up", `longshore up --control-plane-only --node-name node1 --dir ${CP}`);
  await node.sh(
    `mkdir -p /var/lib/longshore/controlplane; for i in $(seq 100); do [ -f ${CP}/node.kubeconfig ] && break; sleep 0.2; done; cp ${CP}/admin.kubeconfig /var/lib/longshore/controlplane/`,
  );
});

afterAll(() => node.stop());

test("install starts a service that brings the node up and runs a pod", async () => {
  await node.sh(
    `/src/scripts/install --binary /usr/local/bin/longshore --kubeconfig ${CP}/node.kubeconfig --proxy-kubeconfig ${CP}/proxy.kubeconfig --client-ca ${CP}/pki/ca.crt --cluster-cidr 10.244.0.0/16 --node-name node1`,
    { timeoutMs: 120_000 },
  );
  expect((await node.sh("systemctl is-active longshore")).trim()).toBe("active");
  await cluster.apply(podManifest("steady", { containers: [shell("main", IDLE)] }));
  await cluster.ready("steady", 90_000);
  expect(await cluster.kubectl("exec", "steady", "--", "echo", "hello")).toBe("hello\n");
});

test("systemctl restart, and a kill -9 that systemd mends, restart no container", async () => {
  const before = await node.containerIds();
  await node.sh("systemctl restart longshore");
  expect((await node.sh("systemctl is-active longshore")).trim()).toBe("active");
  await node.sh("systemctl kill -s KILL --kill-whom=main longshore");
  await eventually(
    "systemd started it again",
    async () =>
      (await node.sh("systemctl show -p NRestarts --value longshore")).trim() !== "0" &&
      (await node.exec(["systemctl", "is-active", "--quiet", "longshore"])).code === 0,
  );
  await new Promise((wake) => setTimeout(wake, 3_000));
  expect(await node.containerIds()).toEqual(before);
  expect((await cluster.pod("steady")).status.containerStatuses?.[0]?.restartCount).toBe(0);
});

test("uninstall removes pods, rules, bridge, files and state", async () => {
  await node.sh("/src/scripts/install --uninstall", { timeoutMs: 120_000 });
  const left = await node.sh(
    "docker ps -aq; ls /etc/longshore /etc/systemd/system/longshore.service 2>/dev/null; ls /var/lib/longshore 2>/dev/null | grep -v controlplane; iptables-save | grep -E 'KUBE-SVC|LONGSHORE' ; ip -o link | grep longshore0; ls -d /sys/fs/cgroup/*/kubepods 2>/dev/null; true",
  );
  expect(left).toBe("");
});

describe("in the place of the kubelet", () => {
  /** What `kubeadm join` has written when it starts the kubelet. */
  const JOIN = `set -e
    install -D /src/kubeadm/kubelet.service /usr/lib/systemd/system/kubelet.service
    install -D /src/kubeadm/10-kubeadm.conf /usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf
    install -D /src/kubeadm/config.yaml /var/lib/kubelet/config.yaml
    install -D /src/kubeadm/kubeadm-flags.env /var/lib/kubelet/kubeadm-flags.env
    echo 'KUBELET_EXTRA_ARGS=--pod-cidr=10.244.0.0/24 --oom-score-adj=100 --v=2' >/etc/default/kubelet
    install -D ${CP}/pki/ca.crt /etc/kubernetes/pki/ca.crt
    k="kubectl --kubeconfig /etc/kubernetes/bootstrap-kubelet.conf config"
    $k set-cluster kubernetes --server=https://127.0.0.1:6443 --certificate-authority=/etc/kubernetes/pki/ca.crt
    $k set-credentials tls-bootstrap-token-user --token=abcdef.0123456789abcdef
    $k set-context tls-bootstrap-token-user@kubernetes --cluster=kubernetes --user=tls-bootstrap-token-user
    $k use-context tls-bootstrap-token-user@kubernetes`;
  const TOKEN = {
    ...{ apiVersion: "v1", kind: "Secret", type: "bootstrap.kubernetes.io/token" },
    metadata: { name: "bootstrap-token-abcdef", namespace: "kube-system" },
    stringData: {
      ...{ "token-id": "abcdef", "token-secret": "0123456789abcdef" },
      "usage-bootstrap-authentication": "true",
    },
  };

  test("kubeadm's files and its unit's command line bring the node up and run a pod", async () => {
    const admin = "/var/lib/longshore/controlplane/admin.kubeconfig";
    await node.sh(`install -D ${CP}/admin.kubeconfig ${admin}; kubectl delete node node1`);
    await node.apply(TOKEN);
    await node.sh(JOIN);
    await node.sh("/src/scripts/install --kubelet --binary /usr/local/bin/longshore", {
      timeoutMs: 120_000,
    });
    await eventually("/healthz answers", async () => {
      return (await node.sh("curl -sf http://127.0.0.1:10248/healthz")) === "ok";
    });
    expect(await node.sh("kubelet --version")).toMatch(/^Kubernetes v1\.36\./);
    const proc = "/proc/$(systemctl show -p MainPID --value kubelet)";
    expect(await node.sh(`cat ${proc}/oom_score_adj`)).toBe("100\n");
    expect(await node.sh(`tr '\\0' ' ' <${proc}/cmdline`)).toBe(
      "/usr/local/bin/kubelet --bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml --hostname-override=node1 --node-labels=example.com/from=kubeadm --pod-cidr=10.244.0.0/24 --oom-score-adj=100 --v=2 ",
    );
    await cluster.apply(podManifest("joined", { containers: [shell("main", IDLE)] }));
    await cluster.ready("joined", 90_000);
    expect(await cluster.kubectl("exec", "joined", "--", "echo", "hello")).toBe("hello\n");
    const { metadata } = await node.json<{ metadata: { labels: Record<string, string> } }>(
      "get",
      "node",
      "node1",
    );
    expect(metadata.labels["example.com/from"]).toBe("kubeadm");
    expect(await node.sh("longshore status")).toMatch(/Node +node1: Ready/);
    const warnings = await node.sh(
      "journalctl -u kubelet -o cat | grep -c 'containerd.sock is a CRI runtime'",
    );
    expect(Number(warnings)).toBe(1);
    expect(await node.sh("readlink /var/lib/kubelet/pki/kubelet-client-current.pem")).toContain(
      "kubelet-client-20",
    );
  });

  test("uninstall removes pods and rules, and leaves what is kubeadm's", async () => {
    await node.sh("/src/scripts/install --uninstall", { timeoutMs: 120_000 });
    const left = await node.sh(
      "docker ps -aq; ls /usr/local/bin/kubelet /etc/systemd/system/kubelet.service.d 2>/dev/null; iptables-save | grep LONGSHORE; mount | grep /var/lib/kubelet/; true",
    );
    expect(left).toBe("");
    await node.sh("test -f /var/lib/kubelet/config.yaml && test -f /etc/kubernetes/kubelet.conf");
  });
});
