/** For /configz: what the agent was told, in the words of KubeletConfiguration. Pure. */

import type { AgentConfig } from "./config.ts";

export function toKubeletConfiguration(config: AgentConfig): object {
  return {
    kind: "KubeletConfiguration",
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    ...serverPart(config),
    ...nodePart(config),
    ...podPart(config),
  };
}

function duration(ms: number): string {
  return `${ms / 1000}s`;
}

function serverPart(config: AgentConfig): object {
  const { authentication, authorization } = config;
  return {
    enableServer: config.enableServer,
    address: config.address,
    port: config.port,
    readOnlyPort: 0,
    tlsCertFile: config.tlsCertFile,
    tlsPrivateKeyFile: config.tlsPrivateKeyFile,
    tlsMinVersion: config.tlsMinVersion,
    rotateCertificates: config.rotateCertificates,
    serverTLSBootstrap: config.serverTLSBootstrap,
    authentication: {
      x509: { clientCAFile: config.clientCaFile },
      webhook: { enabled: authentication.webhook, cacheTTL: duration(authentication.cacheMs) },
      anonymous: { enabled: authentication.anonymous },
    },
    authorization: {
      mode: authorization.mode,
      webhook: {
        cacheAuthorizedTTL: duration(authorization.allowedMs),
        cacheUnauthorizedTTL: duration(authorization.refusedMs),
      },
    },
    enableDebuggingHandlers: config.enableDebuggingHandlers,
    enableSystemLogHandler: config.enableSystemLogHandler,
    healthzBindAddress: config.healthzBindAddress,
    healthzPort: config.healthzPort,
  };
}

function nodePart(config: AgentConfig): object {
  return {
    registerNode: config.registerNode,
    registerWithTaints: config.registerWithTaints,
    providerID: config.providerID === "" ? undefined : config.providerID,
    nodeStatusUpdateFrequency: duration(config.nodeStatusUpdateFrequencyMs),
    nodeStatusReportFrequency: duration(config.nodeStatusReportFrequencyMs),
    nodeStatusMaxImages: config.nodeStatusMaxImages,
    nodeLeaseDurationSeconds: config.nodeLeaseDurationSeconds,
    containerRuntimeEndpoint: config.containerRuntimeEndpoint,
    cgroupDriver: config.cgroupDriver,
    failSwapOn: config.failSwapOn,
    failCgroupV1: config.failCgroupV1,
    oomScoreAdj: config.oomScoreAdj,
    maxPods: config.maxPods,
    podCIDR: config.podCidr,
  };
}

function podPart(config: AgentConfig): object {
  const { volumeStatsAggPeriodMs } = config;
  return {
    clusterDomain: config.clusterDomain,
    clusterDNS: config.clusterDns,
    resolvConf: config.resolvConf,
    podPidsLimit: config.podPidsLimit ?? -1,
    syncFrequency: duration(config.syncFrequencyMs),
    fileCheckFrequency: duration(config.fileCheckFrequencyMs),
    httpCheckFrequency: duration(config.httpCheckFrequencyMs),
    staticPodPath: config.staticPodPath,
    staticPodURL: config.staticPodURL,
    crashLoopBackOff: { maxContainerRestartPeriod: duration(config.maxContainerRestartPeriodMs) },
    volumeStatsAggPeriod:
      volumeStatsAggPeriodMs === undefined ? "-1s" : duration(volumeStatsAggPeriodMs),
    containerLogMaxSize: String(config.containerLogMaxSizeBytes),
    containerLogMaxFiles: config.containerLogMaxFiles,
    registryPullQPS: config.registryPullQPS,
    registryBurst: config.registryBurst,
    serializeImagePulls: config.serializeImagePulls,
    maxParallelImagePulls: config.maxParallelImagePulls,
    allowedUnsafeSysctls: config.allowedUnsafeSysctls,
  };
}
