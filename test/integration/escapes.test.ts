/** What a hostile pod spec or image tries against its host, and what comes of it, on a real Engine. */

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { Container, Pod } from "../../src/api/types.ts";
import { containerOf, IMAGE, makePod, sandboxOf } from "../builders/runtime.ts";
import { createReal, never, removePod } from "../support/runtime.ts";
import { SpecPods } from "../support/spec-pod.ts";

const dir = mkdtempSync(join(tmpdir(), "h-resources-escapes-"));
const HOSTILE = "h-resources-hostile:test";
const runtime = createReal(undefined, undefined, { seccompDir: join(dir, "seccomp") });
const pods = new SpecPods(runtime);

/** An image that says of user 1000 that it is root, and that has a setuid program. */
beforeAll(() => {
  const users = ["1000:x:0:0:", "app:x:1000:0:", "plain:x:2000:2000:"];
  writeFileSync(join(dir, "passwd"), users.map((user) => `${user}:/:/bin/sh\n`).join(""));
  writeFileSync(join(dir, "group"), "root:x:0:\nmore:x:5000:app\nother:x:6000:plain\n");
  writeFileSync(
    join(dir, "Dockerfile"),
    `FROM ${IMAGE}\nCOPY passwd group /etc/\nRUN cp /bin/busybox /busybox-suid && chmod 4755 /busybox-suid\nRUN ln -s /../../../../..${dir} /out && ln -s /proc/1/root${dir} /proc-out\nUSER plain\n`,
  );
  execFileSync("docker", ["build", "-q", "-t", HOSTILE, dir], { stdio: "pipe" });
});
afterEach(() => pods.removeAll());
afterAll(() => {
  execFileSync("docker", ["rmi", "-f", HOSTILE], { stdio: "pipe" });
  rmSync(dir, { recursive: true, force: true });
});

const PATTERN = readFileSync("/proc/sys/kernel/core_pattern", "utf8").trim();

type OfContainer = NonNullable<Container["securityContext"]>;

/** Nothing changes where it is let in. */
const rewrite = (path: string): string => `x=$(cat ${path}); echo "$x" >${path}`;

describe("a container without rights of its own", () => {
  it.each<readonly [string, string]>([
    ["mounts the host's disk", "mknod /disk b 8 0 && head -c 1 /disk"],
    ["mounts anything", "mkdir -p /m && mount -t tmpfs none /m"],
    ["mounts cgroups to leave by a release agent", "mkdir -p /m && mount -t cgroup -o memory c /m"],
    ["writes a release agent", rewrite("/sys/fs/cgroup/memory/release_agent")],
    ["raises its own memory limit", "echo -1 >/sys/fs/cgroup/memory/memory.limit_in_bytes"],
    ["names a program for core dumps", rewrite("/proc/sys/kernel/core_pattern")],
    ["asks the kernel for something", "echo h >/proc/sysrq-trigger"],
    ["writes the kernel's settings", rewrite("/sys/kernel/mm/ksm/run")],
    ["enters the namespaces of its sandbox's parent", "nsenter -t 1 -m -- ls /proc/1/root/../.."],
    ["gains a user namespace", "unshare -U true"],
    ["loads a module", "insmod /x.ko; modprobe dummy"],
  ])("%s in vain", async (_sentence, script) => {
    const { container, output } = await pods.run(`( ${script} ) 2>&1 && echo SUCCEEDED`, {
      securityContext: { capabilities: { drop: ["ALL"] }, allowPrivilegeEscalation: false },
    });
    expect(output).not.toContain("SUCCEEDED");
    expect(output).toMatch(/denied|not permitted|Read-only|not implemented|can't|No such|failed/i);
    expect(container.exitCode).not.toBe(0);
  });
});

describe("a hostile image", () => {
  const run = (
    script: string,
    securityContext: OfContainer,
    ofPod: Pod["spec"]["securityContext"] = {},
  ) => pods.run(script, { image: HOSTILE, securityContext }, { securityContext: ofPod });

  it("cannot say that a number is another user's name", async () => {
    expect((await run("id -u", { runAsUser: 1000 })).output).toBe("1000\n");
  });

  it.each<readonly [string, OfContainer, string]>([
    ["whose group the spec says", { runAsUser: 1000, runAsGroup: 3000 }, "3000"],
    ["whose group the image says", { runAsUser: 1000 }, "0"],
    ["who is its own", {}, "2000"],
  ])("cannot add its groups to a user %s where the pod is strict", async (_who, own, expected) => {
    const supplementalGroupsPolicy = "Strict" as const;
    // Twice: the second time what the image says is known.
    for (let n = 0; n < 2; n++)
      expect((await run("id -G", own, { supplementalGroupsPolicy })).output).toBe(`${expected}\n`);
  });

  it.each<readonly [string, OfContainer, string]>([
    ["whose group the spec says", { runAsUser: 1000, runAsGroup: 3000 }, "3000 5000 7"],
    ["whose group the image says", { runAsUser: 1000 }, "0 5000 7"],
    ["who is its own", {}, "2000 6000 7"],
  ])("adds its groups to a user %s where the pod is not", async (_who, own, expected) => {
    for (let n = 0; n < 2; n++) {
      const { output } = await run("id -G", own, { supplementalGroups: [7] });
      expect(output.trim().split(" ").sort()).toEqual(expected.split(" ").sort());
    }
  });

  it("gains nothing by a setuid program", async () => {
    const script = "/busybox-suid su -c true root 2>&1 </dev/null";
    const own = { runAsUser: 1000, capabilities: { drop: ["ALL"] } };
    const refused = "su: must be suid to work properly\n";
    expect((await run(script, { ...own, allowPrivilegeEscalation: false })).output).toBe(refused);
    // The same program where nothing holds it.
    expect((await run(script, own)).output).not.toBe(refused);
  });
});

it.each(["/out/trap", "/proc-out/trap", "/a/../../../../../../TRAP"])(
  "a mount on %s, which an image leads out of itself, stays in the container",
  async (path) => {
    const mountPath = path.replace("/TRAP", `${dir}/trap`);
    const source = join(dir, "source");
    mkdirSync(source, { recursive: true });
    const pod = makePod("escape-mount");
    const sandbox = await runtime.runSandbox(sandboxOf(pod), never());
    try {
      const mount = { hostPath: source, containerPath: mountPath, readOnly: false } as const;
      const config = containerOf(pod, sandbox.id, {
        ...{ imageId: HOSTILE, mounts: [{ ...mount, propagation: "private" }] },
      });
      await runtime
        .startContainer(await runtime.createContainer(config, never()), never())
        .catch((error: unknown) =>
          expect(error).toMatchObject({
            code: expect.stringMatching(/^(Engine|ContainerStartFailed)/),
          }),
        );
      expect(existsSync(join(dir, "trap"))).toBe(false);
      expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain(`${dir}/trap`);
    } finally {
      await removePod(runtime, pod);
    }
  },
);

describe("a hostile spec", () => {
  it.each<readonly [string, OfContainer, RegExp]>([
    [
      "a profile outside of its directory",
      { seccompProfile: { type: "Localhost", localhostProfile: "../../etc/passwd" } },
      /is not a path below the directory/,
    ],
    ["a capability that is none", { capabilities: { add: ["EVERYTHING"] } }, /EVERYTHING/],
    [
      "an option in place of a capability",
      { capabilities: { add: ["ALL --privileged"] } },
      /invalid/i,
    ],
    ["a user beyond all numbers", { runAsUser: 4_294_967_296 }, /uids and gids must be in range/],
  ])("that names %s starts nothing", async (_what, securityContext, why) => {
    await expect(pods.start({ command: ["true"], securityContext })).rejects.toThrow(why);
  });

  it.each(["net/../kernel/core_pattern", "kernel.core_pattern", "net.ipv4.x\n1"])(
    "that sets the kernel parameter %j starts no sandbox, though nobody refused it before",
    async (name) => {
      const sysctls = [{ name, value: PATTERN }];
      const made = pods.start({ command: ["true"] }, { securityContext: { sysctls } });
      await expect(made).rejects.toThrow(/sysctl|kernel|No such file|invalid/i);
    },
  );
});
