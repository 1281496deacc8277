/**
 * Every kubectl that is installed on the node: the essential verbs, logs and exec. Versions before 1.30 stream over
 * SPDY, later ones over WebSockets; which are there is found at run time (`kubectl`, `kubectl.1.27`, …).
 */

import { beforeAll, describe, expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";
import type { Result } from "../support/node-container.ts";

const cluster = useCluster();

/** 8 MiB that compress badly and hold every byte value; made on the node, so that only hashes travel. */
const BYTES = 8 * 1024 * 1024;
const MAKE_FILE = `head -c ${BYTES} /dev/urandom >/tmp/matrix.bin; sha256sum </tmp/matrix.bin`;

/** A program of the node by the path of its binary, with the streaming protocol it is told to use. */
interface Client {
  readonly path: string;
  readonly websockets: boolean;
}

let clients: readonly Client[] = [];
let sum = "";

beforeAll(async () => {
  const found = await cluster.node.sh(
    "ls $(echo $PATH | tr : '\\n' | sed 's|$|/kubectl*|') 2>/dev/null | xargs readlink -f | sort -u",
  );
  const paths = found.split("\n").filter((path) => /\/kubectl(\.\d+\.\d+)?$/.test(path));
  clients = paths.flatMap((path) => [
    { path, websockets: true },
    { path, websockets: false },
  ]);
  sum = await cluster.node.sh(MAKE_FILE);
  await cluster.apply(
    podManifest(
      "target",
      {
        initContainers: [shell("first", "echo from-init")],
        containers: [shell("main", `echo out; echo err >&2; ${IDLE}`), shell("other", IDLE)],
      },
      { app: "target" },
    ),
  );
  await cluster.ready("target");
});

/** A shell script on the node with `k` for the client in the test's namespace. */
function script({ path, websockets }: Client, text: string): Promise<Result> {
  const env = `export KUBECTL_REMOTE_COMMAND_WEBSOCKETS=${websockets}`;
  return cluster.node.exec([
    ...["bash", "-c", `${env}; k() { ${path} -n ${cluster.namespace} "$@"; }; ${text}`],
  ]);
}

async function forEachClient(look: (client: Client) => Promise<void>): Promise<void> {
  expect(clients.length).toBeGreaterThan(0);
  for (const client of clients)
    await look(client).catch((cause: unknown) => {
      throw new Error(`${client.path}, WebSockets ${client.websockets}`, { cause });
    });
}

describe("every installed kubectl", () => {
  test("creates, reads, changes, waits for and deletes", async () => {
    await forEachClient(async (client) => {
      const { code, stdout, stderr } = await script(
        client,
        `set -e
        k create configmap verbs --from-literal=a=b
        k get configmap verbs -o jsonpath='{.data.a}{"\\n"}'
        k get pods -o wide | grep -c target
        k get pods -o custom-columns=N:.metadata.name --no-headers
        k label configmap verbs l=1
        k annotate configmap verbs n=1
        k patch configmap verbs --type=merge -p '{"data":{"a":"c"}}'
        k patch configmap verbs --type=json -p '[{"op":"add","path":"/data/x","value":"old"}]'
        EDITOR='sed -i s/old/new/' k edit configmap verbs
        k get configmap verbs -o jsonpath='{.data}{"\\n"}'
        k wait --for=condition=Ready pod/target --timeout=5s
        k describe pod target | grep -c 'Started container'
        k delete configmap verbs
        k wait --for=delete configmap/verbs --timeout=5s`,
      );
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      expect(stdout).toContain('{"a":"c","x":"new"}\n');
    });
  });

  test("shows logs of a container, of all and of a selection", async () => {
    await forEachClient(async (client) => {
      const logs = async (line: string) => (await script(client, `k logs ${line}`)).stdout;
      expect(await logs("target -c main --tail=1")).toMatch(/^(out|err)\n$/);
      expect(await logs("target -c main --limit-bytes=2")).toHaveLength(2);
      expect(await logs("target --all-containers --prefix")).toContain(
        "[pod/target/first] from-init\n",
      );
      expect(await logs("-l app=target -c first")).toBe("from-init\n");
    });
  });

  test("runs commands with their exit code and both outputs apart", async () => {
    await forEachClient(async (client) => {
      expect(
        await script(client, "k exec target -c main -- sh -c 'echo out; echo err >&2; exit 42'"),
      ).toEqual({
        code: 42,
        stdout: "out\n",
        stderr: "err\ncommand terminated with exit code 42\n",
      });
      const ended = await script(client, "k exec target -c first -- true");
      expect(ended.code).toBe(1);
      expect(ended.stderr).toContain('container not found ("first")');
      const missing = await script(client, "k exec target -c main -- nothing");
      expect(missing.code).toBe(126);
      // The runtime's words come on the command's stdout.
      expect(missing.stdout).toContain("executable file not found");
    });
  });

  test("gives a command the terminal's size although it is sent before the command has started", async () => {
    await forEachClient(async ({ path, websockets }) => {
      const line = `${path} -n ${cluster.namespace} exec -it target -c main -- sh -c "sleep 1; stty size"`;
      const text = await cluster.node.sh(
        `export KUBECTL_REMOTE_COMMAND_WEBSOCKETS=${websockets}; script -qec 'stty rows 33 cols 99; ${line}' /dev/null`,
      );
      expect(text).toContain("33 99");
    });
  });

  test("carries 8 MiB in and back byte for byte, and does not wait for a command that never reads", async () => {
    expect(sum).toMatch(/^[0-9a-f]{64} /);
    await forEachClient(async (client) => {
      const there = await script(client, "k exec -i target -c main -- sha256sum </tmp/matrix.bin");
      expect(there).toEqual({ code: 0, stdout: sum, stderr: "" });
      const back = await script(
        client,
        "k exec -i target -c main -- cat </tmp/matrix.bin | sha256sum",
      );
      expect(back.stdout).toBe(sum);
      const unread = await script(client, "k exec -i target -c main -- true </tmp/matrix.bin");
      expect(unread.code).toBe(0);
    });
  });
});

test("kubectl cp carries a folder both ways byte for byte", async () => {
  await cluster.node.sh("mkdir -p /tmp/matrix/in && cp /tmp/matrix.bin /tmp/matrix/in/f");
  await cluster.kubectl("cp", "/tmp/matrix", "target:/tmp/matrix", "-c", "main");
  await cluster.kubectl("cp", "target:/tmp/matrix", "/tmp/matrix-back", "-c", "main");
  await cluster.node.sh("diff -r /tmp/matrix /tmp/matrix-back; rm -r /tmp/matrix /tmp/matrix-back");
});

test("kubectl run --rm -i shows what the pod says and leaves no pod", async () => {
  const ran = await cluster.tryKubectl(
    ...["run", "once", "--rm", "-i", "--restart=Never", "--image=busybox"],
    ...["--image-pull-policy=IfNotPresent", "--", "sh", "-c", "sleep 2; echo hi"],
  );
  expect(ran.stdout).toContain("hi\n");
  expect((await cluster.tryKubectl("get", "pod", "once")).stderr).toContain("NotFound");
});

test("logs -f ends with its container although the pod starts another", async () => {
  await cluster.apply(
    podManifest("again", { containers: [shell("main", "echo start; sleep 2; echo end; exit 3")] }),
  );
  await cluster.until("again", "running", ({ status }) => status.phase === "Running");
  expect(await cluster.kubectl("logs", "-f", "again")).toBe("start\nend\n");
});
