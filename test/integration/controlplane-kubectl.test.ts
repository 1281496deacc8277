/**
 * The embedded API server under the real kubectl: every version found beside the kubectl on PATH, and that one,
 * through the verbs a newcomer uses, without any flag.
 */

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ControlPlane, startControlPlane } from "../../src/controlplane/controlplane.ts";
import { systemClock } from "../../src/core/clock.ts";
import { type CommandResult, createExec } from "../../src/core/exec.ts";
import { createLogger } from "../../src/core/logger.ts";
import { localKubectls } from "../support/local-kubectls.ts";

const exec = createExec(systemClock);
const log = createLogger({ level: "silent", pretty: false, write: () => undefined });

const manifest = `
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers: [{name: c, image: busybox}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: blue}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {clusterIP: None, selector: {app: web}, ports: [{port: 80}]}
`;

let dir = "";
let controlPlane: ControlPlane;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "longshore-controlplane-"));
  writeFileSync(join(dir, "all.yaml"), manifest);
  controlPlane = await startControlPlane({
    dir,
    address: "127.0.0.1",
    port: 0,
    clock: systemClock,
    random: Math.random,
    randomUid: () => crypto.randomUUID(),
    log,
  });
});

afterAll(async () => {
  await controlPlane.stop();
  rmSync(dir, { recursive: true });
});

function run(file: string, args: readonly string[]): Promise<CommandResult> {
  const env = {
    PATH: process.env.PATH ?? "",
    HOME: dir,
    KUBECONFIG: controlPlane.adminKubeconfig,
  };
  return exec({ file, args, env, timeoutMs: 20_000 }, new AbortController().signal);
}

describe.skipIf(localKubectls.length === 0).each(localKubectls)("%s", (kubectl) => {
  const ok = async (...args: readonly string[]): Promise<string> => {
    const result = await run(kubectl, args);
    expect(result, args.join(" ")).toMatchObject({ code: 0, stderr: "" });
    return result.stdout.trim();
  };
  const refused = async (...args: readonly string[]): Promise<string> => {
    const result = await run(kubectl, args);
    expect(result.code, args.join(" ")).not.toBe(0);
    return result.stderr;
  };

  test("applies, changes and deletes objects", async () => {
    const file = join(dir, "all.yaml");
    expect(await ok("apply", "-f", file)).toContain("pod/web created");
    expect(await ok("apply", "-f", file)).toBe(
      "pod/web unchanged\nconfigmap/settings unchanged\nservice/web unchanged",
    );
    await ok("label", "pod", "web", "tier=front");
    await ok("annotate", "pod", "web", "note=x");
    await ok("patch", "cm", "settings", "-p", '{"data":{"a":"1"}}');
    await ok("patch", "cm", "settings", "--type=merge", "-p", '{"data":{"a":null,"b":"2"}}');
    const operations = '[{"op":"add","path":"/data/c","value":"3"}]';
    await ok("patch", "cm", "settings", "--type=json", "-p", operations);
    expect(await ok("get", "cm", "settings", "-o", "jsonpath={.data}")).toBe(
      '{"b":"2","c":"3","color":"blue"}',
    );
    expect(await ok("get", "pods", "-l", "tier in (front),app=web", "--show-labels")).toMatch(
      /^NAME +READY +STATUS +RESTARTS +AGE +LABELS\nweb +0\/1 +Pending +0 +\S+ +app=web,tier=front$/,
    );
    expect(await ok("describe", "pod", "web")).toContain("Status:           Pending");
    await ok("delete", "-f", file);
    expect(await refused("get", "pod", "web")).toBe(
      'Error from server (NotFound): pods "web" not found\n',
    );
  });

  test("creates by generators, and refuses in the API server's words", async () => {
    await ok("create", "configmap", "one", "--from-literal=a=b");
    expect(await refused("create", "configmap", "one")).toContain(
      'configmaps "one" already exists',
    );
    const old = await ok("get", "cm", "one", "-o", "json");
    writeFileSync(join(dir, "old.json"), old);
    await ok("label", "cm", "one", "k=v");
    expect(await refused("replace", "-f", join(dir, "old.json"))).toContain(
      "the object has been modified; please apply your changes to the latest version and try again",
    );
    await ok("delete", "cm", "one");
  });

  test("discovers every resource", async () => {
    const names = await ok("api-resources", "-o", "name");
    expect(names.split("\n")).toEqual(
      expect.arrayContaining(["pods", "nodes", "endpointslices.discovery.k8s.io"]),
    );
  });
});
