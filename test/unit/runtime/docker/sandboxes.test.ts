import { describe, expect, it } from "vitest";
import { computeSandboxOptions } from "../../../../src/runtime/docker/sandboxes.ts";
import type { SandboxConfig } from "../../../../src/runtime/runtime.ts";
import { sandboxOf } from "../../../builders/runtime.ts";

const pod = { namespace: "n", name: "p", uid: "u" };

function compute(style: "unshare" | "none", change: Partial<SandboxConfig> = {}) {
  const { Cmd, Hostname, name, HostConfig } = computeSandboxOptions(
    sandboxOf(pod, change),
    "image",
    style,
  );
  const { NetworkMode, CapAdd, CapDrop, PidMode, IpcMode } = HostConfig ?? {};
  return { name, Cmd, Hostname, NetworkMode, CapAdd, CapDrop, PidMode, IpcMode };
}

const base = { name: "k8s_POD_p_n_u_0", CapDrop: ["ALL"], PidMode: "", IpcMode: "shareable" };

describe("computeSandboxOptions", () => {
  it("lets the program leave the host's network", () => {
    expect(compute("unshare")).toEqual({
      ...{ ...base, Cmd: [], Hostname: "p", NetworkMode: "host", CapAdd: ["SYS_ADMIN"] },
    });
  });

  it("lets the Engine make the namespace where the program may not", () => {
    expect(compute("none")).toEqual({
      ...{ ...base, Cmd: ["stay"], Hostname: "p", NetworkMode: "none", CapAdd: [] },
    });
  });

  it.each(["unshare", "none"] as const)("stays in the host's network when told (%s)", (style) => {
    expect(compute(style, { hostNetwork: true })).toEqual({
      ...{ ...base, Cmd: ["stay"], Hostname: "", NetworkMode: "host", CapAdd: [] },
    });
  });

  it("writes the parameters of a network that it makes itself", () => {
    const sysctls = { "net.ipv4.tcp_rmem": "1 2 3", "kernel.msgmax": "9" };
    const asked = (style: "unshare" | "none") =>
      computeSandboxOptions(sandboxOf(pod, { sysctls }), "image", style).HostConfig?.Sysctls;
    expect(asked("unshare")).toEqual({ "kernel.msgmax": "9" });
    expect(asked("none")).toEqual(sysctls);
  });

  it("shares the host's processes and IPC when told", () => {
    expect(compute("unshare", { hostPid: true, hostIpc: true })).toMatchObject({
      ...{ PidMode: "host", IpcMode: "host" },
    });
  });
});
