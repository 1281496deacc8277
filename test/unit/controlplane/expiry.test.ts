import { expect, test } from "vitest";
import { startExpiry } from "../../../src/controlplane/expiry.ts";
import { EVENTS, POD_CERTIFICATE_REQUESTS } from "../../../src/controlplane/registry.ts";
import { Store } from "../../../src/controlplane/store.ts";
import { createLogger } from "../../../src/core/logger.ts";
import { FakeClock } from "../../fakes/clock.ts";

test("old Events and PodCertificateRequests are forgotten, and those of late are not", async () => {
  const clock = new FakeClock(Date.parse("2026-11-21T12:00:00Z"));
  const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
  const store = new Store({ path: ":memory:", clock, randomUid: () => crypto.randomUUID(), log });
  store.open();
  const names = () =>
    [EVENTS, POD_CERTIFICATE_REQUESTS].map((type) =>
      store.list(type).items.map(({ metadata }) => metadata.name),
    );
  const make = (name: string, more: object = {}): void => {
    for (const type of [EVENTS, POD_CERTIFICATE_REQUESTS])
      store.create(type, { apiVersion: "v1", kind: type.kind, metadata: { name }, ...more });
  };
  make("old");
  make("seen", { lastTimestamp: "2026-11-21T12:30:00Z" });
  const expiry = startExpiry({ store, clock });
  await clock.advance(10 * 60_000);
  make("late");
  await clock.advance(10 * 60_000);
  expect(names()).toEqual([
    ["late", "old", "seen"],
    ["late", "seen"],
  ]);
  await clock.advance(45 * 60_000);
  expect(names()).toEqual([["late", "seen"], []]);
  expiry.cancel();
  store.close();
});
