/** Scenarios 10 to 12: liveness, readiness and startup probes, and what their failing does. */

import { describe, expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();

/** Serves /www on 8080; a file that is removed makes its path fail. */
const WEB =
  "mkdir -p /www; echo ok >/www/healthy; echo ok >/www/ready; exec httpd -f -p 8080 -h /www";

function inPod(name: string, command: string): Promise<string> {
  return cluster.kubectl("exec", name, "--", "sh", "-c", command);
}

/** A gRPC health server of one file: it says its settings, waits for the request, and says what /tmp/status says. */
const GRPC = (() => {
  const bytes = (...parts: readonly (number | string)[]): string =>
    parts.map((part) => (typeof part === "string" ? part : String.fromCharCode(part))).join("");
  const frame = (
    type: number,
    flags: number,
    stream: number,
    payload: string,
    length = payload.length,
  ) => bytes(0, 0, length, type, flags, 0, 0, 0, stream, payload);
  const say = (text: string): string =>
    `printf '${[...text].map((char) => `\\${char.charCodeAt(0).toString(8).padStart(3, "0")}`).join("")}'`;
  const [data, settings, headers] = [0, 4, 1];
  const [ack, endStream, endHeaders] = [1, 1, 4];
  const message = bytes(0, 0, 0, 0, 2, 8);
  const answer =
    frame(settings, ack, 0, "") +
    frame(headers, endHeaders, 1, bytes(0x88)) +
    frame(data, 0, 1, message, message.length + 1);
  const trailers = bytes(0, 11, "grpc-status", 1, "0");
  return [
    `${say(bytes(1))} >/tmp/status`,
    "cat >/tmp/serve <<'END'",
    say(frame(settings, 0, 0, "")),
    // The client's preface, its settings, and at least the head of its request.
    "head -c 60 >/dev/null",
    `${say(answer)}; cat /tmp/status; ${say(frame(headers, endHeaders | endStream, 1, trailers))}`,
    "cat >/dev/null",
    "END",
    "exec nc -ll -p 5000 -e sh /tmp/serve",
  ].join("\n");
})();

describe.concurrent("probes", () => {
  test("scenario 10: a failing HTTP liveness probe restarts the container, with its events", async () => {
    const livenessProbe = {
      httpGet: { path: "/healthy", port: 8080 },
      initialDelaySeconds: 1,
      periodSeconds: 1,
      failureThreshold: 3,
    };
    await cluster.apply(
      podManifest("live", { containers: [shell("main", WEB, { livenessProbe })] }),
    );
    const before = await cluster.ready("live");
    await inPod("live", "rm /www/healthy");
    const after = await cluster.until("live", "restarted", (pod) => {
      const main = pod.status.containerStatuses?.[0];
      return main?.restartCount === 1 && main.state.running !== undefined;
    });
    expect(after.metadata.uid).toBe(before.metadata.uid);
    const reasons = await eventually("the events are there", async () => {
      const found = await cluster.eventReasons("live");
      return found.includes("Unhealthy") && found.includes("Killing") && found;
    });
    expect(reasons.indexOf("Unhealthy")).toBeGreaterThanOrEqual(0);
  });

  test("scenario 11: a pod that is not ready leaves its Service's endpoints, and comes back", async () => {
    const readinessProbe = {
      httpGet: { path: "/ready", port: "web" },
      periodSeconds: 1,
      failureThreshold: 2,
    };
    const ports = [{ name: "web", containerPort: 8080 }];
    await cluster.apply(
      podManifest(
        "unready",
        { containers: [shell("main", WEB, { readinessProbe, ports })] },
        { app: "unready" },
      ),
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "unready" },
        spec: { selector: { app: "unready" }, ports: [{ port: 80, targetPort: "web" }] },
      },
    );
    const pod = await cluster.ready("unready");
    const { spec } = await cluster.node.json<{ spec: { clusterIP: string } }>(
      ...["-n", cluster.namespace, "get", "service", "unready"],
    );
    const get = () =>
      cluster.node.exec(["curl", "-s", "-m", "2", `http://${spec.clusterIP}/healthy`]);
    await eventually("the Service answers", async () => (await get()).stdout === "ok\n");
    await inPod("unready", "rm /www/ready");
    await cluster.until("unready", "not Ready", (seen) =>
      seen.status.conditions.some((c) => c.type === "Ready" && c.status === "False"),
    );
    await eventually("the Service refuses", async () => (await get()).code === 7);
    expect(await cluster.kubectl("get", "endpoints", "unready")).not.toContain(pod.status.podIP);
    await inPod("unready", "echo ok >/www/ready");
    const back = await cluster.ready("unready");
    await eventually("the Service answers again", async () => (await get()).stdout === "ok\n");
    expect(back.status.containerStatuses?.[0]?.restartCount).toBe(0);
  });

  test("scenario 12: TCP and exec probes, and a startup probe that holds back the liveness probe", async () => {
    const script = `sleep 4; ${WEB}`;
    await cluster.apply(
      podManifest("slow", {
        containers: [
          shell("main", script, {
            startupProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1, failureThreshold: 30 },
            livenessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1, failureThreshold: 1 },
            readinessProbe: { exec: { command: ["test", "-f", "/www/ready"] }, periodSeconds: 1 },
          }),
        ],
      }),
    );
    const pod = await cluster.ready("slow");
    expect(pod.status.containerStatuses?.[0]?.restartCount).toBe(0);
  });

  test("scenario 12: a gRPC liveness probe restarts a container that is not serving any more", async () => {
    const grpc = { port: 5000, service: "all" };
    const probes = {
      startupProbe: { grpc, periodSeconds: 1, timeoutSeconds: 5 },
      readinessProbe: { grpc, periodSeconds: 1, timeoutSeconds: 5 },
      livenessProbe: { grpc, periodSeconds: 1, timeoutSeconds: 5 },
    };
    await cluster.apply(podManifest("grpc", { containers: [shell("main", GRPC, probes)] }));
    const before = await cluster.ready("grpc");
    expect(before.status.containerStatuses?.[0]?.restartCount).toBe(0);
    await inPod("grpc", "printf '\\002' >/tmp/status");
    await cluster.until("grpc", "restarted and Ready", (pod) => {
      const main = pod.status.containerStatuses?.[0];
      return main?.restartCount === 1 && main.ready;
    });
    const events = await cluster.kubectl("get", "events", "-o", "jsonpath={.items[*].message}");
    expect(events).toContain(
      'Liveness probe failed: service unhealthy (responded with "NOT_SERVING")',
    );
    expect(events).toContain("Container main failed liveness probe, will be restarted");
  });

  test("a redirect to another host passes a probe, with a warning", async () => {
    const answer = "HTTP/1.1 302 Found\\r\\nLocation: http://0.0.0.0/\\r\\n\\r\\ngone there";
    const script = `echo "printf '${answer}'" >/tmp/serve; exec nc -ll -p 8080 -e sh /tmp/serve`;
    const livenessProbe = { httpGet: { port: 8080 }, periodSeconds: 1, failureThreshold: 1 };
    const readinessProbe = { httpGet: { port: 8080 }, periodSeconds: 1 };
    await cluster.apply(
      podManifest("redirects", {
        containers: [shell("main", script, { livenessProbe, readinessProbe })],
      }),
    );
    await cluster.ready("redirects");
    await eventually("the event is there", async () => {
      const events = await cluster.kubectl("get", "events", "-o", "jsonpath={.items[*].message}");
      return events.includes("Probe terminated redirects, Response body: gone there");
    });
    expect(await cluster.eventReasons("redirects")).toContain("ProbeWarning");
  });

  test("a pod that ends is asked for its readiness to the end, and for nothing else", async () => {
    const file = (name: string) => ({
      ...{ exec: { command: ["test", "-f", `/tmp/${name}`] } },
      ...{ periodSeconds: 1, failureThreshold: 1, timeoutSeconds: 10 },
    });
    const script =
      "trap 'rm /tmp/ready /tmp/alive; until [ -f /tmp/end ]; do sleep 0.2; done; exit 0' TERM; " +
      "touch /tmp/ready /tmp/alive; while true; do sleep 0.2; done";
    const probes = { readinessProbe: file("ready"), livenessProbe: file("alive") };
    await cluster.apply(
      podManifest("ends", {
        terminationGracePeriodSeconds: 300,
        containers: [shell("main", script, probes)],
      }),
    );
    await cluster.ready("ends");
    await cluster.kubectl("delete", "pod", "ends", "--wait=false");
    const ending = await cluster.until("ends", "not Ready any more", ({ metadata, status }) => {
      return (
        metadata.deletionTimestamp !== undefined && status.containerStatuses?.[0]?.ready === false
      );
    });
    expect(ending.status.containerStatuses?.[0]?.state.running).toBeDefined();
    const reasons = await cluster.kubectl("get", "events", "-o", "jsonpath={.items[*].message}");
    expect(reasons).toContain("Readiness probe failed");
    expect(ending.status.containerStatuses?.[0]?.restartCount).toBe(0);
    await inPod("ends", "touch /tmp/end");
    await cluster.gone("ends");
    expect(await cluster.eventReasons("ends")).not.toContain("BackOff");
  });

  test("an exec probe that hangs fails, and leaves no process behind", async () => {
    const readinessProbe = {
      exec: { command: ["sleep", "1234"] },
      periodSeconds: 2,
      timeoutSeconds: 1,
    };
    await cluster.apply(
      podManifest("hangs", { containers: [shell("main", IDLE, { readinessProbe })] }),
    );
    await eventually("the event Unhealthy is there", async () =>
      (await cluster.eventReasons("hangs")).includes("Unhealthy"),
    );
    await eventually("at most the probe in flight is there", async () => {
      const text = await inPod("hangs", "ps | grep 'sleep 1234' | grep -v grep | wc -l");
      return Number(text) <= 1;
    });
    expect((await cluster.pod("hangs")).status.containerStatuses?.[0]?.ready).toBe(false);
  });
});
