/** The sandbox's program on a real Engine: its namespace, its rights, what it reaps and how it ends. */

import { readFileSync, readlinkSync } from "node:fs";
import Docker from "dockerode";
import { afterEach, describe, expect, it } from "vitest";
import { computeSandboxOptions } from "../../src/runtime/docker/sandboxes.ts";
import { UNSHARE_REFUSED } from "../../src/runtime/pause/program.ts";
import type { PodIdentity, Sandbox, SandboxConfig } from "../../src/runtime/runtime.ts";
import { containerOf, makePod, sandboxOf } from "../builders/runtime.ts";
import { createReal, never, removePod } from "../support/runtime.ts";

const runtime = createReal();
const docker = new Docker({ socketPath: "/var/run/docker.sock" });
const pods: PodIdentity[] = [];

afterEach(async () => {
  for (const pod of pods.splice(0)) await removePod(runtime, pod);
});

function track(name: string): PodIdentity {
  const pod = makePod(name);
  pods.push(pod);
  return pod;
}

async function startSandbox(name: string, change: Partial<SandboxConfig> = {}): Promise<Sandbox> {
  return runtime.runSandbox(sandboxOf(track(name), change), never());
}

const OWN_NET = readlinkSync("/proc/self/ns/net");
const netOf = (pid: number): string => readlinkSync(`/proc/${pid}/ns/net`);

function statusField(pid: number, name: string): string {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "";
}

async function startContainer(
  sandbox: Sandbox,
  command: readonly string[],
  sharePid = false,
): Promise<string> {
  const config = containerOf(sandbox.pod, sandbox.id, { command, sharePid });
  const id = await runtime.createContainer(config, never());
  await runtime.startContainer(id, never());
  return id;
}

describe("a sandbox", () => {
  it("is ready in a network namespace of its own, without any right", async () => {
    const { state, pid } = await startSandbox("plain");
    expect(state).toBe("ready");
    expect(netOf(pid)).not.toBe(OWN_NET);
    for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"])
      expect(statusField(pid, set), set).toBe("0".repeat(16));
  });

  it("hands its hostname, network and IPC to the containers that join", async () => {
    const sandbox = await startSandbox("joined", { hostname: "runtime2-inherited" });
    const id = await startContainer(sandbox, ["sleep", "1000"]);
    const { output } = await runtime.execSync(id, ["hostname"], 5000, never());
    expect(output).toBe("runtime2-inherited\n");
    const [container] = (await runtime.list(never(), sandbox.pod.uid)).containers;
    expect(netOf(container?.pid ?? 0)).toBe(netOf(sandbox.pid));
    expect(readlinkSync(`/proc/${container?.pid}/ns/ipc`)).toBe(
      readlinkSync(`/proc/${sandbox.pid}/ns/ipc`),
    );
  });

  it("stops at once", async () => {
    const sandbox = await startSandbox("stops");
    const start = performance.now();
    await runtime.stopSandbox(sandbox.id, never());
    expect(performance.now() - start).toBeLessThan(3000);
    const [seen] = (await runtime.list(never(), sandbox.pod.uid)).sandboxes;
    expect(seen).toMatchObject({ state: "exited", pid: 0 });
  });

  it("reaps what is orphaned in a shared process namespace", async () => {
    const sandbox = await startSandbox("reaps");
    const id = await startContainer(sandbox, ["sleep", "1000"], true);
    const orphans =
      "for i in 1 2 3 4 5; do (sleep 0.1 &) ; done; sleep 0.6; ps -o pid,ppid,stat,args";
    const { output } = await runtime.execSync(id, ["sh", "-c", orphans], 10_000, never());
    expect(output).toMatch(/^ +1 +0 S +\/pause/m);
    expect(output).not.toMatch(/^ *\d+ +\d+ +Z|sleep 0\.1$/m);
  });

  it("stays in the host's namespace when the pod has its network", async () => {
    const sandbox = await startSandbox("host", { hostNetwork: true, ips: [] });
    expect(netOf(sandbox.pid)).toBe(OWN_NET);
    expect(statusField(sandbox.pid, "CapEff")).toBe("0".repeat(16));
    const id = await startContainer(sandbox, ["sleep", "1000"]);
    const [container] = (await runtime.list(never(), sandbox.pod.uid)).containers;
    expect(container?.id).toBe(id);
    expect(netOf(container?.pid ?? 0)).toBe(OWN_NET);
  });

  it("sets the kernel's parameters", async () => {
    const sandbox = await startSandbox("sysctl", { sysctls: { "kernel.shm_rmid_forced": "1" } });
    const id = await startContainer(sandbox, ["sleep", "1000"]);
    const command = ["cat", "/proc/sys/kernel/shm_rmid_forced"];
    expect((await runtime.execSync(id, command, 5000, never())).output).toBe("1\n");
  });

  it("twenty at once are all ready", async () => {
    const many = await Promise.all(
      Array.from({ length: 20 }, (_, index) => startSandbox(`many-${index}`)),
    );
    expect(new Set(many.map(({ pid }) => netOf(pid))).size).toBe(20);
  });
});

describe("where the namespace is refused", () => {
  async function runRaw(options: Docker.ContainerCreateOptions) {
    const container = await docker.createContainer(options);
    await container.start();
    return container;
  }

  it("the program says so by its exit code", async () => {
    await runtime.prepare(never());
    const image = (await docker.getContainer((await startSandbox("image")).id).inspect()).Image;
    const options = computeSandboxOptions(sandboxOf(track("refused")), image, "unshare");
    const refused = { ...options, HostConfig: { ...options.HostConfig, CapAdd: [] } };
    const container = await runRaw(refused);
    expect(await container.wait()).toMatchObject({ StatusCode: UNSHARE_REFUSED });
  });

  it("the Engine's own namespace serves as well", async () => {
    const image = (await docker.getContainer((await startSandbox("image")).id).inspect()).Image;
    const config = sandboxOf(track("none"));
    await runRaw(computeSandboxOptions(config, image, "none"));
    const [sandbox] = (await runtime.list(never(), config.pod.uid)).sandboxes;
    expect(sandbox?.state).toBe("ready");
    expect(netOf(sandbox?.pid ?? 0)).not.toBe(OWN_NET);
    expect(statusField(sandbox?.pid ?? 0, "CapEff")).toBe("0".repeat(16));
    const id = await startContainer(sandbox as Sandbox, ["sleep", "1000"]);
    expect((await runtime.execSync(id, ["hostname"], 5000, never())).output).toBe(
      `${config.hostname}\n`,
    );
  });
});
