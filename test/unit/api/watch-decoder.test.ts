/** Watch streams: lines cut anywhere, events of each type, errors inside the stream. */

import fc from "fast-check";
import { expect, test } from "vitest";
import { decodeWatchLine, LineSplitter } from "../../../src/api/watch-decoder.ts";

const OBJECT = { metadata: { name: "web", uid: "u", resourceVersion: "7" } };

test("lines come out whole however the network cuts them, also inside a character", () => {
  const lines = ['{"a":"ä€😀"}', '{"b":2}', "{}"];
  const bytes = Buffer.from(`${lines.join("\n")}\n\n`);
  fc.assert(
    fc.property(fc.array(fc.nat(bytes.length)), (cuts) => {
      const splitter = new LineSplitter();
      const edges = [0, ...cuts.sort((a, b) => a - b), bytes.length];
      const out = edges.flatMap((edge, i) => splitter.push(bytes.subarray(edge, edges[i + 1])));
      expect(out.slice(0, 3)).toEqual(lines);
    }),
    { numRuns: 50 },
  );
});

test.each([
  ["ADDED", { kind: "applied", object: OBJECT }],
  ["MODIFIED", { kind: "applied", object: OBJECT }],
  ["DELETED", { kind: "deleted", object: OBJECT }],
  ["BOOKMARK", { kind: "bookmark", resourceVersion: "7" }],
])("%s is decoded", (type, event) => {
  expect(decodeWatchLine(JSON.stringify({ type, object: OBJECT }), "watching")).toEqual(event);
});

test.each([
  ["an ERROR of 410", { type: "ERROR", object: { code: 410, message: "too old" } }, "ApiExpired"],
  ["an ERROR of 500", { type: "ERROR", object: { code: 500 } }, "ApiServerError"],
  ["an unknown type", { type: "SOMETHING", object: {} }, "ApiServerError"],
  ["an event without object", { type: "ADDED" }, "ApiServerError"],
  ["null", null, "ApiServerError"],
])("%s throws", (_what, line, code) => {
  expect(() => decodeWatchLine(JSON.stringify(line), "watching")).toThrowError(
    expect.objectContaining({ code }),
  );
});

test("half a line is an error that does not quote it", () => {
  expect(() => decodeWatchLine('{"data":"aHVudGVyMg', "watching")).toThrowError(
    expect.objectContaining({ message: expect.not.stringContaining("aHVu") }),
  );
});
