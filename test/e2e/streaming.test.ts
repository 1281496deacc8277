/**
 * Attach, port-forward and cp with every kubectl of the node, over WebSocket and over SPDY: bytes are identical, each
 * direction ends by itself, terminals have the client's size, failures are told in upstream's words.
 */

import { beforeAll, describe, expect, test } from "vitest";
import { IDLE, podManifest, type SeenPod, shell, useCluster } from "../support/cluster.ts";
import {
  bringClients,
  type Client,
  findClients,
  forEachClient,
  script,
} from "../support/kubectl-clients.ts";

const cluster = useCluster();

const RUN = "--image=busybox --image-pull-policy=IfNotPresent --restart=Never";
const TIMEOUT = { timeout: 600_000 };

let clients: readonly Client[] = [];
let sum = "";

const ok = async (client: Client, text: string): Promise<string> => {
  const { code, stdout, stderr } = await script(cluster, client, `set -e; ${text}`);
  expect({ code, stderr: code === 0 ? "" : stderr, stdout: code === 0 ? "" : stdout }).toEqual({
    ...{ code: 0, stderr: "", stdout: "" },
  });
  return stdout;
};

beforeAll(async () => {
  await bringClients(cluster);
  clients = await findClients(cluster);
  sum = (
    await cluster.node.sh(
      "head -c 8388608 /dev/urandom >/tmp/streaming.bin; sha256sum </tmp/streaming.bin",
    )
  ).trim();
  const serve =
    "mkdir /www; head -c 1048576 /dev/urandom >/www/file; httpd -p 127.0.0.1:8080 -h /www;" +
    `nc -ll -p 9000 -e /bin/sha256sum & nc -ll -p 9001 -e /bin/cat & ${IDLE}`;
  const talk = `i=0; while true; do i=$((i+1)); echo tick $i; echo tock >&2; sleep 0.2; done`;
  await cluster.apply(
    podManifest("server", { containers: [shell("main", serve)] }),
    podManifest("talker", { containers: [shell("main", `trap 'exit 0' TERM; ${talk}`)] }),
  );
  await Promise.all([cluster.ready("server"), cluster.ready("talker")]);
});

describe("attach", () => {
  test("kubectl run -i --rm brings the bytes of its input to a program that ends with it", {
    ...TIMEOUT,
  }, async () => {
    await forEachClient(clients, async (client, index) => {
      const name = `sum-${index}`;
      const out = await ok(
        client,
        `k run ${name} ${RUN} -i --rm --quiet -- sha256sum </tmp/streaming.bin`,
      );
      expect(out).toContain(sum);
    });
  });

  test("a terminal has the client's size, and its end is the command's", {
    ...TIMEOUT,
  }, async () => {
    await forEachClient(clients, async (client, index) => {
      const run = `${client.path} -n ${cluster.namespace} run tty-${index} ${RUN} -i --tty --rm --command -- sh`;
      const typed =
        "for i in $(seq 5); do sleep 0.4; echo 'stty size; echo is-$((40+2))'; done; echo exit";
      const { stdout } = await script(
        cluster,
        client,
        `(${typed}) | timeout 60 script -qec 'stty rows 33 cols 101; ${run}' /dev/null`,
      );
      expect(stdout).toContain("33 101");
      expect(stdout).toContain("is-42");
      await cluster.gone(`tty-${index}`);
    });
  });

  test("outputs are told apart, and a client that goes away ends nothing", {
    ...TIMEOUT,
  }, async () => {
    await forEachClient(clients, async (client) => {
      const { stdout } = await script(
        cluster,
        client,
        "timeout 2 " +
          `${client.path} -n ${cluster.namespace} attach talker 2>/tmp/err; grep -c tock /tmp/err`,
      );
      expect(stdout).toMatch(/tick \d+\n/);
      expect(Number(stdout.trim().split("\n").at(-1))).toBeGreaterThan(0);
    });
    expect((await cluster.pod("talker")).status.containerStatuses?.[0]?.restartCount).toBe(0);
  });

  test("kubectl debug -it gives a terminal in an ephemeral container", { ...TIMEOUT }, async () => {
    await forEachClient(clients, async (client, index) => {
      const debug = `${client.path} -n ${cluster.namespace} debug server -i --tty -c dbg-${index} --image=busybox --image-pull-policy=IfNotPresent --target=main -- sh`;
      const typed =
        "for i in $(seq 5); do sleep 0.4; echo 'echo is-$((40+2)); pidof httpd'; done; echo exit";
      const { stdout } = await script(
        cluster,
        client,
        `(${typed}) | timeout 60 script -qec '${debug}' /dev/null`,
      );
      expect(stdout).toContain("is-42");
    });
    const isOver = ({ status }: SeenPod): boolean =>
      (status.ephemeralContainerStatuses ?? []).length === clients.length;
    expect(isOver(await cluster.pod("server"))).toBe(true);
  });

  test("what cannot be attached to is told in upstream's words", async () => {
    const { stderr } = await cluster.tryKubectl("attach", "server", "-c", "none");
    expect(stderr).toContain("none");
  });
});

/** Starts a port-forward of `port`; the script goes on with $P, and what kubectl says is in $OUT. */
function forwarding(port: number, text: string): string {
  return (
    "OUT=$(mktemp); " +
    `k port-forward pod/server :${port} >$OUT 2>&1 & PF=$!; trap 'kill $PF 2>/dev/null || true' EXIT;` +
    "for i in $(seq 200); do grep -q 'Forwarding from 127' $OUT && break; sleep 0.1; done;" +
    `P=$(sed -n 's/Forwarding from 127.0.0.1:\\([0-9]*\\) .*/\\1/p' $OUT); ${text}`
  );
}

/** Sends a file, ends its side, then reads the answer. */
const HALF_CLOSE =
  'perl -MIO::Socket::INET -e \'$s=IO::Socket::INET->new("127.0.0.1:$ARGV[0]") or die; open F,"/tmp/streaming.bin"; while(read F,$b,65536){print $s $b} $s->flush; shutdown $s,1; print while <$s>\' $P';

describe("port-forward", () => {
  test("50 connections at once get the bytes of a server on the pod's loopback", {
    ...TIMEOUT,
  }, async () => {
    await forEachClient(clients, async (client) => {
      const out = await ok(
        client,
        forwarding(
          8080,
          'for i in $(seq 50); do curl -s http://127.0.0.1:$P/file | sha256sum & C="$C $!"; done; wait $C; k exec server -- sha256sum /www/file',
        ),
      );
      const sums = out
        .trim()
        .split("\n")
        .map((line) => line.split(" ")[0]);
      expect(sums.length).toBe(51);
      expect(new Set(sums).size).toBe(1);
    });
  });

  test("a client that ends its side still gets the answer", { ...TIMEOUT }, async () => {
    await forEachClient(clients, async (client) => {
      expect(await ok(client, forwarding(9000, `${HALF_CLOSE}; ${HALF_CLOSE}`))).toBe(
        `${sum}\n${sum}\n`,
      );
    });
  });

  test("a port where nobody listens is told in upstream's words", { ...TIMEOUT }, async () => {
    await forEachClient(clients, async (client) => {
      const { stdout } = await script(
        cluster,
        client,
        forwarding(
          7777,
          "curl -s http://127.0.0.1:$P/; for i in $(seq 50); do grep -q refused $OUT && break; sleep 0.1; done; cat $OUT",
        ),
      );
      expect(stdout).toMatch(
        /error forwarding port 7777 to pod server_test-\w+, uid [0-9a-f-]+: .*dial tcp4 127.0.0.1:7777: connect: connection refused/,
      );
    });
  });
});

test("kubectl cp brings files and folders both ways", { ...TIMEOUT }, async () => {
  await cluster.node.sh(
    "rm -rf /tmp/tree; mkdir -p /tmp/tree/a/b; for i in $(seq 200); do head -c 20000 /dev/urandom >/tmp/tree/a/b/$i; done; cp /tmp/streaming.bin /tmp/tree/a/big; touch /tmp/tree/empty",
  );
  const tree = "find . -type f | sort | xargs sha256sum | sha256sum";
  await forEachClient(clients, async (client, index) => {
    const out = await ok(
      client,
      `rm -rf /tmp/back; k cp /tmp/tree server:/tmp/tree-${index} >/dev/null; k cp server:/tmp/tree-${index} /tmp/back >/dev/null;` +
        `cd /tmp/tree && ${tree}; cd /tmp/back && ${tree}; k exec server -- sh -c 'cd /tmp/tree-${index} && ${tree}'`,
    );
    expect(new Set(out.trim().split("\n")).size).toBe(1);
  });
});
