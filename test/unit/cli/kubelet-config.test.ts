/** The kubelet's flags and KubeletConfiguration, with the files that kubeadm 1.36 writes (test/fixtures/kubeadm). */

import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createKubeletCommand, toKubeletArguments } from "../../../src/cli/kubelet.ts";
import { readKubeletDocument } from "../../../src/cli/kubelet-config.ts";
import { KUBELET_FIELDS } from "../../../src/cli/kubelet-fields.ts";
import { type ReadConfig, readConfig } from "../../../src/cli/read-config.ts";

const KUBEADM = join(import.meta.dirname, "../../fixtures/kubeadm");
const HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "kubelet-config-"));
});

afterAll(() => rm(dir, { recursive: true }));

async function file(name: string, text: string): Promise<string> {
  const path = join(dir, name);
  await mkdir(join(path, ".."), { recursive: true });
  await writeFile(path, text);
  return path;
}

/** What `kubelet ARGS` would run with. */
async function run(...args: readonly string[]): Promise<ReadConfig> {
  let result: ReadConfig | undefined;
  const command = createKubeletCommand("0.1.0", async (flags, defaults) => {
    result = await readConfig({ hostname: "host-1" }, flags, defaults);
  });
  command.exitOverride().configureOutput({ writeErr: () => undefined });
  await command.parseAsync(toKubeletArguments(args), { from: "user" });
  if (result === undefined) throw new Error("the command did not run");
  return result;
}

async function read(yaml: string, ...args: readonly string[]): Promise<ReadConfig> {
  const path = await file("config.yaml", HEAD + yaml);
  return run("--kubeconfig=/k", `--config=${path}`, ...args);
}

describe("the files of kubeadm", () => {
  /** The words of the unit's ExecStart line after the name of the program, as systemd makes them. */
  async function kubeadmArguments(extra: string): Promise<readonly string[]> {
    const unit = await readFile(join(KUBEADM, "10-kubeadm.conf"), "utf8");
    const env = await readFile(join(KUBEADM, "kubeadm-flags.env"), "utf8");
    const values = new Map<string, string>([["KUBELET_EXTRA_ARGS", extra]]);
    for (const [, name = "", value = ""] of `${unit}\n${env}`.matchAll(
      /"?(KUBELET_\w+_ARGS)="?([^"\n]*)"/g,
    ))
      values.set(name, value);
    const line = [...unit.matchAll(/^ExecStart=(.+)$/gm)].at(-1)?.[1] ?? "";
    return line
      .replace(/\$(\w+)/g, (_, name: string) => values.get(name) ?? "")
      .replace("/var/lib/kubelet/config.yaml", join(KUBEADM, "config.yaml"))
      .split(" ")
      .slice(1)
      .filter((word) => word !== "");
  }

  test("are what the agent runs with, and what has no effect is said once", async () => {
    const { config, warnings } = await run(...(await kubeadmArguments("")));
    expect(config).toMatchObject({
      kubeconfig: "/etc/kubernetes/kubelet.conf",
      bootstrapKubeconfig: "/etc/kubernetes/bootstrap-kubelet.conf",
      rotateCertificates: true,
      clientCaFile: "/etc/kubernetes/pki/ca.crt",
      clusterDns: ["10.96.0.10"],
      staticPodPath: "/etc/kubernetes/manifests",
      cgroupDriver: "systemd",
      nodeName: "node1",
      nodeLabels: { "example.com/from": "kubeadm" },
      healthzPort: 10_248,
      authentication: { anonymous: false, webhook: true, cacheMs: 120_000 },
      authorization: { mode: "Webhook", allowedMs: 300_000, refusedMs: 30_000 },
      nodeStatusUpdateFrequencyMs: 10_000,
      nodeStatusReportFrequencyMs: 300_000,
      syncFrequencyMs: 60_000,
      containerRuntimeEndpoint: "unix:///var/run/docker.sock",
      rootDir: "/var/lib/kubelet",
      proxyMode: "off",
    });
    expect(warnings).toHaveLength(1);
    expect(warnings.join("\n")).toMatch(/containerd.sock is a CRI runtime/);
  });

  test("give way to KUBELET_EXTRA_ARGS, and lists from both add up", async () => {
    const extra =
      "--node-labels=a=b --register-with-taints=x=y:NoExecute --node-ip=192.0.2.7 --max-pods=20 --v=5 --proxy-mode=iptables --fail_swap_on=false --root-dir /r --pod-infra-container-image=registry.k8s.io/pause:3.10 --feature-gates=A=true,B=false";
    const { config, warnings } = await run(...(await kubeadmArguments(extra)));
    expect(config).toMatchObject({
      nodeLabels: { "example.com/from": "kubeadm", a: "b" },
      registerWithTaints: [{ key: "x", value: "y", effect: "NoExecute" }],
      nodeIps: ["192.0.2.7"],
      maxPods: 20,
      logLevel: "debug",
      proxyMode: "iptables",
      failSwapOn: false,
      rootDir: "/r",
    });
    expect(warnings.join("\n")).toMatch(/--pod-infra-container-image has no effect: no sandbox/);
    expect(warnings.join("\n")).toMatch(/--feature-gates has no effect/);
  });
});

describe("the name kubelet", () => {
  test("refuses a flag as the kubelet does", async () => {
    let said = "";
    const command = createKubeletCommand("0.1.0", async () => undefined);
    command.exitOverride().configureOutput({ writeErr: (words) => (said += words) });
    const parsed = command.parseAsync(["--network-plugin=cni"], { from: "user" });
    await expect(parsed).rejects.toThrow();
    expect(said).toBe("failed to parse kubelet flag: unknown flag: --network-plugin\n");
  });

  test("tells kubeadm a version of Kubernetes", async () => {
    let said = "";
    const command = createKubeletCommand("0.1.0", async () => undefined);
    command.exitOverride().configureOutput({ writeOut: (words) => (said += words) });
    await expect(command.parseAsync(["--version"], { from: "user" })).rejects.toThrow();
    expect(said).toMatch(/^Kubernetes v1\.36\.\d+\+longshore\.0\.1\.0\n$/);
  });

  test.each([
    [["-v=2"], "info"],
    [["-v", "4"], "debug"],
    [["--v", "10"], "debug"],
    [["--log-level=error"], "error"],
  ])("reads %j as the level %s", async (args, level) => {
    const path = await file("empty.yaml", HEAD);
    const { config } = await run("--kubeconfig=/k", `--config=${path}`, ...args);
    expect(config.logLevel).toBe(level);
  });
});

describe("KubeletConfiguration", () => {
  test("has its fields applied", async () => {
    const { config, warnings } = await read(`
authentication: {anonymous: {enabled: true}, webhook: {enabled: false, cacheTTL: 1m30s}}
authorization: {mode: AlwaysAllow, webhook: {cacheAuthorizedTTL: 10s, cacheUnauthorizedTTL: 1s}}
enableServer: false
enableDebuggingHandlers: false
enableSystemLogHandler: false
tlsMinVersion: VersionTLS13
tlsCipherSuites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305, TLS_RSA_WITH_AES_256_CBC_SHA, TLS_AES_128_GCM_SHA256]
registryPullQPS: 0
registryBurst: 3
healthzPort: 0
oomScoreAdj: -999
nodeStatusUpdateFrequency: 20s
nodeStatusMaxImages: -1
volumeStatsAggPeriod: -1s
podPidsLimit: -1
podCIDR: 10.1.0.0/24
resolvConf: ""
crashLoopBackOff: {maxContainerRestartPeriod: 1m0s}
containerLogMaxSize: 5Mi
containerLogMaxFiles: 3
failSwapOn: true
failCgroupV1: true
providerID: cloud://7
registerWithTaints: [{key: a, value: b, effect: NoSchedule}, {key: c, effect: NoExecute}]
evictionHard: {memory.available: 100%, nodefs.inodesFree: 0%}
systemReserved: {cpu: 500m, pid: "100"}
shutdownGracePeriod: 0s
cpuManagerPolicy: none
readOnlyPort: 0
`);
    expect(config).toMatchObject({
      authentication: { anonymous: true, webhook: false, cacheMs: 90_000 },
      authorization: { mode: "AlwaysAllow", allowedMs: 10_000, refusedMs: 1_000 },
      ...{ enableServer: false, enableDebuggingHandlers: false, enableSystemLogHandler: false },
      tlsMinVersion: "VersionTLS13",
      tlsCipherSuites: [
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "AES256-SHA",
      ],
      ...{ registryPullQPS: 0, registryBurst: 3, healthzPort: 0, oomScoreAdj: -999 },
      ...{ nodeStatusUpdateFrequencyMs: 20_000, nodeStatusReportFrequencyMs: 20_000 },
      nodeStatusMaxImages: -1,
      podCidr: "10.1.0.0/24",
      resolvConf: "",
      maxContainerRestartPeriodMs: 60_000,
      ...{ containerLogMaxSizeBytes: 5 * 1024 ** 2, containerLogMaxFiles: 3 },
      ...{ failSwapOn: true, failCgroupV1: true, providerID: "cloud://7" },
      registerWithTaints: [
        { key: "a", value: "b", effect: "NoSchedule" },
        { key: "c", effect: "NoExecute" },
      ],
      evictionHard: { "memory.available": { fraction: 0 } },
      systemReserved: { cpu: 500 },
    });
    expect(config).not.toHaveProperty("volumeStatsAggPeriodMs");
    expect(config).not.toHaveProperty("podPidsLimit");
    expect(warnings).toEqual([
      "KubeletConfiguration field systemReserved: pid is not acted on, only cpu, memory, ephemeral-storage",
    ]);
  });

  test("has the defaults of a threshold where they are to be merged", async () => {
    const { config } = await read(
      "evictionHard: {memory.available: 1Gi}\nmergeDefaultEvictionSettings: true",
    );
    expect(config.evictionHard).toEqual({
      "memory.available": { bytes: 1024 ** 3 },
      "nodefs.available": { fraction: 0.1 },
    });
  });

  test.each([
    ["shutdownGracePeriod: 30s", /shutdownGracePeriod has no effect: graceful node shutdown/],
    ["imageMaximumGCAge: 24h", /imageMaximumGCAge has no effect: image garbage collection/],
    ["memorySwap: {swapBehavior: LimitedSwap}", /memorySwap.swapBehavior has no effect/],
    ["featureGates: {A: true, B: false}", /featureGates \(A, B\) has no effect/],
    ["tracing: {endpoint: 'a:1'}", /tracing has no effect/],
    ["evictionHard: {imagefs.available: 15%}", /imagefs.available is not acted on/],
    ["maxPodz: 3", /maxPodz is unknown, and ignored/],
    ["authentication: {x509: {caFile: /x}}", /authentication.x509.caFile is unknown/],
    ["logging: {format: text, vmodule: [{filePattern: a, verbosity: 1}]}", /logging.vmodule/],
  ])("warns of %s", async (yaml, sentence) => {
    const { warnings } = await read(yaml);
    expect(warnings).toEqual([expect.stringMatching(sentence)]);
  });

  test.each([
    ["crashLoopBackOff: {maxContainerRestartPeriod: 500ms}", "from 1s to 5m"],
    ["syncFrequency: soon", "syncFrequency"],
    ["tlsCipherSuites: [RC4]", "tlsCipherSuites[0]"],
    ["registerWithTaints: [{key: a}]", "a taint such as"],
  ])("refuses %s", async (yaml, says) => {
    await expect(read(yaml)).rejects.toThrow(says);
  });

  test("may begin with many lines of comments", async () => {
    const comments = "# who may use this file, and how\n\n".repeat(500);
    const { config } = await run(
      "--kubeconfig=/k",
      `--config=${await file("licensed.yaml", `${comments}---\n${comments}${HEAD}maxPods: 7\n`)}`,
    );
    expect(config.maxPods).toBe(7);
  });

  test("of another version is refused", async () => {
    const path = await file("old.yaml", HEAD.replace("v1beta1", "v1alpha1"));
    await expect(run("--kubeconfig=/k", `--config=${path}`)).rejects.toThrow("v1alpha1");
  });

  test("may stand in one file with the agent's and kube-proxy's, and counts after the agent's", async () => {
    const yaml = `maxPods: 50
podPidsLimit: 9
---
apiVersion: longshore.dev/v1alpha1
kind: AgentConfiguration
maxPods: 40
---
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clusterCIDR: 10.9.0.0/16
`;
    const { config } = await read(yaml);
    expect(config).toMatchObject({ maxPods: 40, podPidsLimit: 9 });
    expect(config.proxy.clusterCidrs).toEqual(["10.9.0.0/16"]);
    expect((await read(yaml, "--max-pods=30")).config.maxPods).toBe(30);
  });

  test("knows every field that it names, once", () => {
    const given = (path: string): object =>
      path.split(".").reduceRight<unknown>((inner, name) => ({ [name]: inner }), "x") as object;
    for (const path of Object.keys(KUBELET_FIELDS)) {
      const { values, warnings } = readKubeletDocument(given(path) as Record<string, unknown>);
      expect(warnings.filter((words) => words.includes("unknown"))).toEqual([]);
      if (Object.keys(values).length > 0 || warnings.length > 0) continue;
      // What the reader of maps takes out.
      expect(path).toBe("nothing");
    }
  });
});

describe("--config-dir", () => {
  test("changes parts of the file, by the order of names, and flags win over it", async () => {
    const path = await file(
      "base.yaml",
      `${HEAD}maxPods: 10\nclusterDNS: [10.0.0.1, 10.0.0.2]\nsystemReserved: {cpu: 100m, memory: 1Gi}\nproviderID: a`,
    );
    await file("d/20.conf", `${HEAD}maxPods: 30\n`);
    await file(
      "d/10.conf",
      `${HEAD}maxPods: 20\nclusterDNS: [10.0.0.9]\nsystemReserved: {cpu: 200m}`,
    );
    await file("d/sub/30.conf", `${HEAD}providerID: null`);
    await file("d/99.yaml", "not read");
    const args = ["--kubeconfig=/k", `--config=${path}`, `--config-dir=${join(dir, "d")}`];
    const { config } = await run(...args);
    expect(config).toMatchObject({
      maxPods: 30,
      clusterDns: ["10.0.0.9"],
      systemReserved: { cpu: 200, memory: 1024 ** 3 },
      providerID: "",
    });
    expect((await run(...args, "--max-pods=7")).config.maxPods).toBe(7);
  });

  test("with something else in it is refused", async () => {
    await file("e/1.conf", "maxPods: 3");
    await expect(run("--kubeconfig=/k", `--config-dir=${join(dir, "e")}`)).rejects.toThrow(
      "apiVersion and kind",
    );
    await expect(run("--kubeconfig=/k", "--config-dir=/nowhere")).rejects.toThrow("cannot read");
  });
});
