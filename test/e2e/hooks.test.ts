/** Lifecycle hooks as the conformance suite has them: a sidecar that must be up before its pod's hooks and outlive them. */

import { beforeAll, describe, expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";
import { eventually } from "../support/node-container.ts";

const cluster = useCluster();

/** A web server that runs `script` for each request, with what stands after the question mark as $QUERY_STRING. */
const serve = (script: string) => `mkdir -p /www/cgi-bin
cat >/www/cgi-bin/do <<'END'
#!/bin/sh
printf 'Content-type: text/plain\\r\\n\\r\\n'
${script}
END
chmod +x /www/cgi-bin/do; echo up >/www/index.html; httpd -p 8080 -h /www; ${IDLE}`;

/** Passes on what it is asked to whom it is asked: the hook's own target is the pod. */
const sidecar = shell("sidecar", serve('wget -q -T 5 -O - "http://$QUERY_STRING"'), {
  restartPolicy: "Always",
  ports: [{ containerPort: 8080 }],
  startupProbe: { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 },
});

let handler = "";

const url = (message: string) => `${handler}:8080/cgi-bin/do?${message}`;
const wget = (message: string) => ({
  exec: { command: ["sh", "-c", `wget -q -T 5 -O - 'http://${url(message)}'`] },
});
const get = (message: string) => ({ httpGet: { path: `/cgi-bin/do?${url(message)}`, port: 8080 } });
const hooked = (name: string, lifecycle: object) =>
  podManifest(name, {
    terminationGracePeriodSeconds: 6,
    initContainers: [sidecar],
    containers: [shell("main", IDLE, { lifecycle })],
  });

async function heard(message: string): Promise<void> {
  await eventually(`the handler hears ${message}`, async () =>
    (await cluster.kubectl("logs", "handler")).split("\n").includes(`GOT ${message}`),
  );
}

beforeAll(async () => {
  const readinessProbe = { httpGet: { port: 8080 }, periodSeconds: 1 };
  const script = serve('echo "GOT $QUERY_STRING" >/proc/1/fd/1');
  await cluster.apply(
    podManifest("handler", { containers: [shell("main", script, { readinessProbe })] }),
  );
  handler = (await cluster.ready("handler")).status.podIP ?? "";
  await cluster.apply(
    hooked("post-exec", { postStart: wget("post-exec") }),
    hooked("post-http", { postStart: get("post-http") }),
    hooked("pre-exec", { preStop: wget("pre-exec") }),
    hooked("pre-http", { preStop: get("pre-http") }),
    hooked("fails", { postStart: { exec: { command: ["false"] } } }),
    podManifest("signalled", {
      os: { name: "linux" },
      terminationGracePeriodSeconds: 20,
      containers: [
        shell(
          "main",
          `trap 'wget -q -O - http://${url("signalled")}; exit 0' USR1; trap '' TERM; while true; do sleep 0.2; done`,
          {
            lifecycle: { stopSignal: "SIGUSR1", preStop: { sleep: { seconds: 1 } } },
          },
        ),
      ],
    }),
  );
});

describe.concurrent("a hook", () => {
  test.each(["post-exec", "post-http"])("after the start is run: %s", async (name) => {
    const pod = await cluster.ready(name);
    await heard(name);
    expect(await cluster.kubectl("get", "pod", name)).toMatch(/2\/2\s+Running\s+0/);
    expect(pod.status.initContainerStatuses?.[0]).toMatchObject({ ready: true, restartCount: 0 });
  });

  test.each(["pre-exec", "pre-http"])("before the stop is run: %s", async (name) => {
    await cluster.ready(name);
    await cluster.kubectl("delete", "pod", name, "--wait=false");
    await heard(name);
    await cluster.gone(name);
  });

  test("that fails after the start ends its container, with an event", async () => {
    await cluster.until(
      "fails",
      "restarted",
      ({ status }) => (status.containerStatuses?.[0]?.restartCount ?? 0) > 0,
    );
    expect(await cluster.eventReasons("fails")).toContain("FailedPostStartHook");
  });

  test("that sleeps comes before the signal that the container asked for", async () => {
    await cluster.ready("signalled");
    await cluster.kubectl("delete", "pod", "signalled", "--wait=false");
    await heard("signalled");
    await cluster.gone("signalled");
  });
});
