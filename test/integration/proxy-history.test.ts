/** The proxy's increments on real iptables: any history ends as one full sync of its last state. Needs root. */

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { createIptables, type Iptables } from "../../src/core/iptables.ts";
import { removeProxyRules } from "../../src/proxy/cleanup.ts";
import { Proxier } from "../../src/proxy/proxier.ts";
import { PROXIER_RULES } from "../builders/services.ts";
import { hostRules, NodeNamespace, pause, silentLog } from "../support/netns.ts";
import { anyChange, emptyStores, type Stores } from "../support/service-changes.ts";

const signal = new AbortController().signal;
let hostBefore: string;
let node: NodeNamespace;
let iptables: Iptables;

beforeAll(() => {
  hostBefore = hostRules();
  node = new NodeNamespace("network-h", "172.30.0.0/16");
  iptables = createIptables({ exec: node.exec, family: "IPv4" });
});

afterAll(async () => {
  await node.remove();
  expect(hostRules()).toBe(hostBefore);
});

/** Chains and rules; between chains the order means nothing. */
function rules(): string[] {
  const lines = node
    .run("iptables-save")
    .replace(/\[\d+:\d+\]/g, "")
    .split("\n");
  return lines.filter((line) => /^[:-]/.test(line)).sort();
}

async function following(stores: Stores, work: (synced: () => Promise<void>) => Promise<void>) {
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

test("any history sent piece by piece ends as one full sync of its last state", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyChange, { minLength: 4, maxLength: 8 }), async (history) => {
      const stores = emptyStores();
      await following(stores, async (synced) => {
        for (const change of history) {
          change(stores);
          await synced();
        }
      });
      const inPieces = rules();
      await removeProxyRules(iptables, signal);
      await following(stores, async () => undefined);
      expect(inPieces).toEqual(rules());
      await removeProxyRules(iptables, signal);
    }),
    { numRuns: 6 },
  );
});
