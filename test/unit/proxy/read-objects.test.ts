import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LongshoreError } from "../../../src/core/errors.ts";
import { readObjects } from "../../../src/proxy/read-objects.ts";

const read = (value: unknown) => readObjects(JSON.stringify(value), "f");
const service = { kind: "Service", metadata: { name: "web" }, spec: { ports: [{ port: 80 }] } };
const slice = {
  kind: "EndpointSlice",
  metadata: { name: "web-1" },
  addressType: "IPv4",
  endpoints: [{ addresses: ["10.0.0.1"] }],
};

describe("objects in a file", () => {
  test.each([
    ["one JSON object", JSON.stringify(service), 1],
    [
      "two JSON objects",
      `${JSON.stringify(service)}\n---\n${JSON.stringify({ ...service, metadata: { name: "b" } })}`,
      2,
    ],
    ["a List", JSON.stringify({ kind: "List", items: [service] }), 1],
    [
      "a ServiceList, whose items need no kind",
      JSON.stringify({ kind: "ServiceList", items: [{ ...service, kind: undefined }] }),
      1,
    ],
    [
      "YAML documents, with empty ones between",
      "---\n# nothing\n---\nkind: Service\nmetadata: {name: a}\n---\n",
      1,
    ],
    ["nothing", "", 0],
    ["an empty List", "kind: List\nitems: null\n", 0],
  ])("are read from %s", (_what, text, count) => {
    expect(readObjects(text, "f").services).toHaveLength(count);
  });

  test("are sorted out by kind and completed as an API server would", () => {
    const { services, endpointSlices, nodes } = read({
      kind: "List",
      items: [slice, service, { kind: "Node", metadata: { name: "n" } }],
    });
    expect(services[0]?.metadata).toMatchObject({ namespace: "default", uid: "web" });
    expect(endpointSlices).toHaveLength(1);
    expect(nodes[0]?.metadata).not.toHaveProperty("namespace");
  });

  test("keep a name that looks like a date", () => {
    const text = "kind: Service\nmetadata: {name: 2026-01-01}\n";
    expect(readObjects(text, "f").services[0]?.metadata.name).toBe("2026-01-01");
  });

  const broken = (path: string, value: unknown): object => {
    const copy = structuredClone({ ...service, ...{ status: {} } }) as Record<string, unknown>;
    const keys = path.split(".");
    const last = keys.pop() ?? "";
    const parent = keys.reduce<Record<string, unknown>>(
      (at, key) => at[key] as Record<string, unknown>,
      copy,
    );
    parent[last] = value;
    return copy;
  };

  test.each([
    [
      "a port that is a name",
      broken("spec.ports.0.port", "http"),
      'f: document 1 (Service "web"): spec.ports[0].port is not a whole number',
    ],
    ["a port that is missing", broken("spec.ports.0", {}), "spec.ports[0].port is missing"],
    ["ports that are no list", broken("spec.ports", {}), "spec.ports is not a list"],
    ["a spec that is text", broken("spec", "x"), "spec is not an object"],
    [
      "a label that is a number",
      broken("metadata.labels", { a: 1 }),
      "metadata.labels.a is not a string",
    ],
    ["no name", broken("metadata", {}), "(Service without name): metadata.name is missing"],
    [
      "an entry without addresses",
      { ...slice, endpoints: [{}] },
      "endpoints[0].addresses is missing",
    ],
    [
      "a condition that is text",
      { ...slice, endpoints: [{ addresses: [], conditions: { ready: "yes" } }] },
      "endpoints[0].conditions.ready is not a boolean",
    ],
    [
      "another kind",
      { kind: "Pod", metadata: { name: "p" } },
      'f: document 1: kind "Pod" is none of Service, EndpointSlice, Node',
    ],
    ["no kind", {}, "f: document 1: kind is missing"],
    ["items that are no list", { kind: "List", items: {} }, "items is not a list"],
    [
      "an item that is null",
      { kind: "List", items: [null] },
      "f: document 1: items[0] is not an object",
    ],
    [
      "the same object twice",
      { kind: "List", items: [service, service] },
      'items[1]: "Service default/web" is there twice',
    ],
  ])("with %s are refused by document and field", (_what, value, message) => {
    expect(() => read(value)).toThrow(message);
  });

  test.each([
    ["a word", "hello", "f: document 1 is not an object"],
    ["a list", "- a\n- b", "f: document 1 is not an object"],
    ["a tab where YAML has none", "kind: Service\n\tmetadata: x", "f is not YAML or JSON"],
    ["half of a JSON object", '{"kind":', "f is not YAML or JSON"],
    [
      "the third document",
      "kind: Service\nmetadata: {name: a}\n---\nkind: Service\nmetadata: {name: b}\n---\nkind: X\n",
      "document 3",
    ],
  ])("that are %s are refused", (_what, text, message) => {
    expect(() => readObjects(text, "f")).toThrow(message);
  });

  test("that would write to the terminal are shown without it", () => {
    const clear = "\u001b[2J";
    const odd = { ...service, metadata: { name: clear, labels: { [clear]: 1 } } };
    const refused = (text: string): string => {
      try {
        readObjects(text, "f");
      } catch (error) {
        return (error as Error).message;
      }
      return "";
    };
    for (const text of [JSON.stringify(odd), `kind: "${clear}`, `kind: {\n  ${clear}`]) {
      expect(refused(text)).toMatch(/^f[: ]/);
      expect(refused(text)).not.toContain("\u001b");
    }
  });

  test("of any JSON are read or refused with ConfigInvalid, never anything else", () => {
    const anything = fc.letrec((tie) => ({
      object: fc.dictionary(
        fc.constantFrom(
          "kind",
          "metadata",
          "spec",
          "ports",
          "items",
          "name",
          "endpoints",
          "addresses",
          "labels",
        ),
        fc.oneof(
          { maxDepth: 3 },
          fc.constantFrom("Service", "List", "EndpointSlice", "ServiceList", 1, null, true),
          tie("object"),
          fc.array(tie("object"), { maxLength: 3 }),
        ),
      ),
    })).object;
    fc.assert(
      fc.property(anything, (value) => {
        try {
          read(value);
        } catch (error) {
          expect(error).toBeInstanceOf(LongshoreError);
        }
      }),
      { numRuns: 100 },
    );
  });
});
