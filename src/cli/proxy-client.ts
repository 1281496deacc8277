/**
 * A client with the proxy's credentials, as the agent would find them: flags, the agent's or kube-proxy's configuration,
 * or what `longshore up` left. For commands that look at Services without an agent: explain and check.
 */

import { access } from "node:fs/promises";
import type { ApiClient } from "../api/client.ts";
import { createApiClient } from "../api/http-client.ts";
import { loadKubeconfig } from "../api/kubeconfig.ts";
import { LongshoreError } from "../core/errors.ts";
import type { Host } from "./host.ts";
import { type ConfigFile, readConfigFile } from "./proxy-config.ts";

type Flags = Readonly<Record<string, unknown>>;

const CONFIG = "/etc/longshore/config.yaml";
/** Where `longshore up` puts the proxy's credentials. */
const UP_KUBECONFIG = "/var/lib/longshore/controlplane/proxy.kubeconfig";

export interface ConnectedProxy {
  readonly client: ApiClient;
  readonly nodeName: string;
}

/** With the proxy's credentials, as the agent would find them. */
export async function connectProxy(host: Host, flags: Flags): Promise<ConnectedProxy> {
  const { file, document } = await readAgentFile(flags);
  const given = (name: string): unknown => flags[name] ?? file[name];
  const path =
    given("proxyKubeconfig") ??
    document.values.proxyKubeconfig ??
    given("kubeconfig") ??
    ((await exists(UP_KUBECONFIG)) ? UP_KUBECONFIG : undefined);
  if (path === undefined)
    throw new LongshoreError(
      "ConfigInvalid",
      `no credentials: there is no ${CONFIG}; give --config FILE, or --kubeconfig FILE`,
    );
  const { clock, exec, env, random, version } = host;
  const credentials = await loadKubeconfig(String(path), { clock, exec, env });
  const log = host.createLogger("error");
  const userAgent = `longshore/${version}`;
  const nodeName = String(given("hostnameOverride") ?? host.hostname)
    .trim()
    .toLowerCase();
  return { client: createApiClient({ credentials, clock, random, log, userAgent }), nodeName };
}

/** The file of --config, or where the installed agent has it. */
export async function readAgentFile(flags: Flags): Promise<ConfigFile> {
  return readConfigFile(flags.config ?? ((await exists(CONFIG)) ? CONFIG : undefined));
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return false;
  }
}
