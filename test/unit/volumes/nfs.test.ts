import { describe, expect, it } from "vitest";
import { computeNfs } from "../../../src/volumes/kinds/nfs.ts";

describe("an nfs volume", () => {
  const of = (server: string, path: string) => computeNfs("v", "/pods/u/v", { server, path });

  it("is asked for as mount.nfs takes it, with the options of the volume once each", () => {
    const source = { server: "nas", path: "/a b", readOnly: true };
    expect(computeNfs("v", "/p", source, ["vers=4.1", "hard", "ro"])).toEqual({
      ...{ kind: "nfs", name: "v", path: "/p", source: "nas:/a b", readOnly: true },
      options: ["hard", "ro", "vers=4.1"],
    });
    expect(of("fd00::1", "/x").source).toBe("[fd00::1]:/x");
    expect(of("[fd00::1]", "/x").source).toBe("[fd00::1]:/x");
  });

  it.each([
    ["-o", "/x", 'nfs server "-o" is no host'],
    ["", "/x", 'nfs server "" is no host'],
    ["a/b", "/x", 'nfs server "a/b" is no host'],
    ["a b", "/x", 'nfs server "a b" is no host'],
    ["nas", "x", 'nfs path "x" is not absolute'],
    ["nas", "/x\0", "is not absolute"],
  ])("of server %j and path %j is refused", (server, path, words) => {
    expect(() => of(server, path)).toThrow(words);
  });
});
