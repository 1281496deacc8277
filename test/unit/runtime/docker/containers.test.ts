import { describe, expect, it } from "vitest";
import { computeCreateOptions } from "../../../../src/runtime/docker/containers.ts";
import type { ContainerConfig } from "../../../../src/runtime/runtime.ts";
import { containerOf } from "../../../builders/runtime.ts";

const pod = { namespace: "n", name: "p", uid: "u" };

function compute(change: Partial<ContainerConfig>, hasSysResource = true, seccomp?: string) {
  return computeCreateOptions(containerOf(pod, "s1", change), { hasSysResource }, seccomp);
}

describe("computeCreateOptions", () => {
  it("names a container as cri-dockerd does, and joins the sandbox", () => {
    const options = compute({ attempt: 4, imageId: "sha256:1" });
    expect(options).toMatchObject({
      ...{ name: "k8s_web_p_n_u_4", Image: "sha256:1", Entrypoint: ["sleep", "1000"], Cmd: [] },
      HostConfig: {
        ...{ NetworkMode: "container:s1", IpcMode: "container:s1", PidMode: "" },
        ...{ CpuShares: 2, CpuQuota: 0, Memory: 0, MemorySwap: 0, OomScoreAdj: 0 },
        ...{ SecurityOpt: [], RestartPolicy: { Name: "no" } },
      },
    });
  });

  it("keeps logs as large and as many as it is told", () => {
    const logsOf = (logs?: { readonly maxBytes: number; readonly maxFiles: number }) =>
      computeCreateOptions(containerOf(pod, "s1"), { hasSysResource: true, logs }).HostConfig
        ?.LogConfig;
    const ofType = (Config: object): object => ({ Type: "json-file", Config });
    expect(logsOf()).toEqual(ofType({ "max-size": "10485760", "max-file": "5" }));
    expect(logsOf({ maxBytes: 1000, maxFiles: 2 })).toEqual(
      ofType({ "max-size": "1000", "max-file": "2" }),
    );
  });

  it.each([
    [undefined, undefined, {}],
    [undefined, ["a"], { Cmd: ["a"] }],
    [["c"], undefined, { Entrypoint: ["c"], Cmd: [] }],
    [["c"], ["a"], { Entrypoint: ["c"], Cmd: ["a"] }],
  ])("with command %j and args %j asks for %j", (command, args, expected) => {
    const base = containerOf(pod, "s1");
    const { command: _, ...plain } = base;
    const config = {
      ...plain,
      ...(command === undefined ? {} : { command }),
      ...(args === undefined ? {} : { args }),
    };
    const { Entrypoint, Cmd } = computeCreateOptions(config, { hasSysResource: true });
    expect(JSON.parse(JSON.stringify({ Entrypoint, Cmd }))).toEqual(expected);
  });

  it.each<readonly [string, Partial<ContainerConfig>, object]>([
    ["shared processes", { sharePid: true }, { PidMode: "container:s1" }],
    ["the host's processes", { sharePid: true, hostPid: true }, { PidMode: "host" }],
    ["no new privileges", { noNewPrivileges: true }, { SecurityOpt: ["no-new-privileges"] }],
    ["no AppArmor", { appArmor: "unconfined" }, { SecurityOpt: ["apparmor=unconfined"] }],
    ["an AppArmor profile", { appArmor: "localhost/a/b" }, { SecurityOpt: ["apparmor=a/b"] }],
    [
      "SELinux options",
      { seLinux: { level: "s0:c1,c2", type: "t" } },
      { SecurityOpt: ["label=level:s0:c1,c2", "label=type:t"] },
    ],
    ["a whole /proc", { unmaskedProc: true }, { MaskedPaths: [], ReadonlyPaths: [] }],
    ["another OCI runtime", { runtimeHandler: "crun" }, { Runtime: "crun" }],
    [
      "limits",
      { resources: { cpuShares: 9, cpuQuotaMicros: 5, cpuPeriodMicros: 7, memoryBytes: 8 } },
      { CpuShares: 9, CpuQuota: 5, CpuPeriod: 7, Memory: 8, MemorySwap: 8 },
    ],
    [
      "a mount",
      {
        mounts: [{ hostPath: "/h:1", containerPath: "/c", readOnly: true, propagation: "private" }],
      },
      {
        Mounts: [
          {
            ...{ Type: "bind", Source: "/h:1", Target: "/c", ReadOnly: true },
            BindOptions: { ReadOnlyNonRecursive: true },
          },
        ],
      },
    ],
    [
      "block devices",
      {
        devices: [
          { hostPath: "/dev/a", containerPath: "/dev/x", readOnly: true },
          { hostPath: "/dev/b", containerPath: "/dev/y", readOnly: false },
        ],
      },
      {
        Devices: [
          { PathOnHost: "/dev/a", PathInContainer: "/dev/x", CgroupPermissions: "r" },
          { PathOnHost: "/dev/b", PathInContainer: "/dev/y", CgroupPermissions: "mrw" },
        ],
      },
    ],
    ["an OOM score", { oomScoreAdj: -997 }, { OomScoreAdj: -997 }],
  ])("passes on %s", (_what, change, expected) => {
    expect(compute(change).HostConfig).toMatchObject(expected);
  });

  it("passes on the text of a seccomp profile", () => {
    const { HostConfig } = compute({ noNewPrivileges: true }, true, '{"x":1}');
    expect(HostConfig?.SecurityOpt).toEqual(["no-new-privileges", 'seccomp={"x":1}']);
  });

  it.each([
    [-997, 0],
    [500, 500],
  ])("where scores cannot be lowered %d becomes %d", (oomScoreAdj, expected) => {
    expect(compute({ oomScoreAdj }, false).HostConfig?.OomScoreAdj).toBe(expected);
  });

  it("says nothing of a private mount's propagation, as the Engine refuses it for / and its own directory", () => {
    const mount = { hostPath: "/", containerPath: "/c", readOnly: true } as const;
    const mounts = [
      { ...mount, propagation: "private" },
      { ...mount, propagation: "rslave" },
    ] as const;
    const { Mounts } = compute({ mounts }).HostConfig ?? {};
    expect(Mounts?.map(({ BindOptions }) => BindOptions?.Propagation)).toEqual([
      undefined,
      "rslave",
    ]);
  });

  it("tells of a read-only mount whether what is mounted below is too, since Engines differ in what they think", () => {
    const mount = { hostPath: "/h", containerPath: "/c", propagation: "private" } as const;
    const mounts = [
      { ...mount, readOnly: false },
      { ...mount, readOnly: true },
      { ...mount, readOnly: true, isRecursivelyReadOnly: true },
    ] as const;
    const { Mounts } = compute({ mounts }).HostConfig ?? {};
    expect(Mounts?.map(({ BindOptions }) => BindOptions)).toEqual([
      {},
      { ReadOnlyNonRecursive: true },
      { ReadOnlyForceRecursive: true, Propagation: "rprivate" },
    ]);
  });
});
