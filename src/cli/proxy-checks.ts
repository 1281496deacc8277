/**
 * The rows of `longshore check` about the proxy: whether another one is at work on this host, and whether the proxy's
 * credentials may list what it needs, with the kubectl command that mends it.
 */

import type { ListOptions } from "../api/client.ts";
import { ENDPOINT_SLICES, SERVICES } from "../api/resources.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import { createIptables } from "../core/iptables.ts";
import type { HostCheck } from "../node/host-checks.ts";
import { computeForeignSigns, FOREIGN_REMEDY, readForeignFacts } from "../proxy/detect-foreign.ts";
import type { Host } from "./host.ts";
import { connectProxy, readAgentFile } from "./proxy-client.ts";
import { computeProxyConfig } from "./proxy-config.ts";

type Flags = Readonly<Record<string, unknown>>;

export async function readProxyChecks(host: Host, flags: Flags): Promise<readonly HostCheck[]> {
  const config = await readAgentFile(flags);
  if (config.file.proxyMode === "off") return [ok("service proxy", "off: left to another program")];
  const { proxy } = computeProxyConfig({ flags: {}, ...config });
  const healthPort = proxy.healthzBindAddress.port;
  return [await checkOthers(host, healthPort), await checkCredentials(host, flags)];
}

async function checkOthers(host: Host, healthPort: number): Promise<HostCheck> {
  const name = "other service proxy";
  try {
    const families = ["IPv4", "IPv6"] as const;
    const programs = families.map((family) => createIptables({ exec: host.exec, family }));
    const usable = await Promise.all(programs.map((each) => each.isUsable(host.stop)));
    const source = {
      iptables: programs.filter((_, index) => usable[index]),
      ...{ exec: host.exec, clock: host.clock, root: "/", healthPort },
    };
    const signs = computeForeignSigns(await readForeignFacts(source, host.stop));
    if (signs.length === 0) return ok(name, "none");
    const consequence = "two proxies undo each other's rules: Services come and go";
    return {
      name,
      state: "degraded",
      detail: signs.join("; "),
      consequence,
      remedy: FOREIGN_REMEDY,
    };
  } catch (error) {
    if (!hasCode(error, "CommandMissing", "CommandFailed")) throw error;
    return unknown(name, error, "run it as root, with iptables installed");
  }
}

async function checkCredentials(host: Host, flags: Flags): Promise<HostCheck> {
  const name = "proxy credentials";
  try {
    const { client } = await connectProxy(host, flags);
    const one: ListOptions = { fieldSelector: "metadata.name=longshore-check" };
    try {
      await client.list(SERVICES, one, host.stop);
      await client.list(ENDPOINT_SLICES, one, host.stop);
      return ok(name, "may list Services and EndpointSlices");
    } finally {
      client.close();
    }
  } catch (error) {
    if (hasCode(error, "Aborted")) throw error;
    return hasCode(error, "ApiForbidden")
      ? forbidden(name, error.message)
      : unknown(name, error, "give the agent's --config, and see that the API server is up");
  }
}

/** @param words the API server's, which name the user */
export function forbidden(name: string, words: string): HostCheck {
  const user = /User "([^"]+)"/.exec(words)?.[1] ?? "system:kube-proxy";
  const binding = "kubectl create clusterrolebinding longshore-proxy";
  return {
    name,
    state: "failed",
    detail: words,
    consequence: "no Service works on this node",
    remedy: `${binding} --clusterrole=system:node-proxier --user=${user} (or see deploy/rbac.yaml)`,
  };
}

function ok(name: string, detail: string): HostCheck {
  return { name, state: "ok", detail, consequence: "", remedy: "" };
}

function unknown(name: string, error: unknown, remedy: string): HostCheck {
  const detail = `unknown: ${messageOf(error)}`;
  return { name, state: "degraded", detail, consequence: "not known", remedy };
}
