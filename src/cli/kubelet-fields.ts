/**
 * Every field of KubeletConfiguration v1beta1 and every flag of the kubelet, both of Kubernetes 1.36: the field of the
 * agent that each becomes, or why it has no effect here. Data only; kubelet-config.ts reads it.
 */

export interface KubeletField {
  /** The kubelet's flag of the same meaning. */
  readonly flag?: string;
  /** The flag may stand without a value. */
  readonly isSwitch?: true;
  /** The agent's field (config-fields.ts). */
  readonly to?: string;
  /** Zero, or an empty text, is a value and not how Go writes "not given". */
  readonly zeroCounts?: true;
  /** Why it has no effect. */
  readonly why?: string;
  /** Values that ask for what is done anyway: nobody needs to be told. */
  readonly usual?: readonly unknown[];
}

type More = Pick<KubeletField, "usual" | "zeroCounts" | "to">;

/** `name`, or `name?` for a switch. */
function flagOf(flag: string | undefined): Pick<KubeletField, "flag" | "isSwitch"> {
  if (flag === undefined) return {};
  return flag.endsWith("?") ? { flag: flag.slice(0, -1), isSwitch: true } : { flag };
}

const becomes = (to: string, flag?: string, more: More = {}): KubeletField => ({
  ...{ to, ...flagOf(flag), ...more },
});

const idle = (why: string, flag?: string, usual?: readonly unknown[]): KubeletField => ({
  ...{ why, ...flagOf(flag), ...(usual === undefined ? {} : { usual }) },
});

const ABSENT = {
  eviction: "eviction under pressure of the node is absent in this version",
  images: "image garbage collection is absent in this version",
  shutdown: "graceful node shutdown is absent in this version",
  managers: "there is no CPU, memory and topology manager in this version",
  qos: "memory QoS is absent in this version",
  swap: "swap for pods is absent in this version",
  profiling: "there are no profiles as Go makes them",
} as const;
const CGROUPS = "the Engine and the service manager place processes, pods are below kubepods";
const LIMITS = "the client of the API has no rate limit, and speaks JSON";
const LOGS = "the agent's log is lines of JSON on standard error";
const CADVISOR = "there is no cAdvisor: cgroups are read when somebody asks";

/** By the field's path. */
export const KUBELET_FIELDS: Readonly<Record<string, KubeletField>> = {
  enableServer: becomes("enableServer", "enable-server?"),
  staticPodPath: becomes("staticPodPath", "pod-manifest-path"),
  podLogsDir: idle("the Engine keeps the logs of containers"),
  syncFrequency: becomes("syncFrequency", "sync-frequency"),
  fileCheckFrequency: becomes("fileCheckFrequency", "file-check-frequency"),
  httpCheckFrequency: becomes("httpCheckFrequency", "http-check-frequency"),
  staticPodURL: becomes("staticPodURL", "manifest-url"),
  staticPodURLHeader: becomes("staticPodURLHeader", "manifest-url-header"),
  address: becomes("address", "address"),
  port: becomes("port", "port"),
  readOnlyPort: idle("there is no port that asks nobody who he is", "read-only-port", [0, "0"]),
  tlsCertFile: becomes("tlsCertFile", "tls-cert-file"),
  tlsPrivateKeyFile: becomes("tlsPrivateKeyFile", "tls-private-key-file"),
  tlsCipherSuites: becomes("tlsCipherSuites", "tls-cipher-suites"),
  tlsCurvePreferences: idle("the key exchanges are Node's"),
  tlsMinVersion: becomes("tlsMinVersion", "tls-min-version"),
  rotateCertificates: becomes("rotateCertificates", "rotate-certificates?"),
  serverTLSBootstrap: becomes("serverTLSBootstrap", "rotate-server-certificates?"),
  "authentication.x509.clientCAFile": becomes("clientCaFile", "client-ca-file"),
  "authentication.webhook.enabled": becomes(
    "authenticationTokenWebhook",
    "authentication-token-webhook?",
  ),
  "authentication.webhook.cacheTTL": becomes(
    "authenticationTokenWebhookCacheTtl",
    "authentication-token-webhook-cache-ttl",
  ),
  "authentication.anonymous.enabled": becomes("anonymousAuth", "anonymous-auth?"),
  "authorization.mode": becomes("authorizationMode", "authorization-mode"),
  "authorization.webhook.cacheAuthorizedTTL": becomes(
    "authorizationWebhookCacheAuthorizedTtl",
    "authorization-webhook-cache-authorized-ttl",
  ),
  "authorization.webhook.cacheUnauthorizedTTL": becomes(
    "authorizationWebhookCacheUnauthorizedTtl",
    "authorization-webhook-cache-unauthorized-ttl",
  ),
  registryPullQPS: becomes("registryPullQPS", "registry-qps", { zeroCounts: true }),
  registryBurst: becomes("registryBurst", "registry-burst"),
  imagePullCredentialsVerificationPolicy: becomes("imagePullCredentialsVerificationPolicy"),
  preloadedImagesVerificationAllowlist: becomes("preloadedImagesVerificationAllowlist"),
  eventRecordQPS: idle("events are limited for each object: 25, then one each 5 min", "event-qps"),
  eventBurst: idle("events are limited for each object: 25, then one each 5 min", "event-burst"),
  enableDebuggingHandlers: becomes("enableDebuggingHandlers", "enable-debugging-handlers?"),
  enableContentionProfiling: idle(ABSENT.profiling, "contention-profiling?", [false, "false"]),
  healthzPort: becomes("healthzPort", "healthz-port", { zeroCounts: true }),
  healthzBindAddress: becomes("healthzBindAddress", "healthz-bind-address"),
  oomScoreAdj: becomes("oomScoreAdj", "oom-score-adj", { zeroCounts: true }),
  clusterDomain: becomes("clusterDomain", "cluster-domain"),
  clusterDNS: becomes("clusterDns", "cluster-dns"),
  streamingConnectionIdleTimeout: idle(
    "the kubelet ignores it, too",
    "streaming-connection-idle-timeout",
  ),
  nodeStatusUpdateFrequency: becomes("nodeStatusUpdateFrequency", "node-status-update-frequency"),
  nodeStatusReportFrequency: becomes("nodeStatusReportFrequency"),
  nodeLeaseDurationSeconds: becomes("nodeLeaseDurationSeconds"),
  imageMinimumGCAge: idle(ABSENT.images, "minimum-image-ttl-duration"),
  imageMaximumGCAge: idle(ABSENT.images),
  imageGCHighThresholdPercent: idle(ABSENT.images, "image-gc-high-threshold"),
  imageGCLowThresholdPercent: idle(ABSENT.images, "image-gc-low-threshold"),
  volumeStatsAggPeriod: becomes("volumeStatsAggPeriod", "volume-stats-agg-period"),
  kubeletCgroups: idle(CGROUPS, "kubelet-cgroups"),
  systemCgroups: idle(CGROUPS, "system-cgroups"),
  cgroupRoot: idle(CGROUPS, "cgroup-root", ["/"]),
  cgroupsPerQOS: idle("each QoS class has a cgroup", "cgroups-per-qos?", [true, "true"]),
  cgroupDriver: becomes("cgroupDriver", "cgroup-driver"),
  cpuManagerPolicy: idle(ABSENT.managers, "cpu-manager-policy", ["none"]),
  singleProcessOOMKill: idle("memory.oom.group is never set", undefined, [true]),
  cpuManagerPolicyOptions: idle(ABSENT.managers, "cpu-manager-policy-options"),
  cpuManagerReconcilePeriod: idle(ABSENT.managers, "cpu-manager-reconcile-period"),
  memoryManagerPolicy: idle(ABSENT.managers, "memory-manager-policy", ["None"]),
  topologyManagerPolicy: idle(ABSENT.managers, "topology-manager-policy", ["none"]),
  topologyManagerScope: idle(ABSENT.managers, "topology-manager-scope", ["container"]),
  topologyManagerPolicyOptions: idle(ABSENT.managers, "topology-manager-policy-options"),
  qosReserved: idle(ABSENT.qos, "qos-reserved"),
  runtimeRequestTimeout: idle(
    "each call of the Engine has a deadline of its own",
    "runtime-request-timeout",
  ),
  hairpinMode: idle("a pod always reaches itself through a Service", "hairpin-mode", [
    ...["hairpin-veth", "promiscuous-bridge"],
  ]),
  maxPods: becomes("maxPods", "max-pods"),
  podCIDR: becomes("podCidr", "pod-cidr"),
  podPidsLimit: becomes("podPidsLimit", "pod-max-pids"),
  resolvConf: becomes("resolvConf", "resolv-conf", { zeroCounts: true }),
  runOnce: idle("the agent runs until it is told to stop", "runonce?", [false, "false"]),
  cpuCFSQuota: idle("limits of CPU always hold", "cpu-cfs-quota?", [true, "true"]),
  cpuCFSQuotaPeriod: idle("the period is the kernel's of 100 ms", "cpu-cfs-quota-period", [
    "100ms",
  ]),
  nodeStatusMaxImages: becomes("nodeStatusMaxImages", "node-status-max-images", {
    zeroCounts: true,
  }),
  maxOpenFiles: idle("the service manager sets it (LimitNOFILE)", "max-open-files"),
  contentType: idle(LIMITS, "kube-api-content-type"),
  kubeAPIQPS: idle(LIMITS, "kube-api-qps"),
  kubeAPIBurst: idle(LIMITS, "kube-api-burst"),
  serializeImagePulls: becomes("serializeImagePulls", "serialize-image-pulls?"),
  maxParallelImagePulls: becomes("maxParallelImagePulls"),
  evictionHard: becomes("evictionHard", "eviction-hard"),
  evictionSoft: idle(ABSENT.eviction, "eviction-soft"),
  evictionSoftGracePeriod: idle(ABSENT.eviction, "eviction-soft-grace-period"),
  evictionPressureTransitionPeriod: idle(ABSENT.eviction, "eviction-pressure-transition-period"),
  evictionMaxPodGracePeriod: idle(ABSENT.eviction, "eviction-max-pod-grace-period"),
  evictionMinimumReclaim: idle(ABSENT.eviction, "eviction-minimum-reclaim"),
  mergeDefaultEvictionSettings: becomes("mergeDefaultEvictionSettings"),
  podsPerCore: idle("say maxPods", "pods-per-core"),
  enableControllerAttachDetach: idle(
    "there are no volumes that are attached",
    "enable-controller-attach-detach?",
    [true, "true"],
  ),
  protectKernelDefaults: idle(
    "the agent never changes these kernel parameters",
    "protect-kernel-defaults?",
    [false, "false"],
  ),
  makeIPTablesUtilChains: idle(
    "the chains of the agent are those of its proxy and its pod network",
    "make-iptables-util-chains?",
    [true, "true"],
  ),
  iptablesMasqueradeBit: idle("the kubelet ignores it, too"),
  iptablesDropBit: idle("the kubelet ignores it, too"),
  featureGates: idle("there are no feature gates here", "feature-gates"),
  failSwapOn: becomes("failSwapOn", "fail-swap-on?"),
  "memorySwap.swapBehavior": idle(ABSENT.swap, undefined, ["NoSwap"]),
  containerLogMaxSize: becomes("containerLogMaxSize", "container-log-max-size"),
  containerLogMaxFiles: becomes("containerLogMaxFiles", "container-log-max-files"),
  containerLogMaxWorkers: idle("the Engine rotates logs as it writes them"),
  containerLogMonitorInterval: idle("the Engine rotates logs as it writes them"),
  configMapAndSecretChangeDetectionStrategy: idle(
    "objects that pods refer to are always read as the agent finds best",
    undefined,
    ["Watch"],
  ),
  systemReserved: becomes("systemReserved", "system-reserved"),
  kubeReserved: becomes("kubeReserved", "kube-reserved"),
  reservedSystemCPUs: idle(`${ABSENT.managers}; systemReserved keeps CPU free`, "reserved-cpus"),
  showHiddenMetricsForVersion: idle("no metric is hidden"),
  systemReservedCgroup: idle(CGROUPS, "system-reserved-cgroup"),
  kubeReservedCgroup: idle(CGROUPS, "kube-reserved-cgroup"),
  enforceNodeAllocatable: idle(
    "what is allocatable holds for pods, and for nothing else",
    "enforce-node-allocatable",
    [["pods"], "pods"],
  ),
  allowedUnsafeSysctls: becomes("allowedUnsafeSysctls", "allowed-unsafe-sysctls"),
  volumePluginDir: idle("there are no FlexVolumes", "volume-plugin-dir"),
  providerID: becomes("providerID", "provider-id"),
  kernelMemcgNotification: idle(ABSENT.eviction, "kernel-memcg-notification?", [false, "false"]),
  "logging.format": idle(LOGS, "logging-format", ["json", "text"]),
  "logging.flushFrequency": idle(LOGS, "log-flush-frequency"),
  "logging.verbosity": becomes("logLevel", "v"),
  "logging.vmodule": idle(LOGS, "vmodule"),
  "logging.options.text.splitStream": idle(LOGS, "log-text-split-stream?", [false, "false"]),
  "logging.options.text.infoBufferSize": idle(LOGS, "log-text-info-buffer-size", ["0"]),
  "logging.options.json.splitStream": idle(LOGS, "log-json-split-stream?", [false, "false"]),
  "logging.options.json.infoBufferSize": idle(LOGS, "log-json-info-buffer-size", ["0"]),
  enableSystemLogHandler: becomes("enableSystemLogHandler"),
  enableSystemLogQuery: idle("/logs has files only", undefined, [false]),
  shutdownGracePeriod: idle(ABSENT.shutdown),
  shutdownGracePeriodCriticalPods: idle(ABSENT.shutdown),
  shutdownGracePeriodByPodPriority: idle(ABSENT.shutdown),
  "crashLoopBackOff.maxContainerRestartPeriod": becomes("maxContainerRestartPeriod"),
  reservedMemory: idle(ABSENT.managers, "reserved-memory"),
  enableProfilingHandler: idle(ABSENT.profiling),
  enableDebugFlagsHandler: idle("the log level is that of the start"),
  seccompDefault: idle(
    "the Engine's default profile always holds where a pod names none",
    "seccomp-default?",
    [true, "true"],
  ),
  memoryThrottlingFactor: idle(ABSENT.qos),
  memoryReservationPolicy: idle(ABSENT.qos, undefined, ["None"]),
  registerWithTaints: becomes("registerWithTaints", "register-with-taints"),
  registerNode: becomes("registerNode", "register-node?"),
  tracing: idle("there are no traces in this version"),
  localStorageCapacityIsolation: idle(
    "limits of ephemeral storage always hold",
    "local-storage-capacity-isolation?",
    [true, "true"],
  ),
  containerRuntimeEndpoint: becomes("containerRuntimeEndpoint", "container-runtime-endpoint"),
  imageServiceEndpoint: idle("the Engine has the images", "image-service-endpoint"),
  failCgroupV1: becomes("failCgroupV1", "fail-cgroupv1?"),
  userNamespaces: idle("pods have no user namespaces (hostUsers: false is refused)"),
};

/** Flags without a field, by name; those that the agent has itself are in agent-flags.ts. */
export const KUBELET_FLAGS: readonly KubeletField[] = [
  becomes("bootstrapKubeconfig", "bootstrap-kubeconfig"),
  becomes("certDir", "cert-dir"),
  becomes("cloudProvider", "cloud-provider"),
  idle("no sandbox needs an image from a registry", "pod-infra-container-image"),
  idle(CGROUPS, "runtime-cgroups"),
  idle("the port of the kubelet server keeps a second agent away", "lock-file"),
  idle("the port of the kubelet server keeps a second agent away", "exit-on-lock-contention?", [
    ...[false, "false"],
  ]),
  idle("mount(2) mounts", "experimental-mounter-path"),
  idle("evictionHard always counts", "experimental-allocatable-ignore-eviction?", [false, "false"]),
  idle("as many are kept as the kubelet keeps by default", "maximum-dead-containers"),
  idle("as many are kept as the kubelet keeps by default", "maximum-dead-containers-per-container"),
  idle("as many are kept as the kubelet keeps by default", "minimum-container-ttl-duration"),
  ...["application-metrics-count-limit", "boot-id-file", "container-hints", "containerd"]
    .concat(["containerd-namespace", "enable-load-reader?", "event-storage-age-limit"])
    .concat(["event-storage-event-limit", "global-housekeeping-interval", "housekeeping-interval"])
    .concat(["log-cadvisor-usage?", "machine-id-file", "storage-driver-buffer-duration"])
    .concat(["storage-driver-db", "storage-driver-host", "storage-driver-password"])
    .concat(["storage-driver-secure?", "storage-driver-table", "storage-driver-user"])
    .map((flag) => idle(CADVISOR, flag)),
];
