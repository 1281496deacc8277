/**
 * The two ports people and load balancers ask the proxy on: health (10256: /healthz, /livez) and metrics (10249:
 * /healthz, /metrics, /proxyMode, /configz). Built here, started and stopped by agent-proxy.ts.
 */

import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import type { ProxyHealth } from "./health.ts";
import { type Answer, jsonReply, KeptServer, type ListenAddress, NOT_FOUND } from "./http.ts";
import type { ProxyMetrics } from "./metrics.ts";

interface ServerOptions {
  readonly at: ListenAddress;
  /** bindAddressHardFail: a taken port ends the start. */
  readonly hardFail: boolean;
  readonly metrics: ProxyMetrics;
  readonly clock: Clock;
  readonly log: Logger;
}

export function createHealthServer(
  options: ServerOptions & { readonly health: ProxyHealth },
): KeptServer {
  const answer: Answer = (path) => {
    const reply = options.health.answer(path);
    options.metrics.asked(path, reply.status);
    return reply;
  };
  return new KeptServer({ ...options, name: "proxy health", answer });
}

/** @param configz the configuration in force, as KubeProxyConfiguration. */
export function createMetricsServer(
  options: ServerOptions & { readonly configz: object },
): KeptServer {
  const { metrics, configz } = options;
  const plain = (body: string, type = "text/plain; charset=utf-8") => ({ status: 200, type, body });
  const answer: Answer = async (path) => {
    switch (path) {
      case "/healthz":
        return plain("ok");
      case "/metrics":
        return plain(await metrics.text(), metrics.contentType);
      case "/proxyMode":
        return plain("iptables");
      case "/configz":
        return jsonReply(200, JSON.stringify({ "kubeproxy.config.k8s.io": configz }));
      default:
        return NOT_FOUND;
    }
  };
  return new KeptServer({ ...options, name: "proxy metrics", answer });
}
