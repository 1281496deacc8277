/**
 * The proxy's increments on real iptables, with both back-ends: a long history of random changes ends as one full sync of
 * its last state, and the hourly look finds nothing to mend. Needs root.
 */

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { keyOf } from "../../src/api/store.ts";
import type { EndpointSlice, Service, StoredObject } from "../../src/api/types.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { Exec } from "../../src/core/exec.ts";
import { createIptables, type Iptables } from "../../src/core/iptables.ts";
import { removeProxyRules } from "../../src/proxy/cleanup.ts";
import { serviceKeyOf } from "../../src/proxy/endpoints.ts";
import { KernelRules } from "../../src/proxy/kernel-rules.ts";
import { Proxier } from "../../src/proxy/proxier.ts";
import { RuleBook } from "../../src/proxy/rule-book.ts";
import { computeProxyRules } from "../../src/proxy/rules.ts";
import { makeService, makeSlice, PROXIER_RULES } from "../builders/services.ts";
import { hostRules, NodeNamespace, pause, silentLog } from "../support/netns.ts";
import { makeRubbish, RUBBISH } from "../support/rubbish.ts";
import { anyChange, emptyStores, type Stores } from "../support/service-changes.ts";

const signal = new AbortController().signal;
let hostBefore: string;
let node: NodeNamespace;

beforeAll(() => {
  hostBefore = hostRules();
  node = new NodeNamespace("proxy-core-h", "172.30.0.0/16");
});

afterAll(async () => {
  await node.remove();
  expect(hostRules()).toBe(hostBefore);
});

/** Every kind of rule, often enough for every shared chain to be divided. */
function manyInIpv6() {
  const services = Array.from({ length: 200 }, (_, n): Service => {
    const service = makeService({
      name: `six-${n}`,
      clusterIp: `fd00:10:96::${n.toString(16)}`,
      spec: {
        type: "LoadBalancer",
        ipFamilies: ["IPv6"],
        ...(n % 2 === 0 ? { externalTrafficPolicy: "Local", healthCheckNodePort: 20_000 + n } : {}),
        externalIPs: ["2001:db8::7"],
        loadBalancerSourceRanges: ["2001:db8::/32"],
        sessionAffinity: n % 3 === 0 ? "ClientIP" : "None",
        ports: [{ port: n + 1, protocol: n % 5 === 0 ? "SCTP" : "TCP", nodePort: 30_000 + n }],
      },
    });
    return { ...service, status: { loadBalancer: { ingress: [{ ip: `2001:db8:9::${n % 7}` }] } } };
  });
  const endpointSlices = services.slice(0, 150).map((service, n): EndpointSlice => {
    const ips = [`fd00:180::${n.toString(16)}`, `fd00:181::${n.toString(16)}`];
    const protocol = n % 5 === 0 ? "SCTP" : "TCP";
    const slice = makeSlice({ service: service.metadata.name, ips, port: 80, protocol });
    return { ...slice, addressType: "IPv6" };
  });
  return { services, endpointSlices };
}

/** The object under another name. */
function named<T extends StoredObject>(object: T, name: string): T {
  return { ...object, metadata: { ...object.metadata, name } };
}

/** Follows the stores while `work` goes on. */
async function following(
  iptables: Iptables,
  stores: Stores,
  work: (synced: () => Promise<void>) => Promise<void>,
): Promise<void> {
  const proxier = new Proxier({
    ...stores,
    rules: () => PROXIER_RULES,
    iptables,
    conntrack: { cleanStale: async () => 0 },
    clock: systemClock,
    log: silentLog,
    syncPeriodMs: 30_000,
    minSyncPeriodMs: 1,
  });
  proxier.start();
  const synced = async (): Promise<void> => {
    while (proxier.state.pendingSince !== undefined) await pause(5);
    expect(proxier.state.lastError).toBeUndefined();
  };
  await synced();
  await work(synced);
  await proxier.stop();
}

describe.each(["nft", "legacy"] as const)("on the %s back-end", (backend) => {
  let iptables: Iptables;

  beforeAll(() => {
    const exec: Exec = (command, inner) =>
      node.exec(
        { ...command, file: command.file.replace("iptables", `iptables-${backend}`) },
        inner,
      );
    iptables = createIptables({ exec, family: "IPv4" });
  });

  /** Chains and rules; between chains the order means nothing. */
  const rules = () =>
    node
      .run(`iptables-${backend}-save`)
      .replace(/\[\d+:\d+\]/g, "")
      .split("\n")
      .filter((line) => /^[:-]/.test(line))
      .toSorted();

  test("is known for what it is", async () => {
    expect((await iptables.version(signal)).backend).toBe(backend);
  });

  test("in IPv6 what was written is found again, divided chains and all", async () => {
    const exec: Exec = (command, inner) =>
      node.exec(
        { ...command, file: command.file.replace("ip6tables", `ip6tables-${backend}`) },
        inner,
      );
    const ip6tables = createIptables({ exec, family: "IPv6" });
    const objects = manyInIpv6();
    const detectLocal = { kind: "InterfacePrefix", prefix: "veth" } as const;
    const options = { ...PROXIER_RULES, family: "IPv6", randomFully: true, detectLocal } as const;
    const wanted = computeProxyRules(objects, options).rules;
    expect([...wanted.nat.keys()].join()).toMatch(/KUBE-SVC-\w+\/\d+/);
    const book = new RuleBook(options);
    const slices = Map.groupBy(objects.endpointSlices, serviceKeyOf);
    for (const service of objects.services) {
      const key = keyOf(service);
      book.set(key, { service, endpointSlices: slices.get(key) ?? [] });
    }
    const kernel = new KernelRules(ip6tables);
    const leftOut: string[] = [];
    await kernel.writeAll(book, (key) => void leftOut.push(key), signal);
    expect(leftOut).toEqual([]);
    expect(await kernel.findDifference(wanted, signal)).toBeUndefined();
    await removeProxyRules(ip6tables, signal);
    expect(await ip6tables.save("nat", signal)).not.toContain("KUBE-");
  });

  test("a rule that the program does not know keeps only its own Service from the kernel", async () => {
    const exec: Exec = ({ input = "", ...command }, inner) => {
      const file = command.file.replace("iptables", `iptables-${backend}`);
      const spoilt = input.replaceAll("-m sctp", "-m no-such-match");
      return node.exec({ ...command, file, input: spoilt }, inner);
    };
    const stores = emptyStores();
    const [protocol, ips] = ["SCTP", ["10.180.0.9"]] as const;
    stores.services.apply(makeService({ name: "odd", clusterIp: "172.30.0.1", protocol }));
    stores.endpointSlices.apply(makeSlice({ service: "odd", ips, port: 80, protocol }));
    stores.services.apply(makeService({ name: "web", clusterIp: "172.30.0.2" }));
    stores.endpointSlices.apply(makeSlice({ service: "web", ips: ["10.180.0.1"], port: 80 }));
    await following(createIptables({ exec, family: "IPv4" }), stores, async () => undefined);
    const saved = await iptables.save("nat", signal);
    expect(saved).toContain("--to-destination 10.180.0.1:80");
    expect(saved).not.toContain("172.30.0.1/32");
    await removeProxyRules(iptables, signal);
  });

  test("rubbish and five thousand endpoints do no harm", async () => {
    const stores = emptyStores();
    for (const [n, [, service, slice]] of RUBBISH.entries()) {
      const bad = makeRubbish(service, slice);
      stores.services.apply(named(bad.service, `${bad.service.metadata.name}${n}`));
      stores.endpointSlices.apply(named(bad.endpointSlice, `slice-${n}`));
    }
    const ips = Array.from({ length: 5000 }, (_, n) => `10.180.${n >> 8}.${n & 255}`);
    stores.services.apply(makeService({ name: "many", clusterIp: "172.30.0.1" }));
    stores.endpointSlices.apply(makeSlice({ service: "many", ips, port: 80 }));
    await following(iptables, stores, async () => undefined);
    const saved = await iptables.save("nat", signal);
    expect(saved.match(/--to-destination/g)?.length).toBe(5000);
    expect(saved).not.toMatch(/-j ACCEPT$/m);
    await removeProxyRules(iptables, signal);
  });

  test("a thousand changes sent piece by piece end as one full sync of their last state", async () => {
    const stores = emptyStores();
    const history = fc.sample(fc.tuple(anyChange, fc.nat(9)), { numRuns: 1000, seed: 36 });
    await following(iptables, stores, async (synced) => {
      for (const [change, more] of history) {
        change(stores);
        if (more === 0) await synced();
      }
      await synced();
    });
    const inPieces = rules();
    const objects = {
      services: stores.services.list(),
      endpointSlices: stores.endpointSlices.list(),
    };
    const options = { ...PROXIER_RULES, family: "IPv4", randomFully: true } as const;
    const wanted = computeProxyRules(objects, options).rules;
    const kernel = new KernelRules(iptables);
    expect(await kernel.findDifference(wanted, signal)).toBeUndefined();
    await removeProxyRules(iptables, signal);
    expect(await kernel.findDifference(wanted, signal)).toBe("filter KUBE-FORWARD");
    // Twice: what is there already is not made again.
    for (let i = 0; i < 2; i++) {
      await following(iptables, stores, async () => undefined);
      expect(rules()).toEqual(inPieces);
    }
    await removeProxyRules(iptables, signal);
    expect(rules().join()).not.toContain("KUBE-");
  }, 180_000);
});
