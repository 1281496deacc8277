import { describe, expect, test } from "vitest";
import type { Volume } from "../../../src/api/types.ts";
import { computeHostPath } from "../../../src/volumes/kinds/host-path.ts";

describe("a hostile hostPath", () => {
  test.each([
    ["a relative path", { path: "etc" }, /"etc" is not absolute/],
    ["no path", { path: "" }, /"" is not absolute/],
    ["a way up", { path: "/var/lib/app/../../../etc" }, /contains '\.\.'/],
    ["a way up at its end", { path: "/srv/.." }, /contains '\.\.'/],
    ["a path cut short by a zero byte", { path: "/srv\0/etc" }, /is not absolute/],
    ["a type that is none", { path: "/srv", type: "Anything" }, /type "Anything" is unknown/],
    ["a type named like a property", { path: "/srv", type: "constructor" }, /is unknown/],
  ])("that has %s is refused", (_what, source, why) => {
    const hostPath = source as NonNullable<Volume["hostPath"]>;
    expect(() => computeHostPath("v", hostPath)).toThrow(why);
  });

  test("two dots within a name are a name", () => {
    const wanted = { kind: "host-path", name: "v", path: "/srv/a..b", type: "" };
    expect(computeHostPath("v", { path: "/srv/a..b" })).toEqual(wanted);
  });
});
