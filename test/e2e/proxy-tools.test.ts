/** What surrounds the service proxy on a node: its ports, explain, check, and the sign of another proxy. */

import { beforeAll, describe, expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();
const WEB = "mkdir -p /www; hostname >/www/name; exec httpd -f -p 8080 -h /www";
let ip = "";
let nodePort = "";

const service = (name: string, app: string, spec: object = {}) => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name },
  spec: { selector: { app }, ports: [{ name: "http", port: 80, targetPort: 8080 }], ...spec },
});

const of = (name: string, path: string) =>
  cluster.kubectl("get", "service", name, "-o", `jsonpath={${path}}`);
const explain = (...args: readonly string[]) =>
  cluster.node.exec(["longshore", "explain", "service", ...args]);
const get = (url: string) => cluster.node.sh(`curl -s -m 5 ${url}`);

beforeAll(async () => {
  const readinessProbe = { tcpSocket: { port: 8080 }, periodSeconds: 1 };
  await cluster.apply(
    service("web", "web", { type: "NodePort" }),
    service("nobody", "nobody"),
    podManifest("web-1", { containers: [shell("main", WEB, { readinessProbe })] }, { app: "web" }),
    podManifest("client", { containers: [shell("main", IDLE)] }),
  );
  await cluster.ready("web-1");
  await cluster.ready("client");
  ip = await of("web", ".spec.clusterIP");
  nodePort = await of("web", ".spec.ports[0].nodePort");
  await eventually("it answers", async () => (await get(`http://${ip}/name`)) === "web-1\n");
});

describe("longshore explain service", () => {
  test("says where traffic to a ClusterIP and a NodePort goes, and that the kernel agrees", async () => {
    const { stdout, stderr, code } = await explain(`${cluster.namespace}/web`);
    expect(stderr).toBe("");
    expect(stdout).not.toContain("NOT IN STEP");
    expect(code).toBe(0);
    const target = /(\S+:8080) {2}ready, serving, local, used/.exec(stdout)?.[1];
    expect(target).toBeDefined();
    for (const [front, seen] of [
      [`clusterIP ${ip}:80`, "source kept"],
      [`:${nodePort}`, "masqueraded"],
    ]) {
      const line = stdout
        .split("\n")
        .find((each) => each.includes("from a pod") && each.includes(front ?? ""));
      expect(line).toContain(`goes to ${target}, ${seen}`);
    }
    expect(stdout).toContain("because every ready endpoint");
    expect(stdout).toMatch(/nat \[\d+\] -A KUBE-SEP-\S+ .*DNAT --to-destination/);
  });

  test("counts packets and shows connections", async () => {
    await cluster.kubectl("exec", "client", "--", "wget", "-q", "-O", "-", `http://${ip}/name`);
    const { stdout } = await explain(`${cluster.namespace}/web`);
    expect(stdout).toMatch(/nat \[[1-9]\d*\] -A KUBE-SEP-\S+ .*DNAT/);
    expect(stdout).toMatch(new RegExp(`tcp to ${ip} port 80: [1-9]`));
    expect(stdout).toMatch(new RegExp(`dst=${ip} sport=\\d+ dport=80`));
  });

  test("says why a Service without endpoints refuses", async () => {
    const { stdout, code } = await explain(`${cluster.namespace}/nobody`);
    expect(code).toBe(0);
    expect(stdout).toContain("Endpoints: 0");
    expect(stdout).toMatch(/from a pod \(\S+\) to clusterIP \S+:80 is refused/);
    expect(stdout).toContain("because no endpoint is ready");
    expect(stdout).toContain("has no endpoints");
  });

  test("as JSON has the same facts", async () => {
    const { stdout } = await explain(`${cluster.namespace}/web`, "-o", "json");
    const { ports } = JSON.parse(stdout) as {
      ports: { paths: { from: string; verdict: string; isMasqueraded: boolean }[] }[];
    };
    const [first] = ports[0]?.paths ?? [];
    expect(first).toMatchObject({ from: "a pod", verdict: "delivered", isMasqueraded: false });
  });

  test("names a Service that is not there, and sees rules that were taken away", async () => {
    expect(await explain(`${cluster.namespace}/none`)).toMatchObject({ code: 3 });
    const chains = await cluster.node.sh(
      `iptables-save -t nat | sed -n 's/^-A \\(KUBE-SVC-[A-Z0-9]*\\) .*${cluster.namespace}\\/web.*-j KUBE-SEP.*/\\1/p'`,
    );
    await cluster.node.sh(`iptables -t nat -F ${chains.trim()}`);
    const { stdout, code } = await explain(`${cluster.namespace}/web`);
    expect(code).toBe(5);
    expect(stdout).toMatch(/NOT IN STEP: the API asks for \S+:8080, the kernel has no rule/);
    await cluster.node.sh("iptables -t mangle -X KUBE-PROXY-CANARY");
    await eventually(
      "the rules are back",
      async () => (await explain(`${cluster.namespace}/web`)).code === 0,
    );
  });

  test("--trace follows one packet through every rule it meets", async () => {
    const { stdout } = await explain("any", "--trace", "127.0.0.1", ip, "80", "tcp");
    expect(stdout).toContain(`tcp from 127.0.0.1 (this node) to ${ip} port 80`);
    expect(stdout).toMatch(/100\.0 % delivered \S+:8080, masqueraded/);
    expect(stdout).toMatch(/nat \[\d+\] -A OUTPUT .*-j KUBE-SERVICES/);
    expect(await explain("any", "--trace", "1.2.3.4", ip, "http", "tcp")).toMatchObject({
      code: 1,
    });
  });
});

test("longshore proxy render prints what the kernel has: restoring it changes nothing", async () => {
  const rules = async () => {
    const saved = await cluster.node.sh("iptables-save");
    return saved
      .replace(/^#.*|\[\d+:\d+\]/gm, "")
      .split("\n")
      .sort();
  };
  const before = await rules();
  await cluster.node.sh(
    "set -o pipefail; kubectl get services,endpointslices,nodes -A -o json | longshore proxy render --objects - --node-name node1 --cluster-cidr 10.244.0.0/16 | iptables-restore --noflush",
  );
  expect(before.filter((line) => line.startsWith("-A KUBE-SEP-")).length).toBeGreaterThan(2);
  expect(await rules()).toEqual(before);
});

describe("the ports of the proxy", () => {
  test("health: both families are in step and the node is eligible", async () => {
    await eventually("it is healthy", async () => {
      const body = JSON.parse(await get("http://127.0.0.1:10256/healthz")) as object;
      expect(body).toMatchObject({
        nodeEligible: true,
        healthy: true,
        status: { IPv4: { healthy: true } },
      });
      return true;
    });
    expect(await get("-o /dev/null -w '%{http_code}' http://127.0.0.1:10256/livez")).toBe("200");
  });

  test("metrics: syncs and rules have been counted", async () => {
    expect(await get("http://127.0.0.1:10249/proxyMode")).toBe("iptables");
    const text = await get("http://127.0.0.1:10249/metrics");
    expect(text).toMatch(
      /^kubeproxy_sync_proxy_rules_duration_seconds_count\{ip_family="IPv4"\} [1-9]/m,
    );
    expect(text).toMatch(
      /^kubeproxy_sync_proxy_rules_iptables_total\{ip_family="IPv4",table="nat"\} [1-9]\d/m,
    );
  });

  test("a NodePort answers on 127.0.0.1, too", async () => {
    expect(await cluster.node.sh("cat /proc/sys/net/ipv4/conf/all/route_localnet")).toBe("1\n");
    expect(await get(`http://127.0.0.1:${nodePort}/name`)).toBe("web-1\n");
  });

  test("a health check node port tells how many endpoints are here, and goes with its Service", async () => {
    await cluster.apply(
      service("lb", "web", {
        type: "LoadBalancer",
        externalTrafficPolicy: "Local",
        healthCheckNodePort: 32_100,
      }),
    );
    await eventually("it answers", async () => {
      const body = JSON.parse(await get("http://127.0.0.1:32100/")) as object;
      return "localEndpoints" in body && body.localEndpoints === 1;
    });
    await cluster.kubectl("delete", "service", "lb");
    await eventually("it is closed", async () => {
      const { code } = await cluster.node.exec(["curl", "-s", "http://127.0.0.1:32100/"]);
      return code === 7;
    });
  });
});

describe("longshore check", () => {
  const check = async () => {
    const { stdout } = await cluster.node.exec(["longshore", "check", "-o", "json"]);
    const rows = JSON.parse(stdout) as {
      name: string;
      state: string;
      detail: string;
      remedy: string;
    }[];
    return Object.fromEntries(rows.map((row) => [row.name, row]));
  };

  test("finds no other proxy beside our own, and that ours may list what it needs", async () => {
    const rows = await check();
    expect(rows["other service proxy"]).toMatchObject({ state: "ok" });
    expect(rows["proxy credentials"]).toMatchObject({ state: "ok" });
  });

  test("says how to mend credentials that may not list EndpointSlices", async () => {
    const kubeconfig = "/var/lib/longshore/controlplane/node.kubeconfig";
    const { stdout, code } = await cluster.node.exec([
      ...["longshore", "check", "--kubeconfig", kubeconfig],
    ]);
    expect(code).toBe(1);
    expect(stdout).toContain('User "system:node:node1" cannot list resource "endpointslices"');
    expect(stdout).toContain(
      "kubectl create clusterrolebinding longshore-proxy --clusterrole=system:node-proxier --user=system:node:node1",
    );
  });

  test("finds another one by its canary", async () => {
    await cluster.node.sh("iptables -t mangle -X LONGSHORE-PROXY");
    expect((await check())["other service proxy"]).toMatchObject({
      state: "degraded",
      detail: expect.stringContaining("KUBE-PROXY-CANARY in mangle is not Longshore's"),
    });
    await cluster.node.sh("iptables -t mangle -N LONGSHORE-PROXY");
  });
});

describe("an agent that starts beside another proxy's rules", () => {
  const reports = async () => {
    const log = await cluster.node.sh(
      "grep -c 'another service proxy is at work' /var/log/up.log || true",
    );
    return Number(log);
  };
  const restart = async () => {
    await cluster.node.kill("up", "TERM");
    await cluster.node.up();
  };

  test("knows its own rules again, and reports another's by log and Event", async () => {
    const before = await reports();
    await restart();
    expect(await reports()).toBe(before);
    await cluster.node.sh("iptables -t mangle -X LONGSHORE-PROXY");
    await restart();
    expect(await reports()).toBe(before + 1);
    await eventually("there is an Event on the Node", async () => {
      const events = await cluster.node.kubectl("get", "events", "-A", "-o", "json");
      return /"ForeignServiceProxy"/.test(events);
    });
    await eventually("it answers", async () => (await get(`http://${ip}/name`)) === "web-1\n");
  });
});
