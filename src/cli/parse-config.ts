/**
 * Flags and configuration file → AgentConfig. Flags win over the file, the file over the defaults. Pure: the caller
 * reads the file. Every mistake is ConfigInvalid and names the field, what it has and what it wants.
 */

import { load } from "js-yaml";
import { milliValue, type WireQuantity, value as wholeUnits } from "../api/quantity.ts";
import type { AgentConfig, EvictionThresholds, ReservedResources } from "../config.ts";
import { hasCode, LongshoreError, messageOf } from "../core/errors.ts";
import { parseCidr } from "../core/ip.ts";
import { repositoryOf } from "../images/repository.ts";
import { dottedSysctl, sysctlNamespace } from "../runtime/sysctls.ts";
import {
  bad,
  cidr,
  duration,
  entriesOf,
  flag,
  headers,
  ip,
  labels,
  list,
  oneOf,
  type Parse,
  path,
  period,
  text,
  url,
  whole,
} from "./config-values.ts";

interface Field<T> {
  readonly parse: Parse<T>;
  readonly fallback: T;
}

const CONFIG_API = "longshore.dev/v1alpha1";
const CONFIG_KIND = "AgentConfiguration";

/** Only what is a namespace's own: a pod must not set what belongs to the whole machine. */
const sysctl: Parse<string> = (value, field) => {
  const name = dottedSysctl(text(value, field));
  if (sysctlNamespace(name.replace(/\*$/, "x")) === undefined)
    throw bad(
      field,
      value,
      "a kernel parameter known to be namespaced, such as net.core.somaxconn",
    );
  return name;
};

/** Go durations of one unit: 10s, 500ms, 5m, 1h. */
function amount(value: unknown, field: string, read: (quantity: WireQuantity) => number): number {
  try {
    const number = read(value as WireQuantity);
    if (number >= 0) return number;
  } catch (error) {
    if (!hasCode(error, "ApiInvalid")) throw error;
  }
  throw bad(field, value, "a quantity such as 500m or 1Gi");
}

/** `cpu=500m,memory=1Gi`. */
const reserved: Parse<ReservedResources> = (value, field) =>
  Object.fromEntries(
    entriesOf(value, "=").map(([name, quantity]) => {
      oneOf("cpu", "memory", "ephemeral-storage")(name, field);
      const read = name === "cpu" ? milliValue : wholeUnits;
      return [name, amount(quantity, `${field}.${name}`, read)];
    }),
  );

/** `memory.available<100Mi,nodefs.available<10%`. */
const thresholds: Parse<EvictionThresholds> = (value, field) =>
  Object.fromEntries(
    entriesOf(value, "<").map(([signal, limit]) => {
      oneOf("memory.available", "nodefs.available")(signal, field);
      const percent = /^(\d+(?:\.\d+)?)%$/.exec(String(limit))?.[1];
      if (percent === undefined)
        return [signal, { bytes: amount(limit, `${field}.${signal}`, wholeUnits) }];
      if (Number(percent) > 100) throw bad(`${field}.${signal}`, limit, "at most 100%");
      return [signal, { fraction: Number(percent) / 100 }];
    }),
  );

/** A repository as spelled out, or a prefix of repositories that ends with a slash and a star. */
const imagePattern: Parse<string> = (value, field) => {
  const pattern = text(value, field);
  const isPrefix = /^[^\s*/][^\s*]*\/\*$/.test(pattern);
  if (!isPrefix && (/[\s*]/.test(pattern) || repositoryOf(pattern) !== pattern))
    throw bad(
      field,
      value,
      "an image such as docker.io/library/busybox or a prefix such as a.io/b/*",
    );
  return pattern;
};

const VERIFICATION_POLICIES = [
  "NeverVerify",
  "NeverVerifyPreloadedImages",
  "NeverVerifyAllowlistedImages",
  "AlwaysVerify",
] as const;

type Taints = AgentConfig["registerWithTaints"];

/** `key=value:Effect`, as the kubelet's flag spells taints. */
const taints: Parse<Taints> = (value, field) =>
  list(text)(value, field).map((entry) => {
    const match = /^([^=:]+)(?:=([^:]*))?:(NoSchedule|PreferNoSchedule|NoExecute)$/.exec(entry);
    if (match === null) throw bad(field, entry, "a taint such as key=value:NoSchedule");
    return {
      key: match[1] as string,
      ...(match[2] === undefined ? {} : { value: match[2] }),
      effect: match[3] as Taints[number]["effect"],
    };
  });

function field<T>(parse: Parse<T>, fallback: T): Field<T> {
  return { parse, fallback };
}

const optional = <T>(parse: Parse<T>): Field<T | undefined> =>
  field<T | undefined>(parse, undefined);

/** Every field of the file, by its name there; the flag of the same meaning is this name in kebab-case. */
const FIELDS = {
  kubeconfig: field(path, ""),
  proxyKubeconfig: optional(path),
  hostnameOverride: field(text, ""),
  nodeIp: field(list(ip), []),
  nodeLabels: field(labels, {}),
  registerNode: field(flag, true),
  registerWithTaints: field<Taints>(taints, []),
  containerRuntimeEndpoint: field(text, "unix:///var/run/docker.sock"),
  rootDir: field(path, "/var/lib/longshore"),
  podCidr: optional(cidr),
  clusterCidr: field(list(cidr), []),
  clusterDns: field(list(ip), []),
  clusterDomain: field(text, "cluster.local"),
  resolvConf: field(path, "/etc/resolv.conf"),
  maxPods: field(whole(1, 1000), 110),
  podPidsLimit: optional(whole(1, 4_194_304)),
  systemReserved: field<ReservedResources>(reserved, {}),
  kubeReserved: field<ReservedResources>(reserved, {}),
  evictionHard: field<EvictionThresholds>(thresholds, {
    "memory.available": { bytes: 100 * 1024 ** 2 },
    "nodefs.available": { fraction: 0.1 },
  }),
  allowedUnsafeSysctls: field(list(sysctl), []),
  address: field(ip, "0.0.0.0"),
  port: field(whole(1, 65_535), 10_250),
  clientCaFile: optional(path),
  tlsCertFile: optional(path),
  tlsPrivateKeyFile: optional(path),
  healthzBindAddress: field(ip, "127.0.0.1"),
  healthzPort: field(whole(0, 65_535), 10_248),
  nodeStatusUpdateFrequency: field(duration, 10_000),
  nodeLeaseDurationSeconds: field(whole(10, 3600), 40),
  staticPodPath: optional(path),
  fileCheckFrequency: field(period, 20_000),
  staticPodURL: optional(url),
  staticPodURLHeader: field(headers, {}),
  httpCheckFrequency: field(period, 20_000),
  syncFrequency: field(duration, 60_000),
  serializeImagePulls: field(flag, false),
  maxParallelImagePulls: field(whole(1, 50), 4),
  imagePullProgressDeadline: field(duration, 60_000),
  imageCredentialProviderConfig: optional(path),
  imageCredentialProviderBinDir: optional(path),
  imagePullCredentialsVerificationPolicy: field(
    oneOf(...VERIFICATION_POLICIES),
    "NeverVerifyPreloadedImages" as const,
  ),
  preloadedImagesVerificationAllowlist: field(list(imagePattern), []),
  proxyMode: field(oneOf("iptables", "off"), "iptables" as const),
  // Known here, read by proxy-config.ts with the rest of the proxy's.
  masqueradeAll: field(flag, false),
  iptablesSyncPeriod: field(text, ""),
  iptablesMinSyncPeriod: field(text, ""),
  logLevel: field(oneOf("debug", "info", "warn", "error"), "info" as const),
} as const;

type FieldName = keyof typeof FIELDS;

/** Flags that the kubelet names otherwise than the field, or that have two names. */
const FLAGS_OF: Partial<Record<FieldName, readonly string[]>> = {
  staticPodPath: ["podManifestPath"],
  staticPodURL: ["manifestUrl"],
  staticPodURLHeader: ["manifestUrlHeader"],
  proxyMode: ["proxy", "proxyMode"],
};
type Values = { readonly [K in FieldName]: (typeof FIELDS)[K]["fallback"] };

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

export interface ConfigInput {
  /** As commander gives them, camelCase. */
  readonly flags: Readonly<Record<string, unknown>>;
  /** Result of parseConfigFile, or {}. */
  readonly file: Readonly<Record<string, unknown>>;
  readonly hostname: string;
}

/** All but `proxy`, which proxy-config.ts reads. */
export function computeAgentConfig(input: ConfigInput): Omit<AgentConfig, "proxy"> {
  const names = Object.keys(FIELDS) as FieldName[];
  const values = Object.fromEntries(
    names.map((name) => [name, pick(name, givenFor(name, input))]),
  ) as unknown as Values;
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
  const { hostnameOverride, nodeIp, clusterCidr, ...rest } = values;
  const nodeName = (hostnameOverride === "" ? input.hostname : hostnameOverride)
    .trim()
    .toLowerCase();
  if (!/^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(nodeName))
    throw bad("hostnameOverride", nodeName, "a DNS name, as node names must be");
  return dropUndefined({
    ...rest,
    nodeName,
    nodeIps: nodeIp,
    // The pod network is an IPv4 one; those of the other family are for the proxy, which reads this flag, too.
    clusterCidr: clusterCidr.find((range) => parseCidr(range)?.family === "IPv4"),
    nodeStatusUpdateFrequencyMs: values.nodeStatusUpdateFrequency,
    syncFrequencyMs: values.syncFrequency,
    imagePullProgressDeadlineMs: values.imagePullProgressDeadline,
    fileCheckFrequencyMs: values.fileCheckFrequency,
    httpCheckFrequencyMs: values.httpCheckFrequency,
  }) as AgentConfig;
}

function givenFor(name: FieldName, { flags, file }: ConfigInput): unknown {
  const [flag_] = FLAGS_OF[name]?.filter((flag) => flags[flag] !== undefined) ?? [];
  return flags[flag_ ?? name] ?? file[name];
}

function pick(name: FieldName, given: unknown): unknown {
  const { parse, fallback } = FIELDS[name] as Field<unknown>;
  return given === undefined ? fallback : parse(given, name);
}

function dropUndefined(value: object): object {
  return Object.fromEntries(Object.entries(value).filter(([, inner]) => inner !== undefined));
}
