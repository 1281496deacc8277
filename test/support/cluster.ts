/**
 * The shared node as a test sees it: a namespace of its own that is removed with the suite, and the waits and
 * manifests that most scenarios need.
 */

import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, inject } from "vitest";
import { eventually, NodeContainer, type Result } from "./node-container.ts";

/** What the tests read of a pod; the rest of the object is there too. */
export interface SeenPod {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly generation: number;
    readonly deletionTimestamp?: string;
    readonly deletionGracePeriodSeconds?: number;
  };
  readonly spec: { readonly nodeName?: string };
  readonly status: {
    readonly phase: string;
    readonly podIP?: string;
    readonly hostIP?: string;
    readonly qosClass?: string;
    readonly startTime?: string;
    readonly reason?: string;
    readonly observedGeneration?: number;
    readonly conditions: readonly SeenCondition[];
    readonly containerStatuses?: readonly SeenContainer[];
    readonly initContainerStatuses?: readonly SeenContainer[];
    readonly ephemeralContainerStatuses?: readonly SeenContainer[];
  };
}

interface SeenCondition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
  readonly observedGeneration?: number;
}

export interface SeenContainer {
  readonly name: string;
  readonly ready: boolean;
  readonly restartCount: number;
  readonly containerID?: string;
  readonly imageID: string;
  readonly state: SeenState;
  readonly lastState: SeenState;
}

interface SeenState {
  readonly waiting?: { readonly reason: string; readonly message?: string };
  readonly running?: { readonly startedAt: string };
  readonly terminated?: {
    readonly exitCode: number;
    readonly reason: string;
    readonly message?: string;
  };
}

/** A container of the busybox image running a shell script. */
export function shell(name: string, script: string, more: object = {}): object {
  return {
    name,
    image: "busybox",
    imagePullPolicy: "IfNotPresent",
    command: ["sh", "-c", script],
    ...more,
  };
}

/** A pod with a short grace period. */
export function podManifest(name: string, spec: object, labels: object = {}): object {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, labels },
    spec: { terminationGracePeriodSeconds: 1, ...spec },
  };
}

/** A script that ends at once on SIGTERM; a shell as PID 1 would ignore it. */
export const IDLE = "trap 'exit 0' TERM; while true; do sleep 0.2; done";

export interface PodUpdate {
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: SeenPod;
}

export interface PodWatch {
  /** What was seen of a pod so far. */
  read(pod: string): Promise<readonly PodUpdate[]>;
  stop(): Promise<void>;
}

export class Cluster {
  readonly node: NodeContainer;
  readonly namespace: string;

  constructor(node: NodeContainer, namespace: string) {
    this.node = node;
    this.namespace = namespace;
  }

  kubectl(...args: readonly string[]): Promise<string> {
    return this.node.kubectl("-n", this.namespace, ...args);
  }

  /** kubectl without judging its exit code. */
  tryKubectl(...args: readonly string[]): Promise<Result> {
    return this.node.exec(["kubectl", "-n", this.namespace, ...args]);
  }

  apply(...manifests: readonly object[]): Promise<void> {
    const items = manifests.map((manifest) => {
      const { metadata, ...rest } = manifest as { metadata: object };
      return { ...rest, metadata: { namespace: this.namespace, ...metadata } };
    });
    return this.node.apply({ apiVersion: "v1", kind: "List", items });
  }

  pod(name: string): Promise<SeenPod> {
    return this.node.json<SeenPod>("-n", this.namespace, "get", "pod", name);
  }

  /** Waits until the pod is as wanted and gives it back. */
  until(
    name: string,
    what: string,
    test: (pod: SeenPod) => boolean,
    timeoutMs?: number,
  ): Promise<SeenPod> {
    return eventually(
      `pod ${name} is ${what}`,
      async () => {
        const pod = await this.pod(name);
        if (test(pod)) return pod;
        throw new Error(JSON.stringify(pod.status));
      },
      timeoutMs,
    );
  }

  ready(name: string, timeoutMs?: number): Promise<SeenPod> {
    return this.until(name, "Ready", isReady, timeoutMs);
  }

  /** Watches the pods of the namespace, in their order, until `stop`. */
  async watch(): Promise<PodWatch> {
    const name = `watch-${this.namespace}`;
    const flags = "--watch --output-watch-events -o json";
    await this.node.background(name, `kubectl -n ${this.namespace} get pods ${flags}`);
    const read = async (pod: string): Promise<readonly PodUpdate[]> =>
      (await this.node.sh(`cat /var/log/${name}.out`))
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as PodUpdate)
        .filter(({ object }) => object.metadata.name === pod);
    return { read, stop: () => this.node.kill(name, "TERM") };
  }

  /** What the pods logged, once all of them have ended. */
  async outputs(...names: readonly string[]): Promise<Readonly<Record<string, string>>> {
    await eventually(
      `${names.join(", ")} have ended`,
      async () => {
        const { items } = await this.node.json<{ items: readonly SeenPod[] }>(
          ...["-n", this.namespace, "get", "pods"],
        );
        const ended = items.filter(({ status }) => /^(Succeeded|Failed)$/.test(status.phase));
        const going = names.filter((name) => !ended.some((pod) => pod.metadata.name === name));
        if (going.length > 0) throw new Error(going.join(" "));
        return true;
      },
      120_000,
    );
    const logs = names.map(async (name) => [name, await this.kubectl("logs", name)] as const);
    return Object.fromEntries(await Promise.all(logs));
  }

  async gone(name: string, timeoutMs?: number): Promise<void> {
    await eventually(
      `pod ${name} is gone`,
      async () => (await this.tryKubectl("get", "pod", name)).stderr.includes("NotFound"),
      timeoutMs,
    );
  }

  /** Reasons of the events about an object, in order. */
  async eventReasons(name: string): Promise<readonly string[]> {
    const text = await this.kubectl(
      ...["get", "events", "--field-selector", `involvedObject.name=${name}`],
      ...["-o", 'jsonpath={range .items[*]}{.reason}{"\\n"}{end}'],
    );
    return text.split("\n").filter((line) => line !== "");
  }
}

export function isReady(pod: SeenPod): boolean {
  return pod.status.conditions.some(
    (condition) => condition.type === "Ready" && condition.status === "True",
  );
}

/** For the top of a test file: the shared node with a namespace that lives as long as the suite. */
export function useCluster(): Cluster {
  const cluster = new Cluster(
    NodeContainer.attach(inject("nodeId")),
    `test-${randomBytes(3).toString("hex")}`,
  );
  beforeAll(async () => {
    await cluster.node.kubectl("create", "namespace", cluster.namespace);
  });
  afterAll(async () => {
    await cluster.node.kubectl("delete", "namespace", cluster.namespace, "--wait=false");
  });
  return cluster;
}
