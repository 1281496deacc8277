import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { KubeObject } from "../../../src/controlplane/objects.ts";
import { CONFIG_MAPS } from "../../../src/controlplane/registry.ts";
import { parseLabelSelector } from "../../../src/controlplane/selectors.ts";
import { Store } from "../../../src/controlplane/store.ts";
import { systemClock } from "../../../src/core/clock.ts";
import { createLogger } from "../../../src/core/logger.ts";

const log = createLogger({ level: "silent", pretty: false, write: () => undefined });
const base: KubeObject = {
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "a", namespace: "default", labels: { app: "web" } },
};

function openStore(): Store {
  const store = new Store({ path: ":memory:", clock: systemClock, randomUid: () => "u1", log });
  store.open();
  return store;
}

test("an update that changes nothing keeps the resource version and tells nobody", () => {
  const store = openStore();
  const made = store.create(CONFIG_MAPS, base);
  const same = store.update(CONFIG_MAPS, "default", "a", (current) => ({ ...current }));
  expect(same.metadata.resourceVersion).toBe(made.metadata.resourceVersion);
  expect(store.eventsSince(CONFIG_MAPS, 1)).toEqual([]);
});

test("objects and versions survive a restart, and older versions are expired after it", () => {
  const dir = mkdtempSync(join(tmpdir(), "longshore-store-"));
  const open = (): Store => {
    const path = join(dir, "store.db");
    const store = new Store({ path, clock: systemClock, randomUid: () => "u1", log });
    store.open();
    return store;
  };
  const first = open();
  const made = first.create(CONFIG_MAPS, base);
  first.close();
  const second = open();
  expect(second.get(CONFIG_MAPS, "default", "a")).toEqual(made);
  expect(second.eventsSince(CONFIG_MAPS, 1)).toBe("expired");
  expect(Number(second.resourceVersion)).toBeGreaterThan(Number(made.metadata.resourceVersion));
  second.close();
  rmSync(dir, { recursive: true });
});

test("listeners hear of changes in their order, also when one of them writes", () => {
  const store = openStore();
  const heard: number[] = [];
  store.subscribe(CONFIG_MAPS, ({ type, object }) => {
    if (type !== "ADDED") return;
    store.update(CONFIG_MAPS, "default", object.metadata.name, (it) => ({ ...it, data: {} }));
  });
  store.subscribe(CONFIG_MAPS, (event) => heard.push(event.resourceVersion));
  store.create(CONFIG_MAPS, base);
  expect(heard).toEqual([1, 2]);
});

test("versions from before the window or from the future are expired", () => {
  const store = openStore();
  for (let i = 0; i < 4001; i++) {
    store.create(CONFIG_MAPS, { ...base, metadata: { ...base.metadata, name: `a${i}` } });
  }
  expect(store.eventsSince(CONFIG_MAPS, 1)).toBe("expired");
  expect(store.eventsSince(CONFIG_MAPS, 9999)).toBe("expired");
  expect(store.eventsSince(CONFIG_MAPS, 4000)).toHaveLength(1);
});

test.each([
  ["app=web", true],
  ["app!=web", false],
  ["app in (db, web),!tier", true],
  ["tier notin (a)", true],
  ["tier", false],
])("label selector %s", (text, expected) => {
  expect(parseLabelSelector(text)(base)).toBe(expected);
});
