/** `longshore proxy render` on Kubernetes' packet-flow fixtures, through files and flags as a user has them. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { dump } from "js-yaml";
import { afterAll, describe, expect, test } from "vitest";
import { runProxyRender } from "../../../src/cli/proxy-render.ts";

interface Case {
  readonly name: string;
  readonly nodeName: string;
  readonly ipFamily: string;
  readonly services: readonly object[];
  readonly endpointSlices: readonly object[];
}

const FIXTURE = new URL("../../fixtures/packetflow-cases.json", import.meta.url);
const { cases } = JSON.parse(readFileSync(FIXTURE, "utf8")) as { readonly cases: readonly Case[] };
const dir = mkdtempSync(join(tmpdir(), "longshore-render-"));

afterAll(() => rmSync(dir, { recursive: true }));

async function render(input: string, flags: object = {}): Promise<string> {
  const out: string[] = [];
  const host = {
    hostname: "this-node",
    stdin: async () => input,
    stdout: (text: string) => void out.push(text),
    stderr: () => undefined,
  };
  expect(await runProxyRender(host, { objects: "-", ...flags })).toBe(0);
  return out.join("");
}

const typed = (kind: string, apiVersion: string, objects: readonly object[]) =>
  objects.map((object) => ({ kind, apiVersion, ...object }));

const itemsOf = (scenario: Case) => [
  ...typed("Service", "v1", scenario.services),
  ...typed("EndpointSlice", "discovery.k8s.io/v1", scenario.endpointSlices),
];

describe("longshore proxy render", () => {
  test.each(cases)(
    "gives the same text for a JSON List, YAML documents and any order: $name",
    async (scenario) => {
      const items = itemsOf(scenario);
      const flags = { nodeName: scenario.nodeName, ipFamily: scenario.ipFamily };
      const text = await render(JSON.stringify({ kind: "List", items }), flags);
      expect(text).toMatch(/^\*filter\n[\s\S]*COMMIT\n\*nat\n[\s\S]*COMMIT\n$/);
      const yaml = items
        .toReversed()
        .map((item) => dump(item))
        .join("---\n");
      const file = join(dir, "objects.yaml");
      writeFileSync(file, yaml);
      expect(await render("", { ...flags, objects: file })).toBe(text);
    },
  );

  test("takes the cluster CIDR from a flag or from kube-proxy's configuration", async () => {
    const scenario = cases.find(({ name }) => name === "TestClusterIPGeneral") as Case;
    const input = JSON.stringify({ kind: "List", items: itemsOf(scenario) });
    const config = join(dir, "kube-proxy.yaml");
    writeFileSync(
      config,
      "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nclusterCIDR: 10.9.0.0/16\n",
    );
    const byFile = await render(input, { config });
    expect(byFile).toContain("! -s 10.9.0.0/16");
    expect(await render(input, { clusterCidr: "10.9.0.0/16,fd00::/8" })).toBe(byFile);
    expect(await render(input)).not.toContain("10.9.0.0/16");
  });

  test.each([
    ["a family that is none", { ipFamily: "IPv5" }, "--ip-family"],
    ["an address that is none", { nodeIp: ["10.0.0.1", "node"] }, "--node-ip[1]"],
    ["a file that is not there", { objects: "/nonexistent/x" }, "cannot read /nonexistent/x"],
    [
      "a configuration that is not there",
      { config: "/nonexistent/c" },
      "cannot read /nonexistent/c",
    ],
  ])("refuses %s", async (_what, flags, message) => {
    await expect(render("", flags)).rejects.toThrow(message);
  });
});
