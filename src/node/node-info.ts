/**
 * Who the machine is: `status.nodeInfo` and the node's own addresses, read through a HostReader. Parsers are pure.
 * Called by the node loop.
 */

import { LongshoreError } from "../core/errors.ts";
import { kubeletVersion } from "../core/version.ts";
import type { RuntimeInfo } from "../runtime/runtime.ts";
import type { HostReader } from "./host.ts";
import type { NodeSystemInfo } from "./status.ts";

/** PRETTY_NAME of os-release, or `Linux`. */
export function parseOsImage(osRelease: string): string {
  const match = /^PRETTY_NAME=(.*)$/m.exec(osRelease);
  const name = match?.[1]?.trim().replace(/^(["'])(.*)\1$/, "$2");
  return name === undefined || name === "" ? "Linux" : name;
}

/** The interface of the default route with the lowest metric in /proc/net/route. */
export function parseDefaultInterface(routes: string): string | undefined {
  const defaults = routes
    .split("\n")
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => fields[1] === "00000000" && fields[7] === "00000000")
    .sort((a, b) => Number(a[6]) - Number(b[6]));
  return defaults[0]?.[0];
}

/** The same of /proc/net/ipv6_route; reject routes of the loopback device do not count. */
function parseDefaultInterface6(routes: string): string | undefined {
  const defaults = routes
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter((fields) => /^0{32}$/.test(fields[0] ?? "") && fields[1] === "00" && fields[9] !== "lo")
    .sort((a, b) => Number.parseInt(a[5] ?? "", 16) - Number.parseInt(b[5] ?? "", 16));
  return defaults[0]?.[9];
}

export async function readNodeInfo(
  host: HostReader,
  runtime: RuntimeInfo,
  longshoreVersion: string,
): Promise<NodeSystemInfo> {
  const text = async (...paths: readonly string[]): Promise<string> => {
    for (const path of paths) {
      const content = (await host.readText(path))?.replaceAll("\0", "").trim();
      if (content !== undefined && content !== "") return content;
    }
    return "";
  };
  const machineID = await text("/etc/machine-id", "/var/lib/dbus/machine-id");
  const uuid = await text("/sys/class/dmi/id/product_uuid", "/proc/device-tree/vm,uuid");
  return {
    machineID,
    systemUUID: uuid === "" ? machineID : uuid.toLowerCase(),
    bootID: await text("/proc/sys/kernel/random/boot_id"),
    kernelVersion: await text("/proc/sys/kernel/osrelease"),
    osImage: parseOsImage(await text("/etc/os-release", "/usr/lib/os-release")),
    containerRuntimeVersion: `${runtime.name}://${runtime.version}`,
    kubeletVersion: kubeletVersion(longshoreVersion),
    // Deprecated and empty since 1.33, but required by the type.
    kubeProxyVersion: "",
    operatingSystem: "linux",
    architecture: host.architecture,
  };
}

/** MTU of the interface that carries the node's address; undefined when that is none of this host's. */
export async function findUplinkMtu(
  host: HostReader,
  nodeIps: readonly string[],
): Promise<number | undefined> {
  const found = Object.entries(host.interfaces()).find(
    ([name, addresses]) => name !== "lo" && nodeIps.some((ip) => addresses.includes(ip)),
  );
  const mtu = Number(found && (await host.readText(`/sys/class/net/${found[0]}/mtu`)));
  return mtu > 0 ? mtu : undefined;
}

/** `--node-ip`, else the first address of the interface that has the default route. */
export async function findNodeIps(
  host: HostReader,
  configured: readonly string[],
): Promise<readonly string[]> {
  if (configured.length > 0) return configured;
  const name =
    parseDefaultInterface((await host.readText("/proc/net/route")) ?? "") ??
    parseDefaultInterface6((await host.readText("/proc/net/ipv6_route")) ?? "");
  const address = name === undefined ? undefined : host.interfaces()[name]?.[0];
  if (address !== undefined) return [address];
  throw new LongshoreError(
    "ConfigInvalid",
    "finding the node's address: no interface has a default route and an address; give one with --node-ip",
  );
}
