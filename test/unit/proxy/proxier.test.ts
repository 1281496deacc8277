import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MutableStore } from "../../../src/api/store.ts";
import type { EndpointSlice, Service } from "../../../src/api/types.ts";
import { LongshoreError } from "../../../src/core/errors.ts";
import type { Logger } from "../../../src/core/logger.ts";
import { removeProxyRules } from "../../../src/proxy/cleanup.ts";
import type { ProxyObserver, Skip } from "../../../src/proxy/observer.ts";
import { Proxier } from "../../../src/proxy/proxier.ts";
import type { UdpPort } from "../../../src/proxy/service-rules.ts";
import { makeService, makeSlice, PROXIER_RULES } from "../../builders/services.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { FakeIptables } from "../../fakes/iptables.ts";
import { serviceOf, sliceOf } from "../../support/many-services.ts";
import { anyChange } from "../../support/service-changes.ts";

const silent: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silent,
};

function makeWorld() {
  const clock = new FakeClock();
  const iptables = new FakeIptables();
  const services = new MutableStore<Service>();
  const endpointSlices = new MutableStore<EndpointSlice>();
  const cleaned: (readonly UdpPort[])[] = [];
  const skips: Skip[] = [];
  const kinds: string[] = [];
  const observer: ProxyObserver = {
    onSyncQueued: () => undefined,
    onSyncStarted: () => undefined,
    onSynced: ({ isFull }) => void kinds.push(isFull ? "full" : "partial"),
    onFailed: () => void kinds.push("failed"),
    onSkipped: (_, skip) => void skips.push(skip),
    onConntrackCleaned: () => undefined,
  };
  /** What the node is told to be. */
  const told: { zone?: string } = {};
  const proxier = new Proxier({
    observer,
    services,
    endpointSlices,
    rules: () => ({ ...PROXIER_RULES, ...told }),
    iptables,
    conntrack: { cleanStale: async (ports) => cleaned.push(ports) },
    clock,
    log: silent,
    syncPeriodMs: 30_000,
    minSyncPeriodMs: 1000,
  });
  return { clock, iptables, services, endpointSlices, cleaned, skips, kinds, told, proxier };
}

type World = ReturnType<typeof makeWorld>;

const web = makeService({ name: "web", clusterIp: "172.30.0.1" });
const slice = (...ips: string[]) => makeSlice({ service: "web", ips, port: 80 });

async function startedWith(services: readonly Service[], slices: readonly EndpointSlice[]) {
  const world = makeWorld();
  world.proxier.start();
  world.services.replace(services);
  world.endpointSlices.replace(slices);
  await world.clock.advance(5000);
  return world;
}

/** Rules of the kernel, chains sorted: their order means nothing. */
async function kernelOf({ iptables }: World): Promise<readonly string[]> {
  const saved = [await iptables.save("filter"), await iptables.save("nat")].join("");
  const chains = [...saved.matchAll(/^:\S+/gm)].map((match) => match[0]).sort();
  const rules = new Map<string, string[]>();
  for (const [line, chain = ""] of saved.matchAll(/^-A (\S+).*/gm))
    rules.set(chain, [...(rules.get(chain) ?? []), line]);
  return [...chains, ...[...rules].sort(([a], [b]) => (a < b ? -1 : 1)).flatMap(([, all]) => all)];
}

describe("the proxier", () => {
  test("writes nothing before both stores are synced", async () => {
    const world = makeWorld();
    world.proxier.start();
    world.services.replace([web]);
    await world.clock.advance(10_000);
    expect(world.iptables.restores).toEqual([]);
    expect(world.proxier.state.lastSyncAt).toBeUndefined();
    world.endpointSlices.replace([]);
    await world.clock.advance(2000);
    expect(world.iptables.restores.length).toBe(2);
    await world.proxier.stop();
  });

  test("collapses changes within the least period into one restore of only what changed", async () => {
    const world = await startedWith([web], [slice("10.180.0.1")]);
    world.endpointSlices.apply(slice("10.180.0.2"));
    await world.clock.advance(1000);
    const before = world.iptables.restores.length;
    for (const last of ["3", "4", "5"]) world.endpointSlices.apply(slice(`10.180.0.${last}`));
    expect(world.proxier.state.pendingSince).toBeDefined();
    await world.clock.advance(5000);
    const sent = world.iptables.restores.slice(before);
    expect(sent.length).toBe(1);
    expect(sent.join()).toContain("10.180.0.5:80");
    expect(sent.join()).not.toMatch(/KUBE-POSTROUTING|:KUBE-SERVICES|10\.180\.0\.[34]/);
    expect(world.proxier.state.pendingSince).toBeUndefined();
    await world.proxier.stop();
  });

  test("a change that makes no difference to the rules sends nothing", async () => {
    const world = await startedWith([web], [slice("10.180.0.1")]);
    const before = world.iptables.restores.length;
    world.endpointSlices.apply(slice("10.180.0.1"));
    await world.clock.advance(5000);
    expect(world.iptables.restores.length).toBe(before);
    await world.proxier.stop();
  });

  test("slices of the other family are another proxier's: they ask for no sync, and a sync does not meet them", async () => {
    const world = await startedWith([web], [slice("10.180.0.1")]);
    const kinds = [...world.kinds];
    const six = { ...slice("fd00:180::1"), addressType: "IPv6" } as EndpointSlice;
    const other = { ...six, metadata: { ...six.metadata, name: "web-six" } };
    world.endpointSlices.apply(other);
    world.endpointSlices.delete(other);
    expect(world.proxier.state.pendingSince).toBeUndefined();
    await world.clock.advance(5000);
    expect(world.kinds).toEqual(kinds);
    await world.proxier.stop();
  });

  test("tries again with everything after a failure, and says since when it waits", async () => {
    const world = await startedWith([web], [slice("10.180.0.1")]);
    world.iptables.failures.push(new LongshoreError("CommandFailed", "lock"));
    const at = world.clock.now();
    world.endpointSlices.apply(slice("10.180.0.2"));
    await world.clock.advance(10);
    expect(world.proxier.state).toMatchObject({ pendingSince: at, lastError: "lock" });
    await world.clock.advance(2000);
    expect(world.iptables.restores.at(-1)).toContain(":KUBE-POSTROUTING");
    expect(world.proxier.state).not.toHaveProperty("lastError");
    await world.proxier.stop();
  });

  test("a Service whose rule iptables refuses is left out and named, tried again when it changes and each hour; others are not held up", async () => {
    const world = makeWorld();
    const odd = (port: number) =>
      makeService({ name: "odd", clusterIp: "172.30.0.2", protocol: "SCTP", port });
    world.iptables.matches.delete("sctp");
    world.proxier.start();
    world.services.replace([web, odd(80)]);
    world.endpointSlices.replace([
      slice("10.180.0.1"),
      makeSlice({ service: "odd", ips: ["10.180.0.9"], port: 80, protocol: "SCTP" }),
    ]);
    await world.clock.advance(5000);
    const reason = expect.stringMatching(
      /^all of it, as iptables refuses the rule -A KUBE-S.* -m sctp/,
    );
    expect(world.skips).toEqual([{ namespace: "default", name: "odd", skipped: [reason] }]);
    expect((await kernelOf(world)).join("\n")).toContain("10.180.0.1:80");

    world.services.apply(odd(81));
    world.endpointSlices.apply(slice("10.180.0.2"));
    await world.clock.advance(5000);
    const rules = (await kernelOf(world)).join("\n");
    expect(rules).toContain("10.180.0.2:80");
    expect(rules).not.toContain("172.30.0.2");

    world.iptables.matches.add("sctp");
    await world.clock.advance(3_600_000);
    expect((await kernelOf(world)).join("\n")).toContain("10.180.0.9:80");
    expect(world.skips.at(-1)?.skipped).toEqual([]);
    expect(world.kinds).not.toContain("failed");
    await world.proxier.stop();
  });

  test("a restore that fails in the middle leaves what works, and the next sync writes all", async () => {
    const world = makeWorld();
    const count = 520;
    world.services.replace(Array.from({ length: count }, (_, n) => serviceOf(n)));
    world.endpointSlices.replace(Array.from({ length: count }, (_, n) => sliceOf(n, 1)));
    world.iptables.failures.push(undefined, new LongshoreError("CommandFailed", "lock"));
    world.proxier.start();
    await world.clock.advance(500);
    expect(world.iptables.restores.length).toBe(2);
    expect(world.proxier.state.lastError).toBe("lock");
    // Leaves first: nothing of the half that came leads anywhere yet.
    expect((await kernelOf(world)).join("\n")).not.toMatch(/-A KUBE-SERVICES/);
    await world.clock.advance(5000);
    const fresh = await startedWith(world.services.list(), world.endpointSlices.list());
    expect(await kernelOf(world)).toEqual(await kernelOf(fresh));
    await world.proxier.stop();
    await fresh.proxier.stop();
  });

  test("what is left out of a Service is told, and told again when it is mended", async () => {
    const world = await startedWith([], []);
    const spec = { externalIPs: ["1.2.3"] };
    world.services.apply(makeService({ name: "web", clusterIp: "172.30.0.1", spec }));
    await world.clock.advance(2000);
    world.services.apply(web);
    await world.clock.advance(2000);
    expect(world.skips).toEqual([
      { namespace: "default", name: "web", skipped: ['address "1.2.3"'] },
      { namespace: "default", name: "web", skipped: [] },
    ]);
    expect(world.kinds).toEqual(["full", "partial", "partial"]);
    await world.proxier.stop();
  });

  test("a zone that the node gets later, and loses, counts from the next sync on", async () => {
    const both = slice("10.180.0.1", "10.180.0.2");
    const endpoints = (both.endpoints ?? []).map((endpoint, n) => ({
      ...endpoint,
      hints: { forZones: [{ name: `zone-${n}` }] },
    }));
    const world = await startedWith([web], [{ ...both, endpoints }]);
    expect((await kernelOf(world)).join()).toContain("10.180.0.2:80");
    world.told.zone = "zone-0";
    world.proxier.request();
    await world.clock.advance(2000);
    expect((await kernelOf(world)).join()).toContain("10.180.0.1:80");
    expect((await kernelOf(world)).join()).not.toContain("10.180.0.2:80");
    delete world.told.zone;
    world.proxier.request();
    await world.clock.advance(2000);
    expect((await kernelOf(world)).join()).toContain("10.180.0.2:80");
    expect(world.kinds.filter((kind) => kind === "full").length).toBe(1);
    await world.proxier.stop();
  });

  test("looks once an hour whether the rules are what they should be, and mends them", async () => {
    const world = await startedWith([web], [slice("10.180.0.1")]);
    const before = await kernelOf(world);
    const restores = world.iptables.restores.length;
    await world.clock.advance(3_600_000);
    expect(world.iptables.restores.length).toBe(restores);
    await world.iptables.restore(
      "*nat\n:KUBE-NODEPORTS - [0:0]\n-A KUBE-NODEPORTS -j DROP\nCOMMIT\n",
    );
    await world.clock.advance(3_600_000);
    expect(await kernelOf(world)).toEqual(before);
    await world.proxier.stop();
  });

  test("writes everything again when the tables were flushed", async () => {
    const world = await startedWith([web], [slice("10.180.0.1")]);
    const before = await kernelOf(world);
    world.iptables.flush();
    await world.clock.advance(31_000);
    expect(await kernelOf(world)).toEqual(before);
    await world.proxier.stop();
  });

  test("cleans UDP flows at the start and when UDP endpoints change, not otherwise", async () => {
    const dns = makeService({ name: "dns", clusterIp: "172.30.0.2", protocol: "UDP", port: 53 });
    const udp = (ip: string) => makeSlice({ service: "dns", ips: [ip], port: 53, protocol: "UDP" });
    const world = await startedWith([web, dns], [slice("10.180.0.1"), udp("10.180.0.7")]);
    expect(world.cleaned.length).toBe(1);
    world.endpointSlices.apply(slice("10.180.0.2"));
    await world.clock.advance(2000);
    expect(world.cleaned.length).toBe(1);
    world.endpointSlices.apply(udp("10.180.0.8"));
    await world.clock.advance(2000);
    expect(world.cleaned[1]).toMatchObject([{ targets: ["10.180.0.8:53"] }]);
    await world.proxier.stop();
  });

  test("leaves the rules when it stops, and leaves no timer", async () => {
    const world = await startedWith([web], [slice("10.180.0.1")]);
    const before = await kernelOf(world);
    await world.proxier.stop();
    expect(await kernelOf(world)).toEqual(before);
    expect(world.clock.pendingTimers).toBe(0);
  });

  test("cleanup leaves KUBE-FIREWALL where somebody else has a rule in it", async () => {
    const world = await startedWith([web], [slice("10.180.0.1")]);
    await world.proxier.stop();
    const signal = new AbortController().signal;
    await world.iptables.restore("*filter\n-A KUBE-FIREWALL -j DROP\nCOMMIT\n");
    await removeProxyRules(world.iptables, signal);
    const left = (await kernelOf(world)).filter((line) => line.includes("KUBE-"));
    expect(left).toContain("-A KUBE-FIREWALL -j DROP");
    expect(left).toContain("-A INPUT -j KUBE-FIREWALL");
  });

  test("cleanup leaves nothing, also the second time", async () => {
    const world = await startedWith([web], [slice("10.180.0.1")]);
    await world.proxier.stop();
    const signal = new AbortController().signal;
    await removeProxyRules(world.iptables, signal);
    await removeProxyRules(world.iptables, signal);
    const left = (await kernelOf(world)).filter((line) => line.includes("KUBE-"));
    expect(left).toEqual([]);
  });

  test("any history sent piece by piece ends as one full sync of its last state", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(anyChange, fc.boolean(), fc.boolean()), { maxLength: 12 }),
        async (history) => {
          const world = await startedWith([], []);
          for (const [change, isPaused, fails] of history) {
            if (fails) world.iptables.failures.push(new LongshoreError("CommandFailed", "lock"));
            change(world);
            if (isPaused) await world.clock.advance(1000);
          }
          await world.clock.advance(120_000);
          world.iptables.failures.length = 0;
          await world.clock.advance(60_000);
          const fresh = await startedWith(world.services.list(), world.endpointSlices.list());
          expect(await kernelOf(world)).toEqual(await kernelOf(fresh));
          await world.proxier.stop();
          await fresh.proxier.stop();
        },
      ),
      { numRuns: 40 },
    );
  });
});
