/**
 * The proxy's increments on real iptables, with both back-ends: a long history of random changes ends as one full sync of
 * its last state, and the hourly look finds nothing to mend. Needs root.
 */

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import type { Exec } from "../../src/core/exec.ts";
import { createIptables, type Iptables } from "../../src/core/iptables.ts";
import { removeProxyRules } from "../../src/proxy/cleanup.ts";
import { KernelRules } from "../../src/proxy/kernel-rules.ts";
import { Proxier } from "../../src/proxy/proxier.ts";
import { computeProxyRules } from "../../src/proxy/rules.ts";
import { PROXIER_RULES } from "../builders/services.ts";
import { hostRules, NodeNamespace, pause, silentLog } from "../support/netns.ts";
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
