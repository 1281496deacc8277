/**
 * What the agent was told: flags and config file, validated into one readonly value (parse-config.ts in cli does the
 * reading). Field names follow KubeletConfiguration and the kubelet's flags where those exist.
 */

export type ReservedResources = Readonly<
  Partial<Record<"cpu" | "memory" | "ephemeral-storage", number>>
>;

export type EvictionThresholds = Readonly<
  Partial<
    Record<
      "memory.available" | "nodefs.available",
      { readonly bytes: number } | { readonly fraction: number }
    >
  >
>;

export interface AgentConfig {
  /** `--hostname-override`, else the host's name, lower-cased. */
  readonly nodeName: string;
  /** `--node-ip`; empty = the address of the interface with the default route. */
  readonly nodeIps: readonly string[];
  readonly nodeLabels: Readonly<Record<string, string>>;
  readonly registerNode: boolean;
  readonly registerWithTaints: readonly {
    readonly key: string;
    readonly value?: string;
    readonly effect: "NoSchedule" | "PreferNoSchedule" | "NoExecute";
  }[];
  /** `--provider-id`, empty = none. */
  readonly providerID: string;
  readonly kubeconfig: string;
  /** Credentials to ask for a client certificate with, while there is none in `kubeconfig` or it has ended. */
  readonly bootstrapKubeconfig?: string;
  /** Where certificates that the node asked for are kept; absent = pki in `rootDir`. */
  readonly certDir?: string;
  /** Whether the client certificate gets a successor before it ends. */
  readonly rotateCertificates: boolean;
  /** Credentials of the proxy; absent = those of the node. */
  readonly proxyKubeconfig?: string;
  readonly proxyMode: "iptables" | "off";
  /** Engine socket, `unix:///var/run/docker.sock`. */
  readonly containerRuntimeEndpoint: string;
  /** `--root-dir`, default /var/lib/longshore. */
  readonly rootDir: string;
  /** `podCIDR` to use until the Node object has one. */
  readonly podCidr?: string;
  /** All pods of the cluster over IPv4; what leaves it is masqueraded. */
  readonly clusterCidr?: string;
  readonly clusterDns: readonly string[];
  readonly clusterDomain: string;
  /** Path of the node's resolv.conf; empty = none. */
  readonly resolvConf: string;
  readonly maxPods: number;
  /** Processes of each pod; absent = unlimited. */
  readonly podPidsLimit?: number;
  /** What pods may not request because others on the host need it: cpu in millicores, else bytes. */
  readonly systemReserved: ReservedResources;
  readonly kubeReserved: ReservedResources;
  /** Signal → what is kept free of it: bytes, or a part of the whole. Counts in what pods may request. */
  readonly evictionHard: EvictionThresholds;
  /** Namespaced kernel parameters that pods may set besides the safe ones: names, or beginnings followed by `*`. */
  readonly allowedUnsafeSysctls: readonly string[];
  /** Address and port of the kubelet server (10250). */
  readonly address: string;
  readonly port: number;
  readonly clientCaFile?: string;
  readonly tlsCertFile?: string;
  readonly tlsPrivateKeyFile?: string;
  readonly tlsMinVersion: "VersionTLS12" | "VersionTLS13";
  /** OpenSSL's names, for TLS 1.2; empty = Node's own choice. */
  readonly tlsCipherSuites: readonly string[];
  readonly authentication: AuthenticationConfig;
  readonly authorization: AuthorizationConfig;
  readonly enableServer: boolean;
  /** exec, attach, run, port-forward, logs and what else looks into pods. */
  readonly enableDebuggingHandlers: boolean;
  readonly enableSystemLogHandler: boolean;
  /** Whether the serving certificate is asked for at the API server. */
  readonly serverTLSBootstrap: boolean;
  readonly healthzBindAddress: string;
  /** 10248; 0 = off. */
  readonly healthzPort: number;
  readonly nodeStatusUpdateFrequencyMs: number;
  /** How often an unchanged status is written. */
  readonly nodeStatusReportFrequencyMs: number;
  /** -1 = all. */
  readonly nodeStatusMaxImages: number;
  readonly nodeLeaseDurationSeconds: number;
  /** Directory or file of static pods; absent = none. */
  readonly staticPodPath?: string;
  readonly fileCheckFrequencyMs: number;
  /** Where static pods are fetched from; absent = nowhere. */
  readonly staticPodURL?: string;
  readonly staticPodURLHeader: Readonly<Record<string, readonly string[]>>;
  readonly httpCheckFrequencyMs: number;
  /** Resync of a pod without events, 60 s. */
  readonly syncFrequencyMs: number;
  /** The longest crash back-off of a container, 5 min. */
  readonly maxContainerRestartPeriodMs: number;
  /** How old a measurement of a volume may be, 1 min; absent = none is made. */
  readonly volumeStatsAggPeriodMs?: number;
  readonly containerLogMaxSizeBytes: number;
  readonly containerLogMaxFiles: number;
  /** Of the agent itself; absent = as the service manager has it. */
  readonly oomScoreAdj?: number;
  /** Refuse to start on a host with swap, or with cgroup version 1. */
  readonly failSwapOn: boolean;
  readonly failCgroupV1: boolean;
  /** What the cluster expects of the Engine, which decides. */
  readonly cgroupDriver?: "cgroupfs" | "systemd";
  /** Pulls a second, 0 = as many as there are; and how many at once before that counts. */
  readonly registryPullQPS: number;
  readonly registryBurst: number;
  readonly serializeImagePulls: boolean;
  readonly maxParallelImagePulls: number;
  /** How long a pull may make no progress, 1 min. */
  readonly imagePullProgressDeadlineMs: number;
  /** A CredentialProviderConfig file or a folder of them, and where its programs are; both or none. */
  readonly imageCredentialProviderConfig?: string;
  readonly imageCredentialProviderBinDir?: string;
  readonly imagePullCredentialsVerificationPolicy:
    | "NeverVerify"
    | "NeverVerifyPreloadedImages"
    | "NeverVerifyAllowlistedImages"
    | "AlwaysVerify";
  readonly preloadedImagesVerificationAllowlist: readonly string[];
  readonly proxy: ProxyConfig;
  readonly logLevel: "debug" | "info" | "warn" | "error";
}

/** Who asks the kubelet server. */
export interface AuthenticationConfig {
  readonly anonymous: boolean;
  /** Bearer tokens, by TokenReview. */
  readonly webhook: boolean;
  readonly cacheMs: number;
}

/** Who may. */
export interface AuthorizationConfig {
  readonly mode: "AlwaysAllow" | "Webhook";
  readonly allowedMs: number;
  readonly refusedMs: number;
}

/** What of KubeProxyConfiguration applies here; durations in milliseconds. */
export interface ProxyConfig {
  readonly masqueradeAll: boolean;
  readonly masqueradeBit: number;
  /** NodePorts answer on 127.0.0.1, too. */
  readonly localhostNodePorts: boolean;
  readonly syncPeriodMs: number;
  readonly minSyncPeriodMs: number;
  readonly detectLocalMode: "ClusterCIDR" | "NodeCIDR" | "BridgeInterface" | "InterfaceNamePrefix";
  /** For mode ClusterCIDR; the first of a family counts. */
  readonly clusterCidrs: readonly string[];
  readonly bridgeInterface: string;
  readonly interfaceNamePrefix: string;
  /** CIDRs, or the one word `primary`; empty = every local address. */
  readonly nodePortAddresses: readonly string[];
  /** Port 0 = off. */
  readonly healthzBindAddress: BindAddress;
  readonly metricsBindAddress: BindAddress;
  readonly bindAddressHardFail: boolean;
  readonly conntrack: {
    /** 0 = leave nf_conntrack_max alone. */
    readonly maxPerCore: number;
    readonly min: number;
    readonly tcpBeLiberal: boolean;
    /** 0 = leave it alone. */
    readonly tcpEstablishedTimeoutMs: number;
    readonly tcpCloseWaitTimeoutMs: number;
    readonly udpTimeoutMs: number;
    readonly udpStreamTimeoutMs: number;
  };
}

export interface BindAddress {
  readonly host: string;
  readonly port: number;
}
