/**
 * One HTTP server for each Service with a healthCheckNodePort: a cloud's load balancer asks it whether this node has
 * endpoints of the Service. Any path and method gets the same answer. `sync` is idempotent: a port that could not be
 * taken is an Event on the Service and is tried again by the next call. Driven by the monitor, one for each family.
 */

import type { EventSink } from "../api/events.ts";
import type { Service } from "../api/types.ts";
import { messageOf } from "../core/errors.ts";
import type { Family } from "../core/ip.ts";
import type { Logger } from "../core/logger.ts";
import { involvedService } from "./events.ts";
import { jsonReply, type Listening, listen, type Reply } from "./http.ts";
import type { HealthCheck } from "./local-policy.ts";

export interface HealthCheckServersOptions {
  readonly family: Family;
  /** Where to listen: all addresses of the family, or those that nodePortAddresses choose. */
  readonly addresses: "all" | readonly string[];
  readonly isProxyHealthy: () => boolean;
  readonly findService: (key: string) => Service | undefined;
  readonly events: EventSink;
  readonly log: Logger;
}

interface Running {
  check: HealthCheck;
  readonly listening: readonly Listening[];
}

export class HealthCheckServers {
  readonly #options: HealthCheckServersOptions;
  readonly #running = new Map<string, Running>();
  #turn: Promise<void> = Promise.resolve();

  constructor(options: HealthCheckServersOptions) {
    this.#options = options;
  }

  /** Takes effect after the calls before it; never throws. */
  sync(wanted: readonly HealthCheck[]): Promise<void> {
    this.#turn = this.#turn.then(() => this.#sync(wanted));
    return this.#turn;
  }

  stop(): Promise<void> {
    return this.sync([]);
  }

  async #sync(wanted: readonly HealthCheck[]): Promise<void> {
    const byKey = new Map(wanted.map((check) => [keyOf(check), check]));
    for (const [key, running] of this.#running) {
      const check = byKey.get(key);
      if (check?.port === running.check.port) {
        running.check = check;
        continue;
      }
      this.#running.delete(key);
      await Promise.all(running.listening.map((each) => each.close()));
    }
    for (const [key, check] of byKey) {
      if (!this.#running.has(key)) await this.#open(key, check);
    }
  }

  async #open(key: string, check: HealthCheck): Promise<void> {
    const { addresses, family, events, log, findService } = this.#options;
    const everywhere = family === "IPv6" ? "::" : "0.0.0.0";
    const listening: Listening[] = [];
    try {
      for (const host of addresses === "all" ? [everywhere] : addresses) {
        const { port } = check;
        listening.push(await listen({ host, port }, () => this.#answer(key)));
      }
      this.#running.set(key, { check, listening });
    } catch (error) {
      await Promise.all(listening.map((each) => each.close()));
      const words = `node cannot serve health check port ${check.port}: ${messageOf(error)}`;
      log.warn({ err: error, service: key }, "a health check port is taken");
      const service = findService(key);
      if (service === undefined) return;
      const about = involvedService(service);
      events.record(about, "Warning", "FailedToStartServiceHealthcheck", words);
    }
  }

  #answer(key: string): Reply {
    const check = this.#running.get(key)?.check;
    // Asked in the moment it closes: kube-proxy says nothing, well.
    if (check === undefined) return jsonReply(200, "");
    const isHealthy = this.#options.isProxyHealthy();
    const { namespace, name } = check;
    const body = {
      service: { namespace, name },
      localEndpoints: check.localEndpoints,
      serviceProxyHealthy: isHealthy,
    };
    return jsonReply(
      isHealthy && check.localEndpoints > 0 ? 200 : 503,
      JSON.stringify(body, null, "\t"),
      { "X-Load-Balancing-Endpoint-Weight": String(check.localEndpoints) },
    );
  }
}

function keyOf({ namespace, name }: HealthCheck): string {
  return `${namespace}/${name}`;
}
