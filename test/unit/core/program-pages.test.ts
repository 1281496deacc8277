import { expect, test } from "vitest";
import { findCleanMappings } from "../../../src/core/program-pages.ts";

const mapping = (
  range: string,
  rights: string,
  path: string,
  dirtyKb = 0,
  anonymousKb = 0,
) => `${range} ${rights} 0042e000 fe:00 123    ${path}
Size:              45416 kB
Rss:               27612 kB
Private_Clean:     27612 kB
Private_Dirty:         ${dirtyKb} kB
Anonymous:             ${anonymousKb} kB
VmFlags: rd ex mr mw me
`;

test("only private mappings of the program's file that nobody wrote to are found", () => {
  const smaps = [
    mapping("00400000-0082e000", "r--p", "/usr/local/bin/longshore"),
    mapping("0082e000-03489000", "r-xp", "/usr/local/bin/longshore"),
    mapping("072a7000-072dc000", "r--p", "/usr/local/bin/longshore", 212, 212),
    mapping("072dc000-07307000", "rw-p", "/usr/local/bin/longshore"),
    mapping("07307000-07308000", "r--s", "/usr/local/bin/longshore"),
    mapping("7ff716a44000-7ff716b9a000", "r-xp", "/lib/libc.so.6"),
    mapping("7ff716c00000-7ff716c01000", "rw-p", "[heap]"),
  ].join("");
  expect(findCleanMappings(smaps, "/usr/local/bin/longshore")).toEqual([
    { start: 0x400000n, length: 0x42e000n },
    { start: 0x82e000n, length: 0x2c5b000n },
  ]);
});

test("a file whose path has blanks is found, and rubbish is not", () => {
  const smaps = `rubbish\n${mapping("1000-2000", "r-xp", "/opt/my programs/longshore")}`;
  expect(findCleanMappings(smaps, "/opt/my programs/longshore")).toHaveLength(1);
  expect(findCleanMappings("", "/x")).toEqual([]);
});
