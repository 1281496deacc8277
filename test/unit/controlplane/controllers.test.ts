import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createAdmission } from "../../../src/controlplane/controllers/admission.ts";
import { createEndpointSliceController } from "../../../src/controlplane/controllers/endpointslices.ts";
import type { Controller } from "../../../src/controlplane/controllers/loop.ts";
import { createNamespaceController } from "../../../src/controlplane/controllers/namespaces.ts";
import { createNodeController } from "../../../src/controlplane/controllers/nodes.ts";
import { createPodGc } from "../../../src/controlplane/controllers/pod-gc.ts";
import { createScheduler } from "../../../src/controlplane/controllers/scheduler.ts";
import { deleteObject } from "../../../src/controlplane/deletion.ts";
import { at, type KubeObject } from "../../../src/controlplane/objects.ts";
import {
  CONFIG_MAPS,
  ENDPOINT_SLICES,
  ENDPOINTS,
  EVENTS,
  LEASES,
  NAMESPACES,
  NODES,
  PODS,
  SECRETS,
  SERVICE_ACCOUNTS,
  SERVICES,
} from "../../../src/controlplane/registry.ts";
import { Store } from "../../../src/controlplane/store.ts";
import type { Clock } from "../../../src/core/clock.ts";
import type { Logger } from "../../../src/core/logger.ts";

const quiet: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: (fields, message) => {
    throw new Error(`${message}: ${JSON.stringify(fields)}`);
  },
  child: () => quiet,
};

/** Time by hand, and as many turns of the queues as they ask for. */
class HandClock implements Clock {
  #now = 1_800_000_000_000;
  readonly #timers = new Set<{ at: number; callback: () => void }>();
  now = (): number => this.#now;
  monotonic = (): number => this.#now;
  after(ms: number, callback: () => void) {
    const timer = { at: this.#now + ms, callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const next = [...this.#timers].sort((a, b) => a.at - b.at)[0];
      if (next === undefined || next.at > end) break;
      this.#now = Math.max(this.#now, next.at);
      this.#timers.delete(next);
      next.callback();
      await settle();
    }
    this.#now = end;
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 100; turn++) await Promise.resolve();
}

let clock: HandClock;
let store: Store;
let running: Controller[] = [];

beforeEach(() => {
  clock = new HandClock();
  let uid = 0;
  store = new Store({ path: ":memory:", clock, randomUid: () => `uid-${uid++}`, log: quiet });
  store.open();
});

afterEach(async () => {
  for (const controller of running) await controller.stop();
  running = [];
  store.close();
});

async function run(create: (context: { store: Store; clock: Clock; log: Logger }) => Controller) {
  const controller = create({ store, clock, log: quiet });
  running.push(controller);
  controller.start();
  await settle();
}

const ready = { conditions: [{ type: "Ready", status: "True" }] };

function node(name = "n"): KubeObject {
  return { apiVersion: "v1", kind: "Node", metadata: { name }, spec: {}, status: ready };
}

function pod(name: string, spec: object = {}, status: object = {}): KubeObject {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", labels: { app: "web" } },
    spec: { containers: [{ name: "c" }], ...spec },
    status: { phase: "Pending", ...status },
  };
}

describe("the scheduler", () => {
  it("binds a pod, sets its condition and tells in an event", async () => {
    store.create(NODES, node());
    await run(createScheduler);
    store.create(PODS, pod("web"));
    await settle();
    const bound = store.get(PODS, "default", "web");
    expect(at(bound, "spec", "nodeName")).toBe("n");
    expect(at(bound, "status", "conditions")).toMatchObject([
      { type: "PodScheduled", status: "True" },
    ]);
    expect(store.list(EVENTS).items.map((it) => [it.reason, it.message])).toEqual([
      ["Scheduled", "Successfully assigned default/web to n"],
    ]);
  });

  it("says once that no node is there, and binds when one comes", async () => {
    await run(createScheduler);
    store.create(PODS, pod("web"));
    await settle();
    expect(at(store.get(PODS, "default", "web"), "status", "conditions")).toMatchObject([
      { type: "PodScheduled", status: "False", reason: "Unschedulable" },
    ]);
    expect(store.list(EVENTS).items).toMatchObject([{ reason: "FailedScheduling", count: 1 }]);
    store.create(NODES, node());
    await settle();
    expect(at(store.get(PODS, "default", "web"), "spec", "nodeName")).toBe("n");
  });
});

describe("the endpointslice controller", () => {
  const service: KubeObject = {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "web", namespace: "default" },
    spec: { clusterIP: "10.96.0.9", selector: { app: "web" }, ports: [{ port: 80 }] },
  };
  const addresses = () =>
    store
      .list(ENDPOINT_SLICES, "default")
      .items.flatMap((slice) => slice.endpoints as { addresses: string[] }[])
      .flatMap((endpoint) => endpoint.addresses);

  it("follows pods, changes nothing twice, spares slices made by hand and ends with the service", async () => {
    store.create(ENDPOINT_SLICES, {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        name: "by-hand",
        namespace: "default",
        labels: { "kubernetes.io/service-name": "web" },
      },
      endpoints: [],
    });
    await run(createEndpointSliceController);
    store.create(SERVICES, service);
    store.create(PODS, pod("a", { nodeName: "n" }));
    await settle();
    expect(addresses()).toEqual([]);

    store.update(PODS, "default", "a", (it) => ({
      ...it,
      status: { ...ready, phase: "Running", podIP: "10.244.0.2" },
    }));
    await settle();
    expect(addresses()).toEqual(["10.244.0.2"]);
    expect(at(store.get(ENDPOINTS, "default", "web"), "subsets")).toMatchObject([
      { addresses: [{ ip: "10.244.0.2" }] },
    ]);

    const before = store.resourceVersion;
    store.update(PODS, "default", "a", (it) => ({ ...it, extra: true }));
    await settle();
    expect(Number(store.resourceVersion)).toBe(Number(before) + 1);

    await run(createEndpointSliceController);
    expect(Number(store.resourceVersion)).toBe(Number(before) + 1);

    store.delete(SERVICES, "default", "web");
    await settle();
    expect(store.list(ENDPOINT_SLICES).items.map((it) => it.metadata.name)).toEqual(["by-hand"]);
    expect(store.list(ENDPOINTS).items).toEqual([]);
  });
});

describe("the namespace controller", () => {
  const start = () => run((context) => createNamespaceController({ ...context, rootCa: "PEM" }));

  it("makes the four namespaces with their account and root certificate", async () => {
    await start();
    expect(store.list(NAMESPACES).items.map((it) => it.metadata.name)).toEqual([
      "default",
      "kube-node-lease",
      "kube-public",
      "kube-system",
    ]);
    expect(store.list(SERVICE_ACCOUNTS).items).toHaveLength(4);
    const bundle = store.get(CONFIG_MAPS, "kube-system", "kube-root-ca.crt");
    expect(bundle?.data).toEqual({ "ca.crt": "PEM" });
  });

  it("empties a namespace, lets its pods have their grace, and then removes it", async () => {
    await start();
    store.create(NAMESPACES, {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: "team" },
      spec: { finalizers: ["kubernetes"] },
      status: { phase: "Active" },
    });
    const place = { name: "x", namespace: "team" };
    store.create(SECRETS, { apiVersion: "v1", kind: "Secret", metadata: place });
    store.create(PODS, { ...pod("x", { nodeName: "n" }), metadata: place });
    await settle();
    deleteObject({ store, clock }, { type: NAMESPACES, name: "team" });
    await settle();
    expect(store.list(SECRETS, "team").items).toEqual([]);
    expect(store.get(PODS, "team", "x")?.metadata.deletionGracePeriodSeconds).toBe(30);
    expect(at(store.get(NAMESPACES, undefined, "team"), "status", "phase")).toBe("Terminating");

    store.delete(PODS, "team", "x");
    await settle();
    expect(store.get(NAMESPACES, undefined, "team")).toBeUndefined();
  });
});

describe("the node controller", () => {
  const start = () =>
    run((context) =>
      createNodeController(context, { clusterCidr: "10.244.0.0/16", gracePeriodMs: 40_000 }),
    );
  const lease = (owner: string): KubeObject => ({
    apiVersion: "coordination.k8s.io/v1",
    kind: "Lease",
    metadata: {
      name: "n",
      namespace: "kube-node-lease",
      ownerReferences: [{ apiVersion: "v1", kind: "Node", name: "n", uid: owner }],
    },
    spec: {},
  });

  it("gives each node a podCIDR of its own", async () => {
    store.create(NODES, node("a"));
    await start();
    store.create(NODES, node("b"));
    await settle();
    expect(store.list(NODES).items.map((it) => at(it, "spec", "podCIDR"))).toEqual([
      "10.244.0.0/24",
      "10.244.1.0/24",
    ]);
  });

  it("marks a node Unknown after the grace without a sign of life, and its pods not ready", async () => {
    store.create(NODES, node());
    store.create(PODS, pod("a", { nodeName: "n" }, ready));
    store.create(LEASES, lease("u"));
    await start();
    const renew = (time: string) =>
      store.update(LEASES, "kube-node-lease", "n", (it) => ({ ...it, spec: { renewTime: time } }));
    await clock.advance(30_000);
    renew("1");
    await clock.advance(39_000);
    expect(at(store.get(NODES, undefined, "n"), "status")).toMatchObject(ready);
    await clock.advance(1_500);
    expect(at(store.get(NODES, undefined, "n"), "status", "conditions")).toMatchObject([
      { type: "Ready", status: "Unknown", reason: "NodeStatusUnknown" },
      { type: "MemoryPressure", status: "Unknown", reason: "NodeStatusNeverUpdated" },
      { type: "DiskPressure" },
      { type: "PIDPressure" },
    ]);
    expect(at(store.get(PODS, "default", "a"), "status", "conditions")).toMatchObject([
      { type: "Ready", status: "False" },
    ]);
  });

  it("takes the lease away with its node", async () => {
    store.create(NODES, node());
    store.create(LEASES, lease("u"));
    await start();
    store.delete(NODES, undefined, "n");
    await settle();
    expect(store.list(LEASES).items).toEqual([]);
  });
});

describe("the pod collector", () => {
  it("deletes the pods of a node that stays away, and not of one that comes back", async () => {
    store.create(NODES, node("a"));
    store.create(NODES, node("b"));
    store.create(PODS, pod("on-a", { nodeName: "a" }));
    store.create(PODS, pod("on-b", { nodeName: "b" }));
    await run((context) => createPodGc(context, { quarantineMs: 40_000 }));
    store.delete(NODES, undefined, "a");
    store.delete(NODES, undefined, "b");
    await clock.advance(20_000);
    store.create(NODES, node("b"));
    await clock.advance(21_000);
    expect(store.list(PODS).items.map((it) => it.metadata.name)).toEqual(["on-b"]);
  });
});

describe("admission", () => {
  const user = { name: "admin", groups: [] };
  const admit = (type: typeof PODS, object: KubeObject): KubeObject => {
    const { name, namespace } = object.metadata;
    let current = object;
    const context = { store, clock, random: () => 0, serviceCidr: "10.96.0.0/16" };
    for (const hook of createAdmission(context)) {
      current =
        hook({
          operation: "CREATE",
          type,
          user,
          name,
          isDryRun: false,
          object: current,
          ...(namespace === undefined ? {} : { namespace }),
        }) ?? current;
    }
    return current;
  };

  it("refuses what would go into a namespace that is missing or going", async () => {
    expect(() => admit(PODS, pod("web"))).toThrow('namespaces "default" not found');
    await run((context) => createNamespaceController({ ...context, rootCa: "PEM" }));
    expect(at(admit(PODS, pod("web")), "spec", "serviceAccountName")).toBe("default");
    store.update(NAMESPACES, undefined, "default", (it) => ({
      ...it,
      metadata: { ...it.metadata, deletionTimestamp: "2026-01-01T00:00:00Z" },
    }));
    expect(() => admit(PODS, pod("web"))).toThrow(
      'pods "web" is forbidden: unable to create new content in namespace default because it is being terminated',
    );
  });
});
