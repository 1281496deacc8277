/** /etc/hosts as the kubelet manages it, and where it leaves it alone. */

import { beforeAll, describe, expect, test } from "vitest";
import { podManifest, shell, useCluster } from "../support/cluster.ts";

const cluster = useCluster();

const HEADER = "# Kubernetes-managed hosts file.";
const HOST_HEADER = "# Kubernetes-managed hosts file (host network).";
const reader = (name: string, container: object = {}, spec: object = {}) =>
  podManifest(name, {
    restartPolicy: "Never",
    containers: [shell("main", "cat /etc/hosts", container)],
    ...spec,
  });

const hostAliases = [
  { ip: "123.45.67.89", hostnames: ["foo", "bar"] },
  { ip: "fd00::1", hostnames: ["baz"] },
];
let outputs: Readonly<Record<string, string>> = {};
let nodeHosts = "";

beforeAll(async () => {
  nodeHosts = await cluster.node.sh("cat /etc/hosts");
  await cluster.apply(
    reader("plain", {}, { hostname: "me", subdomain: "sub" }),
    reader("aliases", {}, { hostAliases }),
    reader("host", {}, { hostNetwork: true, hostAliases }),
    reader(
      "own",
      { volumeMounts: [{ name: "h", mountPath: "/etc/hosts" }] },
      {
        volumes: [{ name: "h", hostPath: { path: "/srv/own-hosts", type: "FileOrCreate" } }],
      },
    ),
  );
  outputs = await cluster.outputs("plain", "aliases", "host");
});

describe("/etc/hosts of a pod", () => {
  test("is managed and names the pod", async () => {
    const { podIP } = (await cluster.pod("plain")).status;
    const lines = (outputs.plain ?? "").split("\n");
    expect(lines[0]).toBe(HEADER);
    expect(lines).toContain("127.0.0.1\tlocalhost");
    expect(lines).toContain(`${podIP}\tme.sub.${cluster.namespace}.svc.cluster.local\tme`);
  });

  test("has its aliases", () => {
    expect(outputs.aliases).toContain("\n123.45.67.89\tfoo\tbar\nfd00::1\tbaz\n");
  });

  test("on the host's network is the node's, with the aliases", () => {
    expect(outputs.host).toBe(
      `${HOST_HEADER}\n${nodeHosts}\n# Entries added by HostAliases.\n123.45.67.89\tfoo\tbar\nfd00::1\tbaz\n`,
    );
  });

  test("is left alone where the pod mounts its own", async () => {
    expect((await cluster.outputs("own")).own).not.toContain("Kubernetes-managed");
  });
});
