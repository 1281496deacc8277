/** Pods of the benchmark by way of the API server: made, awaited by a watch, deleted. Times are those of the watch. */

import { createApiClient } from "../../src/api/http-client.ts";
import { loadKubeconfig } from "../../src/api/kubeconfig.ts";
import { Reflector } from "../../src/api/reflector.ts";
import { PODS } from "../../src/api/resources.ts";
import type { Store } from "../../src/api/store.ts";
import type { Pod } from "../../src/api/types.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createExec } from "../../src/core/exec.ts";
import { createLogger } from "../../src/core/logger.ts";

const NAMESPACE = "default";
const SIGNAL = new AbortController().signal;
const LONGEST_MS = 300_000;

export class BenchPods {
  readonly #client: ReturnType<typeof createApiClient>;
  readonly #reflector: Reflector<Pod>;
  readonly #store: Store<Pod>;

  private constructor(client: ReturnType<typeof createApiClient>) {
    const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
    this.#client = client;
    this.#reflector = new Reflector({
      ...{ client, resource: PODS, options: { namespace: NAMESPACE }, name: "pods", log },
      ...{ clock: systemClock, random: Math.random },
    });
    this.#store = this.#reflector.store;
    this.#reflector.start();
  }

  static async connect(kubeconfig: string): Promise<BenchPods> {
    const clock = systemClock;
    const credentials = await loadKubeconfig(kubeconfig, {
      ...{ clock, exec: createExec(clock), env: {} },
    });
    const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
    const options = { credentials, clock, random: Math.random, log, userAgent: "bench" };
    const pods = new BenchPods(createApiClient(options));
    await pods.#until(() => pods.#store.isSynced);
    return pods;
  }

  /** Seconds from the first create to the last Ready. */
  async start(names: readonly string[], spec: object): Promise<number> {
    const begun = performance.now();
    const ready = this.#until(() => names.every((name) => isReady(this.#find(name))));
    await this.create(names, spec);
    return ((await ready) - begun) / 1000;
  }

  async create(names: readonly string[], spec: object): Promise<void> {
    await Promise.all(
      names.map((name) => {
        const pod = { apiVersion: "v1", kind: "Pod", metadata: { name }, spec };
        return this.#client.create(PODS, NAMESPACE, pod, SIGNAL);
      }),
    );
  }

  /** Seconds from the first delete to the last object gone. */
  async end(names: readonly string[]): Promise<number> {
    const begun = performance.now();
    const gone = this.#until(() => names.every((name) => this.#find(name) === undefined));
    await Promise.all(
      names.map((name) => this.#client.delete(PODS, { namespace: NAMESPACE, name }, SIGNAL)),
    );
    return ((await gone) - begun) / 1000;
  }

  async close(): Promise<void> {
    await this.#reflector.stop();
    this.#client.close();
  }

  #find(name: string): Pod | undefined {
    return this.#store.get(`${NAMESPACE}/${name}`);
  }

  /** The moment at which the condition held; looked at whenever a pod changes. */
  #until(holds: () => boolean): Promise<number> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error("not within 5 min")), LONGEST_MS);
      const look = (): void => {
        if (!holds()) return;
        clearTimeout(late);
        clearInterval(poll);
        resolve(performance.now());
      };
      const poll = setInterval(look, 50);
      this.#store.onChange(look);
      look();
    });
  }
}

function isReady(pod: Pod | undefined): boolean {
  return (
    pod?.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ??
    false
  );
}
