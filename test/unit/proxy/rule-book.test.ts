/** The rule set kept up change by change is that of all objects at once, and every step on the way is one the kernel takes. */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ServiceChanges } from "../../../src/proxy/changes.ts";
import type { ProxyRulesOptions } from "../../../src/proxy/options.ts";
import { renderChange } from "../../../src/proxy/render.ts";
import type { RuleSet } from "../../../src/proxy/rule.ts";
import { computeFullChange, RuleBook } from "../../../src/proxy/rule-book.ts";
import { computeProxyRules } from "../../../src/proxy/rules.ts";
import { makeService, makeSlice, PROXIER_RULES } from "../../builders/services.ts";
import { FakeIptables } from "../../fakes/iptables.ts";
import { parseRestore } from "../../support/iptables-parser.ts";
import { clusterIpOf, serviceOf, sliceOf } from "../../support/many-services.ts";
import { tracePacket } from "../../support/packet-tracer.ts";
import { makeRubbish, RUBBISH } from "../../support/rubbish.ts";
import { anyChange, emptyStores, type Stores } from "../../support/service-changes.ts";

const options: ProxyRulesOptions = {
  ...PROXIER_RULES,
  family: "IPv4",
  nodeIp: "192.0.2.1",
  localhostNodePorts: true,
  randomFully: true,
};

function sorted(rules: RuleSet) {
  return [rules.filter, rules.nat].map((chains) =>
    [...chains].toSorted(([a], [b]) => (a < b ? -1 : 1)),
  );
}

function wholeOf({ services, endpointSlices }: Stores, with_ = options) {
  const objects = { services: services.list(), endpointSlices: endpointSlices.list() };
  return computeProxyRules(objects, with_);
}

/** What the fake kernel holds of ours, in the form of `sorted`. */
async function kernelOf(iptables: FakeIptables) {
  const tables = await Promise.all(
    (["filter", "nat"] as const).map(async (table) =>
      parseRestore(await iptables.save(table)).get(table),
    ),
  );
  return tables.map((table) => {
    const rules = Map.groupBy(table?.rules ?? [], (rule) => rule.chain);
    return (table?.chains ?? [])
      .filter((name) => name.startsWith("KUBE-"))
      .toSorted()
      .map((name) => [name, (rules.get(name) ?? []).map((rule) => rule.words)]);
  });
}

async function apply(iptables: FakeIptables, texts: Iterable<string>): Promise<void> {
  for (const text of texts) await iptables.restore(text);
}

test("a thousand random changes, taken as they come or together, give the rules of the last state", async () => {
  const stores = emptyStores();
  const changes = new ServiceChanges(stores.services, stores.endpointSlices, "IPv4");
  changes.start(() => undefined);
  const book = new RuleBook(options);
  const iptables = new FakeIptables();
  await apply(iptables, renderChange(computeFullChange(book.rules, { filter: [], nat: [] })));
  book.take();
  const history = fc.sample(fc.tuple(anyChange, fc.nat(3)), { numRuns: 1000, seed: 6 });
  for (const [n, [change, more]] of history.entries()) {
    change(stores);
    if (more > 0) continue;
    for (const key of changes.take()) book.set(key, changes.objectsOf(key));
    if (book.updateComments()) throw new Error("so many endpoints there are not");
    await apply(iptables, renderChange(book.take()));
    if (n % 50 === 0) expect(sorted(book.rules)).toEqual(sorted(wholeOf(stores).rules));
  }
  for (const key of changes.take()) book.set(key, changes.objectsOf(key));
  await apply(iptables, renderChange(book.take()));
  const whole = wholeOf(stores).rules;
  expect(sorted(book.rules)).toEqual(sorted(whole));
  const fresh = new FakeIptables();
  await apply(fresh, renderChange(computeFullChange(whole, { filter: [], nat: [] })));
  expect(await kernelOf(iptables)).toEqual(await kernelOf(fresh));
  expect(book.ruleCount.nat).toBe([...whole.nat.values()].flat().length);
});

describe("in a large cluster", () => {
  const COUNT = 1100;
  const stores = emptyStores();
  const changes = new ServiceChanges(stores.services, stores.endpointSlices, "IPv4");
  stores.services.replace(Array.from({ length: COUNT }, (_, n) => serviceOf(n)));
  stores.endpointSlices.replace(Array.from({ length: COUNT }, (_, n) => sliceOf(n, 1)));
  changes.start(() => undefined);
  const book = new RuleBook(options);
  const update = (): RuleBook => {
    for (const key of changes.take()) book.set(key, changes.objectsOf(key));
    if (book.updateComments()) for (const key of book.keys()) book.set(key, changes.objectsOf(key));
    return book;
  };
  const rules = structuredClone(update().rules);
  book.take();

  test("a full sync goes in pieces of bounded size, each of which the kernel takes after those before it", async () => {
    const iptables = new FakeIptables();
    const texts = [...renderChange(computeFullChange(rules, { filter: [], nat: [] }))];
    expect(texts.length).toBeGreaterThan(2);
    expect(Math.max(...texts.map((text) => text.split("\n").length))).toBeLessThan(2600);
    await apply(iptables, texts);
    // Over itself, and with all that is of former times deleted, pieces follow each other as well.
    const nat = [...rules.nat.keys(), "KUBE-SVC-AAAAAAAAAAAAAAAA"];
    await iptables.ensureChain("nat", "KUBE-SVC-AAAAAAAAAAAAAAAA");
    const nothing = computeProxyRules({ services: [], endpointSlices: [] }, options).rules;
    await apply(iptables, renderChange(computeFullChange(nothing, { filter: [], nat })));
    const fresh = new FakeIptables();
    await apply(fresh, renderChange(computeFullChange(nothing, { filter: [], nat: [] })));
    expect(await kernelOf(iptables)).toEqual(await kernelOf(fresh));
  });

  test("between any two pieces of a full sync over other rules every Service is served", async () => {
    const iptables = new FakeIptables();
    const few = {
      services: stores.services.list().slice(0, 300),
      endpointSlices: stores.endpointSlices.list().slice(0, 300),
    };
    const before = computeProxyRules(few, { ...options, masqueradeAll: true }).rules;
    await apply(iptables, renderChange(computeFullChange(before, { filter: [], nat: [] })));
    const change = computeFullChange(rules, { filter: [], nat: [...before.nat.keys()] });
    for (const text of renderChange(change)) {
      await iptables.restore(text);
      const saved = [await iptables.save("filter"), await iptables.save("nat")];
      const kernel = { tables: parseRestore(saved.join("")), nodeIps: [] };
      for (const n of [0, 17, 299]) {
        const to = { destination: clusterIpOf(n + 1), port: 80, protocol: "tcp" } as const;
        const { output } = tracePacket(kernel, { source: "10.9.9.9", ...to });
        expect(output).toEqual([expect.stringMatching(/^10\..*:8080$/)]);
      }
    }
  });

  test.each<[string, () => void, number]>([
    ["a moved endpoint", () => stores.endpointSlices.apply(sliceOf(7, 1, 3)), 3],
    ["one endpoint more", () => stores.endpointSlices.apply(sliceOf(8, 2)), 2],
    [
      "a new Service",
      () => {
        stores.endpointSlices.apply(sliceOf(COUNT, 1));
        stores.services.apply(serviceOf(COUNT));
      },
      3,
    ],
    ["a Service that went", () => stores.services.delete(serviceOf(9)), 3],
    ["no difference", () => stores.services.apply(serviceOf(10)), 0],
  ])("%s makes one restore of few chains", (_, change, chains) => {
    change();
    const change_ = update().take();
    const texts = [...renderChange(change_)];
    expect(texts.length).toBe(chains === 0 ? 0 : 1);
    const { changed, removed } = change_.nat;
    expect(changed.size + removed.length).toBe(chains);
    expect(texts.join("").split("\n").length).toBeLessThan(80);
    expect(sorted(book.rules)).toEqual(sorted(wholeOf(stores).rules));
  });

  test("other options change what depends on them, and nothing else", () => {
    expect(book.setOptions({ ...options, nodePortAddresses: ["primary"] })).toBe(false);
    expect([...book.take().nat.changed.keys()]).toEqual(["KUBE-SERVICES"]);
    expect(book.setOptions({ ...options, masqueradeAll: true })).toBe(true);
    for (const key of book.keys()) book.set(key, changes.objectsOf(key));
    book.take();
    expect(sorted(book.rules)).toEqual(
      sorted(wholeOf(stores, { ...options, masqueradeAll: true }).rules),
    );
  });
});

describe("rubbish", () => {
  const good = makeService({ name: "good", clusterIp: "172.30.0.1" });
  const goodSlice = makeSlice({ service: "good", ips: ["10.180.0.1"], port: 80 });
  const goodRules = computeProxyRules({ services: [good], endpointSlices: [goodSlice] }, options);

  test.each(RUBBISH)(
    "%s is left out and said, and nobody else suffers",
    async (_, service, sliceChange) => {
      const bad = makeRubbish(service, sliceChange);
      const services = [good, bad.service];
      const endpointSlices = [goodSlice, bad.endpointSlice];
      const { rules, skipped } = computeProxyRules({ services, endpointSlices }, options);
      expect(skipped.length).toBe(1);
      expect(skipped[0]?.skipped.length).toBeGreaterThan(0);
      expect(skipped[0]?.skipped.join("")).not.toContain("\n");
      const iptables = new FakeIptables();
      await apply(iptables, renderChange(computeFullChange(rules, { filter: [], nat: [] })));
      for (const [chain, own] of goodRules.rules.nat)
        for (const rule of own) expect(rules.nat.get(chain)).toContain(rule);
      const others = [...rules.nat.values()]
        .flat()
        .filter((rule) => !rule.includes("default/good"));
      expect(others.join("\n")).not.toContain("-j ACCEPT");
    },
  );

  test("five thousand endpoints of one Service are all there", () => {
    const ips = Array.from({ length: 5000 }, (_, n) => `10.180.${n >> 8}.${n & 255}`);
    const many = makeSlice({ service: "good", ips, port: 80 });
    const { rules } = computeProxyRules({ services: [good], endpointSlices: [many] }, options);
    const text = [...renderChange(computeFullChange(rules, { filter: [], nat: [] }))];
    expect(text.join("").match(/--to-destination/g)?.length).toBe(5000);
  });
});
