/**
 * Every field of the agent's configuration: how it is read and what it is when nobody says. Names are those of
 * KubeletConfiguration or of the kubelet's flags, in camelCase. Pure. Used by parse-config.ts.
 */

import { milliValue, type WireQuantity, value as wholeUnits } from "../api/quantity.ts";
import type { AgentConfig, EvictionThresholds, ReservedResources } from "../config.ts";
import { hasCode } from "../core/errors.ts";
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

/** Of the labels that Kubernetes keeps to itself those a node may give itself (kubelet/pkg/apis). */
const OWN_LABELS =
  /^((.+\.)?(kubelet|node)\.kubernetes\.io\/.+|(topology|failure-domain\.beta)\.kubernetes\.io\/(zone|region)|kubernetes\.io\/(hostname|os|arch)|beta\.kubernetes\.io\/(instance-type|os|arch))$/;

const nodeLabels: typeof labels = (value, field) => {
  const found = labels(value, field);
  for (const key of Object.keys(found)) {
    const isKept = /(^|\.)(kubernetes|k8s)\.io\//.test(key);
    if (isKept && !OWN_LABELS.test(key))
      throw bad(field, key, "a label that a node may give itself (the API server would refuse it)");
  }
  return found;
};

export interface Field<T> {
  readonly parse: Parse<T>;
  readonly fallback: T;
}

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
      // All of it turns the threshold off, as nothing of it does.
      return [signal, { fraction: (Number(percent) % 100) / 100 }];
    }),
  );

export const DEFAULT_EVICTION: EvictionThresholds = {
  "memory.available": { bytes: 100 * 1024 ** 2 },
  "nodefs.available": { fraction: 0.1 },
};

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

const taintText: Parse<string> = (value, field) => {
  if (value === null || typeof value !== "object") return text(value, field);
  const { key, value: own, effect } = value as Readonly<Record<string, unknown>>;
  return `${key}${own === undefined || own === "" ? "" : `=${own}`}:${effect}`;
};

/** As Go's crypto/tls calls them. */
const TLS_VERSIONS = ["VersionTLS12", "VersionTLS13"] as const;

/**
 * From Go's name of a suite of TLS 1.2 to OpenSSL's; empty for those of TLS 1.3, among which the kubelet lets nobody
 * choose either.
 */
const cipherSuite: Parse<string> = (value, field) => {
  const name = text(value, field);
  if (/^TLS_(AES|CHACHA20)_\w+$/.test(name)) return "";
  const [, exchange = "", aes, chacha] =
    /^TLS_((?:ECDHE_)?(?:RSA|ECDSA))_WITH_(?:(AES_(?:128|256)_(?:GCM|CBC)_SHA(?:256|384)?)|(CHACHA20_POLY1305)(?:_SHA256)?)$/.exec(
      name,
    ) ?? [];
  const cipher = aes?.replace("AES_", "AES").replace("_CBC", "") ?? chacha;
  if (cipher === undefined)
    throw bad(field, value, "a cipher suite such as TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
  return `${exchange === "RSA" ? "" : `${exchange}_`}${cipher}`.replaceAll("_", "-");
};

const bytes: Parse<number> = (value, field) => amount(value, field, wholeUnits);

/** 1 s to 5 min. */
const restartPeriod: Parse<number> = (value, field) => {
  const ms = duration(value, field);
  if (ms < 1000 || ms > 300_000) throw bad(field, value, "from 1s to 5m");
  return ms;
};

const periodOrOff: Parse<number | "off"> = (value, field) =>
  value === "off" ? value : period(value, field);

type Taints = AgentConfig["registerWithTaints"];

/** `key=value:Effect`, as the kubelet's flag spells taints, or as its file has them. */
const taints: Parse<Taints> = (value, field) =>
  list(taintText)(value, field).map((entry) => {
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
export const FIELDS = {
  kubeconfig: field(path, ""),
  bootstrapKubeconfig: optional(path),
  certDir: optional(path),
  rotateCertificates: field(flag, true),
  proxyKubeconfig: optional(path),
  hostnameOverride: field(text, ""),
  nodeIp: field(list(ip), []),
  nodeLabels: field(nodeLabels, {}),
  registerNode: field(flag, true),
  providerID: field(text, ""),
  cloudProvider: field(oneOf("", "external"), "" as const),
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
  evictionHard: field<EvictionThresholds>(thresholds, DEFAULT_EVICTION),
  mergeDefaultEvictionSettings: field(flag, false),
  allowedUnsafeSysctls: field(list(sysctl), []),
  address: field(ip, "0.0.0.0"),
  port: field(whole(1, 65_535), 10_250),
  clientCaFile: optional(path),
  tlsCertFile: optional(path),
  tlsPrivateKeyFile: optional(path),
  serverTLSBootstrap: field(flag, false),
  tlsMinVersion: field(oneOf(...TLS_VERSIONS), "VersionTLS12" as const),
  tlsCipherSuites: field(list(cipherSuite), []),
  anonymousAuth: field(flag, false),
  authenticationTokenWebhook: field(flag, true),
  authenticationTokenWebhookCacheTtl: field(duration, 120_000),
  authorizationMode: field(oneOf("AlwaysAllow", "Webhook"), "Webhook" as const),
  authorizationWebhookCacheAuthorizedTtl: field(duration, 300_000),
  authorizationWebhookCacheUnauthorizedTtl: field(duration, 30_000),
  enableServer: field(flag, true),
  enableDebuggingHandlers: field(flag, true),
  enableSystemLogHandler: field(flag, true),
  healthzBindAddress: field(ip, "127.0.0.1"),
  healthzPort: field(whole(0, 65_535), 10_248),
  nodeStatusUpdateFrequency: optional(duration),
  nodeStatusReportFrequency: optional(duration),
  nodeStatusMaxImages: field(whole(-1, 100_000), 50),
  nodeLeaseDurationSeconds: field(whole(10, 3600), 40),
  staticPodPath: optional(path),
  fileCheckFrequency: field(period, 20_000),
  staticPodURL: optional(url),
  staticPodURLHeader: field(headers, {}),
  httpCheckFrequency: field(period, 20_000),
  syncFrequency: field(duration, 60_000),
  maxContainerRestartPeriod: field(restartPeriod, 300_000),
  volumeStatsAggPeriod: field(periodOrOff, 60_000),
  containerLogMaxSize: field(bytes, 10 * 1024 ** 2),
  containerLogMaxFiles: field(whole(2, 1000), 5),
  oomScoreAdj: optional(whole(-1000, 1000)),
  failSwapOn: field(flag, false),
  failCgroupV1: field(flag, false),
  cgroupDriver: optional(oneOf("cgroupfs", "systemd")),
  registryPullQPS: field(whole(0, 1_000_000), 5),
  registryBurst: field(whole(0, 1_000_000), 10),
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

export type FieldName = keyof typeof FIELDS;

export type Values = { readonly [K in FieldName]: (typeof FIELDS)[K]["fallback"] };
