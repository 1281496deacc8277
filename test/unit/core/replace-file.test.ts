import {
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { replaceFile, replaceFileSync } from "../../../src/core/replace-file.ts";

const dir = mkdtempSync(join(tmpdir(), "longshore-replace-"));
const path = join(dir, "file");
const elsewhere = join(dir, "elsewhere");
afterAll(() => rmSync(dir, { recursive: true, force: true }));

describe.each([
  ["replaceFile", replaceFile],
  ["replaceFileSync", async (...both: [string, string]) => replaceFileSync(...both)],
] as const)("%s", (_name, replace) => {
  beforeEach(() => {
    for (const name of readdirSync(dir)) rmSync(join(dir, name));
  });

  test("makes and replaces a file for its owner alone, and leaves no draft", async () => {
    await replace(path, "one");
    await replace(path, "two");
    expect(readFileSync(path, "utf8")).toBe("two");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(dir)).toEqual(["file"]);
  });

  test("follows no link and takes no mode of a draft left behind", async () => {
    writeFileSync(elsewhere, "untouched", { mode: 0o644 });
    symlinkSync(elsewhere, `${path}.tmp`);
    await replace(path, "one");
    expect(readFileSync(elsewhere, "utf8")).toBe("untouched");
    writeFileSync(`${path}.tmp`, "draft", { mode: 0o644 });
    await replace(path, "two");
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });
});
