/**
 * Flags and configuration file → AgentConfig. Flags win over the file, the file over the defaults. Pure: the caller
 * reads the file. Every mistake is ConfigInvalid and names the field, what it has and what it wants.
 */

import { load } from "js-yaml";
import type { AgentConfig } from "../config.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import { parseCidr } from "../core/ip.ts";
import {
  DEFAULT_EVICTION,
  FIELDS,
  type Field,
  type FieldName,
  type Values,
} from "./config-fields.ts";
import { bad } from "./config-values.ts";

const CONFIG_API = "longshore.dev/v1alpha1";
const CONFIG_KIND = "AgentConfiguration";

/** Second names of flags. */
const ALIAS_OF: Partial<Record<FieldName, string>> = { proxyMode: "proxy" };

/** The file's fields. Throws ConfigInvalid for what is not a document of ours. */
export function parseConfigFile(yaml: string, file: string): Readonly<Record<string, unknown>> {
  let document: unknown;
  try {
    document = load(yaml);
  } catch (cause) {
    throw new LongshoreError("ConfigInvalid", `${file} is not YAML: ${messageOf(cause)}`, {
      cause,
    });
  }
  if (document === null || typeof document !== "object" || Array.isArray(document))
    throw new LongshoreError("ConfigInvalid", `${file} must hold one ${CONFIG_KIND} document`);
  const { apiVersion, kind, ...rest } = document as Record<string, unknown>;
  if (apiVersion !== CONFIG_API || kind !== CONFIG_KIND)
    throw new LongshoreError(
      "ConfigInvalid",
      `${file} must start with "apiVersion: ${CONFIG_API}" and "kind: ${CONFIG_KIND}"`,
    );
  for (const name of Object.keys(rest)) {
    if (name in FIELDS) continue;
    throw new LongshoreError(
      "ConfigInvalid",
      `${file}: unknown field ${name}; known are ${Object.keys(FIELDS).join(", ")}`,
    );
  }
  return rest;
}

type Record_ = Readonly<Record<string, unknown>>;

export interface ConfigInput {
  /** By field; those of commander after readKubeletFlags. */
  readonly flags: Record_;
  /** Result of parseConfigFile, or {}. */
  readonly file: Record_;
  /** Of KubeletConfiguration (readKubeletDocument); absent = none. */
  readonly kubelet?: Record_;
  /** Other defaults than those of FIELDS. */
  readonly defaults?: Record_;
  readonly hostname: string;
}

/** All but `proxy`, which proxy-config.ts reads. Flags win over our own document, that over the kubelet's. */
export function computeAgentConfig(input: ConfigInput): Omit<AgentConfig, "proxy"> {
  const names = Object.keys(FIELDS) as FieldName[];
  const values = Object.fromEntries(
    names.map((name) => [name, pick(name, givenFor(name, input))]),
  ) as unknown as Values;
  refuseContradictions(values);
  const { hostnameOverride, nodeIp, cloudProvider, mergeDefaultEvictionSettings, ...rest } = values;
  return dropUndefined({
    ...rest,
    nodeName: nodeNameOf(hostnameOverride, input.hostname),
    nodeIps: nodeIp,
    // The pod network is an IPv4 one; those of the other family are for the proxy, which reads this flag, too.
    clusterCidr: values.clusterCidr.find((range) => parseCidr(range)?.family === "IPv4"),
    evictionHard: mergeDefaultEvictionSettings
      ? { ...DEFAULT_EVICTION, ...values.evictionHard }
      : values.evictionHard,
    registerWithTaints: [
      ...values.registerWithTaints,
      ...(cloudProvider === "external" ? [UNINITIALIZED] : []),
    ],
    tlsCipherSuites: values.tlsCipherSuites.filter((name) => name !== ""),
    authentication: {
      anonymous: values.anonymousAuth,
      webhook: values.authenticationTokenWebhook,
      cacheMs: values.authenticationTokenWebhookCacheTtl,
    },
    authorization: {
      mode: values.authorizationMode,
      allowedMs: values.authorizationWebhookCacheAuthorizedTtl,
      refusedMs: values.authorizationWebhookCacheUnauthorizedTtl,
    },
    nodeStatusUpdateFrequencyMs: values.nodeStatusUpdateFrequency ?? STATUS_UPDATE_MS,
    // As upstream: who changes the one gets the other as well.
    nodeStatusReportFrequencyMs:
      values.nodeStatusReportFrequency ?? values.nodeStatusUpdateFrequency ?? STATUS_REPORT_MS,
    maxContainerRestartPeriodMs: values.maxContainerRestartPeriod,
    volumeStatsAggPeriodMs:
      values.volumeStatsAggPeriod === "off" ? undefined : values.volumeStatsAggPeriod,
    containerLogMaxSizeBytes: values.containerLogMaxSize,
    syncFrequencyMs: values.syncFrequency,
    imagePullProgressDeadlineMs: values.imagePullProgressDeadline,
    fileCheckFrequencyMs: values.fileCheckFrequency,
    httpCheckFrequencyMs: values.httpCheckFrequency,
  }) as AgentConfig;
}

const STATUS_UPDATE_MS = 10_000;
const STATUS_REPORT_MS = 300_000;

/** What a cloud's own controller takes away when it has looked at the node. */
const UNINITIALIZED: AgentConfig["registerWithTaints"][number] = {
  key: "node.cloudprovider.kubernetes.io/uninitialized",
  value: "true",
  effect: "NoSchedule",
};

function nodeNameOf(hostnameOverride: string, hostname: string): string {
  const name = (hostnameOverride === "" ? hostname : hostnameOverride).trim().toLowerCase();
  if (!/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(name))
    throw bad("hostnameOverride", name, "a DNS name, as node names must be");
  return name;
}

function refuseContradictions(values: Values): void {
  if (values.kubeconfig === "")
    throw new LongshoreError(
      "ConfigInvalid",
      "no API server: give --kubeconfig FILE, or run `longshore up` for an embedded one",
    );
  if ((values.tlsCertFile === undefined) !== (values.tlsPrivateKeyFile === undefined))
    throw new LongshoreError("ConfigInvalid", "tlsCertFile and tlsPrivateKeyFile belong together");
  const { imageCredentialProviderConfig: providers, imageCredentialProviderBinDir } = values;
  if ((providers === undefined) !== (imageCredentialProviderBinDir === undefined))
    throw new LongshoreError(
      "ConfigInvalid",
      "imageCredentialProviderConfig and imageCredentialProviderBinDir belong together",
    );
}

function givenFor(name: FieldName, { flags, file, kubelet, defaults }: ConfigInput): unknown {
  const flag = flags[ALIAS_OF[name] ?? name] ?? flags[name];
  return flag ?? file[name] ?? kubelet?.[name] ?? defaults?.[name];
}

function pick(name: FieldName, given: unknown): unknown {
  const { parse, fallback } = FIELDS[name] as Field<unknown>;
  return given === undefined ? fallback : parse(given, name);
}

function dropUndefined(value: object): object {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined));
}
