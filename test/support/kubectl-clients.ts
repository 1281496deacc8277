/** Every kubectl that is installed on the node, with each of its streaming protocols. */

import { basename } from "node:path";
import { expect } from "vitest";
import type { Cluster } from "./cluster.ts";
import { type Result, run } from "./node-container.ts";

/** A program of the node by the path of its binary, with the streaming protocol it is told to use. */
export interface Client {
  readonly path: string;
  readonly websockets: boolean;
}

/** Gives the node the other versions that this machine has beside its kubectl, if any. */
export async function bringClients(cluster: Cluster): Promise<void> {
  const beside =
    "p=$(command -v kubectl) && ls $(dirname $(readlink -f $p))/kubectl.1.* 2>/dev/null || true";
  const { stdout } = await run(["bash", "-c", beside]);
  for (const path of stdout.split("\n").filter((line) => line !== ""))
    await run(["docker", "cp", "-q", path, `${cluster.node.id}:/usr/local/bin/${basename(path)}`]);
}

export async function findClients(cluster: Cluster): Promise<readonly Client[]> {
  const found = await cluster.node.sh(
    "ls $(echo $PATH | tr : '\\n' | sed 's|$|/kubectl*|') 2>/dev/null | xargs readlink -f | sort -u",
  );
  const paths = found.split("\n").filter((path) => /\/kubectl(\.\d+\.\d+)?$/.test(path));
  expect(paths.length).toBeGreaterThan(0);
  return paths.flatMap((path) => [
    { path, websockets: true },
    { path, websockets: false },
  ]);
}

/** A shell script on the node with `k` for the client in the test's namespace. */
export function script(
  cluster: Cluster,
  { path, websockets }: Client,
  text: string,
  timeoutMs = 120_000,
): Promise<Result> {
  const env = `export KUBECTL_REMOTE_COMMAND_WEBSOCKETS=${websockets} KUBECTL_PORT_FORWARD_WEBSOCKETS=${websockets}`;
  return cluster.node.exec(
    ["bash", "-c", `${env}; k() { ${path} -n ${cluster.namespace} "$@"; }; ${text}`],
    { timeoutMs },
  );
}

/** One after the other; a failure names the client. */
export async function forEachClient(
  clients: readonly Client[],
  look: (client: Client, index: number) => Promise<void>,
): Promise<void> {
  expect(clients.length).toBeGreaterThan(0);
  for (const [index, client] of clients.entries())
    await look(client, index).catch((cause: unknown) => {
      throw new Error(`${client.path}, WebSockets ${client.websockets}`, { cause });
    });
}
