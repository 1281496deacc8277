/**
 * The whole configuration: flags, the file of --config with the documents of the agent, the kubelet and kube-proxy, and
 * the files of --config-dir. Flags win over the agent's document, that over the kubelet's (files of --config-dir over
 * --config, the later over the earlier), that over the defaults. Used by agent.ts and up-command.ts.
 */

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { AgentConfig } from "../config.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import { takeDocument } from "./documents.ts";
import type { Host } from "./host.ts";
import {
  KUBELET_KIND,
  mergeKubeletDocuments,
  readKubeletDocument,
  readKubeletFlags,
} from "./kubelet-config.ts";
import { computeAgentConfig } from "./parse-config.ts";
import { computeProxyConfig, readConfigFile, readConfigText } from "./proxy-config.ts";

type Record_ = Readonly<Record<string, unknown>>;

export interface ReadConfig {
  readonly config: AgentConfig;
  /** What of the kubelet's and kube-proxy's configuration has no effect, a sentence each. */
  readonly warnings: readonly string[];
}

/**
 * @param given flags as commander gives them, camelCase
 * @param defaults by field, where they are not the agent's own
 */
export async function readConfig(
  host: Pick<Host, "hostname">,
  given: Record_,
  defaults: Record_ = {},
): Promise<ReadConfig> {
  const { config: path, configDir, ...rest } = given;
  const { values: flags, warnings } = readKubeletFlags(rest);
  const { file, document, kubelet } = await readConfigFile(path);
  const documents = [
    ...(kubelet === undefined ? [] : [{ file: String(path), document: kubelet }]),
    ...(configDir === undefined ? [] : await readDropIns(String(configDir))),
  ];
  const fromKubelet = readKubeletDocument(mergeKubeletDocuments(documents));
  const common = { flags, file, defaults };
  const { proxy, kubeconfig } = computeProxyConfig({ ...common, document });
  const { hostname } = host;
  const config = computeAgentConfig({ ...common, kubelet: fromKubelet.values, hostname });
  const credentials = kubeconfig === "" ? {} : { proxyKubeconfig: kubeconfig };
  return {
    config: { ...config, ...credentials, proxy },
    warnings: [...warnings, ...fromKubelet.warnings, ...document.warnings],
  };
}

interface DropIn {
  readonly file: string;
  readonly document: Record_;
}

/** The files below the directory whose names end with .conf, by their paths. */
async function readDropIns(directory: string): Promise<readonly DropIn[]> {
  const files = await listDirectory(directory);
  return Promise.all(
    files.map(async (file) => {
      const { document, rest } = takeDocument(await readConfigText(file), file, KUBELET_KIND);
      if (document !== undefined && rest === undefined) return { file, document };
      throw new LongshoreError(
        "ConfigInvalid",
        `${file} must hold one ${KUBELET_KIND} document, with its apiVersion and kind`,
      );
    }),
  );
}

async function listDirectory(directory: string): Promise<readonly string[]> {
  try {
    const entries = await readdir(directory, { recursive: true, withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory() && entry.name.endsWith(".conf"))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
  } catch (cause) {
    throw new LongshoreError("ConfigInvalid", `cannot read ${directory}: ${messageOf(cause)}`, {
      cause,
    });
  }
}
