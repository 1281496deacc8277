/** Ports of the node that lead to pods, end to end: upstream's conformance test of them, and the refusal of a conflict. */

import { expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";

const cluster = useCluster();
const PORT = 54_323;

const server = (name: string, port: object): object =>
  podManifest(name, {
    nodeName: "node1",
    containers: [
      shell("main", `echo ${name} >/tmp/hostname; exec httpd -f -p 8080 -h /tmp`, {
        ports: [{ containerPort: 8080, hostPort: PORT, ...port }],
      }),
    ],
  });

test("one port serves three pods by address and protocol, and no fourth", async () => {
  const client = { hostNetwork: true, containers: [shell("main", IDLE)] };
  await cluster.apply(podManifest("client", client), server("first", { hostIP: "127.0.0.1" }));
  const { status } = await cluster.ready("client");
  const hostIP = status.hostIP ?? expect.fail("no hostIP");
  await cluster.apply(server("second", { hostIP }), server("third", { hostIP, protocol: "UDP" }));
  await Promise.all(["first", "second", "third"].map((name) => cluster.ready(name)));
  const ask = async (address: string): Promise<string> =>
    (
      await cluster.tryKubectl(
        ...["exec", "client", "--", "wget", "-qO-", "-T", "3"],
        `http://${address}:${PORT}/hostname`,
      )
    ).stdout;
  expect(await ask("127.0.0.1")).toBe("first\n");
  expect(await ask(hostIP)).toBe("second\n");
  await cluster.apply(server("every", {}));
  const refused = await cluster.until("every", "Failed", (pod) => pod.status.phase === "Failed");
  expect(refused.status.reason).toBe("NodePorts");
  await cluster.kubectl("delete", "pod", "second", "every");
  expect(await ask(hostIP)).toBe("");
  await cluster.apply(server("next", {}));
  await cluster.until("next", "Failed", (pod) => pod.status.phase === "Failed");
  await cluster.kubectl("delete", "pod", "first", "third", "next");
  await cluster.apply(server("last", { hostIP: "0.0.0.0" }));
  await cluster.ready("last");
  expect([await ask("127.0.0.1"), await ask(hostIP)]).toEqual(["last\n", "last\n"]);
});
