import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { PodFiles } from "../../../src/pods/pod-files.ts";

let root: string;
let files: PodFiles;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "longshore-pods-"));
  files = new PodFiles(root);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

test("a message file may be written by any user and is read back, cut at 4 KiB", async () => {
  const path = await files.createMessageFile("u1", "web", 2);
  expect(statSync(path).mode & 0o777).toBe(0o666);
  writeFileSync(path, "x".repeat(5000));
  expect(await files.readMessage("u1", "web", 2)).toBe("x".repeat(4096));
  expect(await files.readMessage("u1", "web", 3)).toBe("");
});

test("a file that running containers have mounted keeps its inode", async () => {
  const path = await files.write("u1", "etc-hosts", "one");
  const before = statSync(path).ino;
  expect(await files.write("u1", "etc-hosts", "two")).toBe(path);
  expect(statSync(path).ino).toBe(before);
});

test("remove takes the pod's directory unless volumes still lie there", async () => {
  await files.write("u1", "resolv.conf", "");
  await files.remove("u1");
  expect(existsSync(join(root, "pods/u1"))).toBe(false);
  await files.write("u2", "resolv.conf", "");
  mkdirSync(join(root, "pods/u2/volumes"));
  await files.remove("u2");
  expect(existsSync(join(root, "pods/u2/volumes"))).toBe(true);
  await files.remove("u3");
});
