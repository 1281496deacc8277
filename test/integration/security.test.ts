/** Each field of the security context as a process inside the container sees it, on a real Engine. */

import { mkdirSync, mkdtempSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import type { Container, Pod } from "../../src/api/types.ts";
import { createReal, never } from "../support/runtime.ts";
import { SpecPods } from "../support/spec-pod.ts";

const dir = mkdtempSync(join(tmpdir(), "h-resources-seccomp-"));
const runtime = createReal(undefined, undefined, { seccompDir: dir });
const pods = new SpecPods(runtime);

afterEach(() => pods.removeAll());
afterAll(() => rmSync(dir, { recursive: true, force: true }));

type OfContainer = NonNullable<Container["securityContext"]>;
type OfPod = NonNullable<Pod["spec"]["securityContext"]>;

const status = (...names: string[]) =>
  `grep -E "^(${names.join("|")}):" /proc/self/status | tr "\\t" " "`;

describe("a container", () => {
  it.each<readonly [string, OfContainer, OfPod, string, string | RegExp]>([
    ["runs as the user", { runAsUser: 65534 }, {}, "id -u", "65534\n"],
    [
      "runs as the pod's user and group, its own before them",
      { runAsUser: 1002 },
      { runAsUser: 1001, runAsGroup: 2002 },
      "id -u; id -g",
      "1002\n2002\n",
    ],
    [
      "is in the groups of the pod, the one of its volumes too",
      { runAsUser: 1, runAsGroup: 2 },
      { fsGroup: 7, supplementalGroups: [5, 7] },
      "echo $(id -G | tr ' ' '\\n' | sort -n)",
      "2 5 7\n",
    ],
    [
      "has no right when all are dropped",
      { capabilities: { drop: ["ALL"] } },
      {},
      status("CapEff"),
      "CapEff: 0000000000000000\n",
    ],
    [
      "has the one right it adds after dropping all",
      { capabilities: { drop: ["ALL"], add: ["CAP_NET_ADMIN"] } },
      {},
      status("CapEff", "CapBnd"),
      "CapEff: 0000000000001000\nCapBnd: 0000000000001000\n",
    ],
    [
      "may not change its links when unprivileged",
      { privileged: false },
      {},
      "ip link add dummy0 type dummy 2>&1",
      /Operation not permitted/,
    ],
    [
      "gains no privileges when it may not",
      { allowPrivilegeEscalation: false },
      {},
      status("NoNewPrivs"),
      "NoNewPrivs: 1\n",
    ],
    ["may gain privileges when not told", {}, {}, status("NoNewPrivs"), "NoNewPrivs: 0\n"],
    [
      "cannot write its root when it is read-only",
      { readOnlyRootFilesystem: true },
      {},
      "touch /x 2>&1",
      /Read-only file system/,
    ],
    [
      "can write its root when it is not",
      { readOnlyRootFilesystem: false },
      {},
      "touch /x && echo ok",
      "ok\n",
    ],
    ["is filtered when not told", {}, {}, status("Seccomp"), "Seccomp: 2\n"],
    [
      "is filtered by the Engine's profile",
      { seccompProfile: { type: "RuntimeDefault" } },
      { seccompProfile: { type: "Unconfined" } },
      status("Seccomp"),
      "Seccomp: 2\n",
    ],
    [
      "is not filtered when unconfined",
      {},
      { seccompProfile: { type: "Unconfined" } },
      status("Seccomp"),
      "Seccomp: 0\n",
    ],
    [
      "does not see what /proc hides",
      {},
      {},
      "wc -c </proc/timer_list; grep -c ' /proc/sys proc ro' /proc/mounts",
      "0\n1\n",
    ],
    [
      "sees all of /proc when unmasked",
      { procMount: "Unmasked" },
      {},
      "grep -E ' /proc/' /proc/mounts; echo end",
      "end\n",
    ],
    [
      "is unconfined by AppArmor where there is none",
      { appArmorProfile: { type: "Unconfined" } },
      {},
      "echo ok",
      "ok\n",
    ],
    [
      "has SELinux options that are ignored where there is none",
      { seLinuxOptions: { level: "s0" } },
      { seLinuxOptions: { user: "u" } },
      "echo ok",
      "ok\n",
    ],
  ])("%s", async (_sentence, securityContext, ofPod, script, expected) => {
    const { output } = await pods.run(script, { securityContext }, { securityContext: ofPod });
    if (typeof expected === "string") expect(output).toBe(expected);
    else expect(output).toMatch(expected);
  });

  it("is filtered by a profile of the state directory", async () => {
    mkdirSync(join(dir, "team"));
    const rule = { names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO" };
    const profile = { defaultAction: "SCMP_ACT_ALLOW", syscalls: [rule] };
    writeFileSync(join(dir, "team/no-mkdir.json"), JSON.stringify(profile));
    const { output } = await pods.run("mkdir /a 2>&1; touch /b && echo made", {
      securityContext: {
        seccompProfile: { type: "Localhost", localhostProfile: "team/no-mkdir.json" },
      },
    });
    expect(output).toMatch(/Operation not permitted\nmade\n/);
  });

  it.each([
    ["missing.json", /cannot load the seccomp profile of container main: .*missing\.json: ENOENT/],
    ["broken.json", /cannot load the seccomp profile of container main: .*broken\.json: .*JSON/],
  ])("is not made with the profile %s", async (localhostProfile, why) => {
    writeFileSync(join(dir, "broken.json"), "{");
    const seccompProfile = { type: "Localhost", localhostProfile } as const;
    await expect(pods.start({ securityContext: { seccompProfile } })).rejects.toThrow(why);
  });

  it("is not made with an OCI runtime that the Engine does not know", async () => {
    const { pod, sandbox } = await pods.start({ command: ["sleep", "100"] });
    const { name, namespace, uid } = pod.metadata;
    const config = {
      ...{
        pod: { name, namespace, uid },
        attempt: 1,
        hostname: "x",
        ips: ["10.1.2.4"],
        hostPorts: [],
      },
      ...{ hostNetwork: false, hostPid: false, hostIpc: false, sysctls: {}, annotations: {} },
    };
    const made = runtime.runSandbox({ ...config, runtimeHandler: "test-handler" }, never());
    await expect(made).rejects.toThrow(/test-handler/);
    const known = await runtime.runSandbox({ ...config, runtimeHandler: "runc" }, never());
    expect(known.id).not.toBe(sandbox.id);
  });
});

const nsOf = (kind: string): string => readlinkSync(`/proc/self/ns/${kind}`);

describe("a pod", () => {
  it("has kernel parameters of its own, those of its network before the first container", async () => {
    const { output } = await pods.run(
      "cat /proc/sys/kernel/shm_rmid_forced /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/tcp_rmem",
      {},
      {
        securityContext: {
          sysctls: [
            { name: "kernel.shm_rmid_forced", value: "1" },
            { name: "net.ipv4.ip_unprivileged_port_start", value: "7" },
            { name: "net/ipv4/tcp_rmem", value: "4096 5000 6000" },
          ],
        },
      },
    );
    expect(output).toBe("1\n7\n4096\t5000\t6000\n");
    expect(readFileSync("/proc/sys/net/ipv4/ip_unprivileged_port_start", "utf8")).not.toBe("7\n");
  });

  it.each([
    ["net.ipv4.tcp_rmem", "many", /tcp_rmem: Invalid argument/],
    ["net.ipv4.no_such", "1", /no_such: (No such file|Permission denied)/],
    ["kernel.shm_rmid_forced", "many", /sysctl|kernel\.shm_rmid_forced|invalid argument/i],
  ])("is not made when %s cannot be %s", async (name, value, why) => {
    const spec = { securityContext: { sysctls: [{ name, value }] } };
    const { pod, failure } = await pods.start({ command: ["true"] }, spec).then(
      () => ({ pod: undefined, failure: undefined }),
      (error: Error) => ({ pod: undefined, failure: error.message }),
    );
    expect(pod).toBeUndefined();
    expect(failure).toMatch(why);
  });

  it.each<readonly [string, Partial<Pod["spec"]>, string, boolean]>([
    ["the host's network", { hostNetwork: true }, "net", true],
    ["a network of its own", {}, "net", false],
    ["the host's processes", { hostPID: true }, "pid", true],
    ["processes of its own", {}, "pid", false],
    ["the host's IPC", { hostIPC: true }, "ipc", true],
    ["an IPC of its own", {}, "ipc", false],
  ])("has %s", async (_what, spec, kind, isHosts) => {
    const { output } = await pods.run(`readlink /proc/self/ns/${kind}`, {}, spec);
    expect(output.trim() === nsOf(kind)).toBe(isHosts);
  });

  it("shares its processes among its containers when told", async () => {
    const script = "cat /proc/1/comm; true";
    const shared = await pods.run(script, {}, { shareProcessNamespace: true });
    expect(shared.output).toBe("pause\n");
    expect((await pods.run(script, {})).output).toBe("sh\n");
  });

  it.each<readonly [string, Partial<Pod["spec"]>, string]>([
    ["its name", {}, "h-resources"],
    ["its host name", { hostname: "other", subdomain: "sub" }, "other"],
    [
      "its whole name",
      { hostname: "other", subdomain: "sub", setHostnameAsFQDN: true },
      "other.sub.test.svc.cluster.local",
    ],
    ["its override", { hostnameOverride: "a.b.example" }, "a.b.example"],
    ["the host's name in the host's network", { hostNetwork: true }, hostname()],
  ])("answers to %s", async (_what, spec, expected) => {
    expect((await pods.run("hostname", {}, spec)).output).toBe(`${expected}\n`);
  });
});
