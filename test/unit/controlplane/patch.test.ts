/** PATCH of one ConfigMap with each type of patch, good and bad. */

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { applyPatch, PATCH_TYPES } from "../../../src/controlplane/patch.ts";
import { CONFIG_MAPS } from "../../../src/controlplane/registry.ts";
import { StatusError } from "../../../src/controlplane/status-error.ts";

const JSON_PATCH = "application/json-patch+json";
const MERGE = "application/merge-patch+json";
const STRATEGIC = "application/strategic-merge-patch+json";

const current = {
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name: "c", namespace: "ns", uid: "u1", resourceVersion: "7" },
  data: { a: "1", b: "2" },
};

function statusOf(run: () => unknown): number {
  try {
    run();
  } catch (error) {
    if (error instanceof StatusError) return error.body.code;
    throw error;
  }
  return 200;
}

function deep(levels: number): unknown {
  let value: unknown = {};
  for (let level = 0; level < levels; level += 1) value = { data: value };
  return value;
}

describe("applyPatch", () => {
  it.each<[string, string, unknown, object]>([
    [
      "a JSON patch",
      JSON_PATCH,
      [{ op: "replace", path: "/data/a", value: "x" }],
      { a: "x", b: "2" },
    ],
    ["a merge patch", MERGE, { data: { a: null, c: "3" } }, { b: "2", c: "3" }],
    ["a strategic merge patch", STRATEGIC, { data: { $patch: "replace", c: "3" } }, { c: "3" }],
    [
      "a media type with parameters",
      `${MERGE}; charset=utf-8`,
      { data: { a: "x" } },
      { a: "x", b: "2" },
    ],
    [
      "the same uid as a precondition",
      MERGE,
      { metadata: { uid: "u1" }, data: { a: "x" } },
      { a: "x", b: "2" },
    ],
    [
      "a key that is named like a method",
      MERGE,
      { data: { constructor: "x" } },
      { ...current.data, constructor: "x" },
    ],
  ])("applies %s", (_, contentType, patch, data) => {
    const frozen = structuredClone(current);
    expect(applyPatch(CONFIG_MAPS, current, contentType, patch)).toEqual({ ...current, data });
    expect(current).toEqual(frozen);
  });

  it("keeps identity that a patch removes and hands on the resource version it names", () => {
    const patch = { metadata: { name: null, uid: null, resourceVersion: "3" } };
    const { metadata } = applyPatch(CONFIG_MAPS, current, MERGE, patch);
    expect(metadata).toEqual({ ...current.metadata, resourceVersion: "3" });
  });

  it.each<[number, string, string, unknown]>([
    [415, "another type", "application/json", {}],
    [415, "server-side apply", "application/apply-patch+yaml", {}],
    [409, "another uid", MERGE, { metadata: { uid: "u2" } }],
    [409, "another name", STRATEGIC, { metadata: { name: "d" } }],
    [
      409,
      "another namespace",
      JSON_PATCH,
      [{ op: "replace", path: "/metadata/namespace", value: "x" }],
    ],
    [422, "a failed test", JSON_PATCH, [{ op: "test", path: "/data/a", value: "9" }]],
    [422, "a missing path", JSON_PATCH, [{ op: "remove", path: "/data/z" }]],
    [422, "a prototype in a path", JSON_PATCH, [{ op: "add", path: "/__proto__/x", value: 1 }]],
    [
      422,
      "a constructor's prototype",
      JSON_PATCH,
      [{ op: "add", path: "/constructor/prototype/x", value: 1 }],
    ],
    [
      422,
      "the whole object replaced by text",
      JSON_PATCH,
      [{ op: "replace", path: "", value: "x" }],
    ],
    [422, "an unknown operation", JSON_PATCH, [{ op: "grow", path: "/a" }]],
    [422, "metadata removed", MERGE, { metadata: null }],
    [400, "a JSON patch that is no list", JSON_PATCH, { op: "add" }],
    [400, "a merge patch that is a list", MERGE, []],
    [400, "another kind", MERGE, { kind: "Secret" }],
    [400, "a key __proto__", MERGE, JSON.parse('{"data":{"__proto__":{"x":1}}}')],
    [400, "endless nesting", MERGE, deep(100_000)],
    [413, "too many operations", JSON_PATCH, Array(10_001).fill({ op: "remove", path: "/x" })],
  ])("answers %i to %s", (code, _, contentType, patch) => {
    expect(statusOf(() => applyPatch(CONFIG_MAPS, current, contentType, patch))).toBe(code);
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });

  it("refuses copies that grow without end", () => {
    const patch = Array.from({ length: 60 }, (_, index) => ({
      op: "copy",
      from: "/data",
      path: `/data/k${index}`,
    }));
    expect(statusOf(() => applyPatch(CONFIG_MAPS, current, JSON_PATCH, patch))).toBe(422);
  });

  it("throws nothing but StatusErrors, whatever the patch", () => {
    const operation = fc.record({
      op: fc.constantFrom("add", "remove", "replace", "move", "copy", "test", "x"),
      path: fc.constantFrom("", "/", "/data", "/data/a/b", "/metadata/labels", "x"),
      from: fc.constantFrom("", "/data", "/z"),
      value: fc.jsonValue(),
    });
    const patches = fc.oneof(
      fc.jsonValue(),
      fc.array(operation, { maxLength: 4 }),
      fc.record({ spec: fc.jsonValue(), metadata: fc.jsonValue(), data: fc.jsonValue() }),
    );
    fc.assert(
      fc.property(fc.constantFrom(...PATCH_TYPES), patches, (contentType, patch) => {
        statusOf(() => applyPatch(CONFIG_MAPS, current, contentType, patch));
      }),
      { numRuns: 300 },
    );
  });
});
