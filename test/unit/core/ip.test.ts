import { describe, expect, test } from "vitest";
import {
  canonicalAddress,
  cidrContains,
  formatCidr,
  parseAddress,
  parseCidr,
} from "../../../src/core/ip.ts";

describe("an address is written canonically", () => {
  test.each([
    ["10.0.0.1", "10.0.0.1"],
    ["010.000.000.001", "10.0.0.1"],
    ["FD00:0:0:0:0:0:0:1", "fd00::1"],
    ["::", "::"],
    ["::1", "::1"],
    ["fd00::", "fd00::"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["::ffff:1.2.3.4", "::ffff:102:304"],
  ])("%s is %s", (text, expected) => {
    expect(canonicalAddress(text)).toBe(expected);
  });

  test.each([
    "",
    "1.2.3",
    "1.2.3.256",
    "1.2.3.4.5",
    "a.b.c.d",
    ":::",
    "1::2::3",
    "12345::",
    "1:2:3:4:5:6:7",
  ])("%j is none", (text) => {
    expect(parseAddress(text)).toBeUndefined();
  });
});

describe("a range", () => {
  test.each([
    ["10.1.2.3/8", "10.0.0.0/8"],
    ["0.0.0.0/0", "0.0.0.0/0"],
    ["fd00:1::5/64", "fd00:1::/64"],
    ["10.0.0.0/33", undefined],
    ["10.0.0.0", undefined],
    ["10.0.0.0/8/8", undefined],
  ])("%s is %s", (text, expected) => {
    const range = parseCidr(text);
    expect(range === undefined ? undefined : formatCidr(range)).toBe(expected);
  });

  test.each([
    ["10.0.0.0/8", "10.255.255.255", true],
    ["10.0.0.0/8", "11.0.0.0", false],
    ["10.0.0.0/8", "9.255.255.255", false],
    ["::/0", "1.2.3.4", false],
  ])("%s contains %s: %s", (text, ip, expected) => {
    const range = parseCidr(text);
    const address = parseAddress(ip);
    if (range === undefined || address === undefined) throw new Error("bad input");
    expect(cidrContains(range, address)).toBe(expected);
  });
});
