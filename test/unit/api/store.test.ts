/** What a store tells of when single objects and whole lists come in. */

import { expect, test } from "vitest";
import { keyOf, MutableStore } from "../../../src/api/store.ts";
import type { Pod } from "../../../src/api/types.ts";
import { node, pod } from "../../builders/objects.ts";

function version(name: string, resourceVersion: string): Pod {
  return pod((p) => {
    p.metadata.name = name;
    p.metadata.resourceVersion = resourceVersion;
  });
}

test("a relist tells of what is new, changed and gone, after the whole list is in", () => {
  const store = new MutableStore<Pod>();
  store.replace([version("same", "1"), version("changed", "1"), version("gone", "1")]);
  const told: string[] = [];
  store.onChange((change) => {
    const previous = change.previous?.metadata.resourceVersion ?? "none";
    told.push(`${change.kind} ${change.key} from ${previous}, ${store.list().length} in store`);
  });
  store.replace([version("same", "1"), version("changed", "2"), version("new", "2")]);
  expect(told).toEqual([
    "deleted default/gone from 1, 3 in store",
    "applied default/changed from 1, 3 in store",
    "applied default/new from none, 3 in store",
  ]);
});

test("a store is synced by a whole list, not by single objects", () => {
  const store = new MutableStore<Pod>();
  store.apply(version("a", "1"));
  expect(store.isSynced).toBe(false);
  store.replace([]);
  expect(store.isSynced).toBe(true);
  expect(store.list()).toEqual([]);
});

test("deleting what is not there tells nobody", () => {
  const store = new MutableStore<Pod>();
  const told: unknown[] = [];
  store.onChange((change) => told.push(change));
  store.delete(version("a", "1"));
  expect(told).toEqual([]);
});

test("keys have a namespace where the object has one", () => {
  expect(keyOf(pod())).toBe("default/web");
  expect(keyOf(node())).toBe("node-1");
});
