/** Scenarios 24, 25 and 27: Services with real packets, and the environment they leave in pods. */

import { beforeAll, describe, expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();
const CGI =
  "mkdir -p /www; hostname >/www/name; httpd -p 8081 -h /www; exec httpd -f -p 8080 -h /www";
const ports = [
  { name: "web", containerPort: 8080 },
  { name: "admin", containerPort: 8081 },
];
const readinessProbe = { tcpSocket: { port: 8080 }, periodSeconds: 1 };
const backend = (name: string) =>
  podManifest(
    name,
    { containers: [shell("main", CGI, { ports, readinessProbe })] },
    { app: "back" },
  );

let ip = "";

beforeAll(async () => {
  await cluster.apply(
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "back-end" },
      spec: {
        selector: { app: "back" },
        ports: [
          { name: "http", port: 80, targetPort: "web" },
          { name: "control", port: 81, targetPort: "admin" },
        ],
      },
    },
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "nobody" },
      spec: { selector: { app: "no" }, ports: [{ port: 80 }] },
    },
    backend("back-1"),
    backend("back-2"),
  );
  await cluster.ready("back-1");
  await cluster.ready("back-2");
  await cluster.apply(podManifest("client", { containers: [shell("main", IDLE)] }));
  await cluster.ready("client");
  ip = await cluster.kubectl("get", "service", "back-end", "-o", "jsonpath={.spec.clusterIP}");
});

const fromNode = (url: string) => cluster.node.exec(["curl", "-s", "-m", "3", url]);
const fromPod = (pod: string, url: string) =>
  cluster.tryKubectl("exec", pod, "--", "wget", "-q", "-O", "-", url);

describe("a Service", () => {
  test("scenario 24: is reached from the node and from a pod, and spreads over its pods", async () => {
    await eventually("it answers", async () => (await fromNode(`http://${ip}/name`)).code === 0);
    const seen = new Set<string>();
    for (let i = 0; i < 20; i++) seen.add((await fromNode(`http://${ip}/name`)).stdout.trim());
    for (let i = 0; i < 10; i++)
      seen.add((await fromPod("client", `http://${ip}/name`)).stdout.trim());
    expect([...seen].sort()).toEqual(["back-1", "back-2"]);
  });

  test("is reached by its own pods, also when the packet comes back to its sender", async () => {
    for (let i = 0; i < 8; i++) {
      const answer = await fromPod("back-1", `http://${ip}/name`);
      expect(answer.stdout).toMatch(/^back-[12]\n$/);
    }
  });

  test("scenario 25: has several ports, each to its named target", async () => {
    for (const port of [80, 81]) {
      expect((await fromNode(`http://${ip}:${port}/name`)).stdout).toMatch(/^back-/);
    }
  });

  test("without endpoints refuses at once", async () => {
    const nobody = await cluster.kubectl(
      "get",
      "service",
      "nobody",
      "-o",
      "jsonpath={.spec.clusterIP}",
    );
    await eventually(
      "the node is refused",
      async () => (await fromNode(`http://${nobody}/`)).code === 7,
    );
    const answer = await fromPod("client", `http://${nobody}/`);
    expect(answer.stderr).toContain("refused");
  });

  test("scenario 27: is in the environment of pods made after it, in both forms", async () => {
    const env = await cluster.kubectl("exec", "client", "--", "env");
    for (const line of [
      `BACK_END_SERVICE_HOST=${ip}`,
      "BACK_END_SERVICE_PORT=80",
      "BACK_END_SERVICE_PORT_HTTP=80",
      "BACK_END_SERVICE_PORT_CONTROL=81",
      `BACK_END_PORT=tcp://${ip}:80`,
      `BACK_END_PORT_80_TCP=tcp://${ip}:80`,
      "BACK_END_PORT_80_TCP_PROTO=tcp",
      "BACK_END_PORT_80_TCP_PORT=80",
      `BACK_END_PORT_80_TCP_ADDR=${ip}`,
    ])
      expect(env).toContain(`${line}\n`);
    expect(env).toMatch(/KUBERNETES_SERVICE_HOST=10\.96\.0\.1\n/);
  });
});
