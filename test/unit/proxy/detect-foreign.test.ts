import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { LongshoreError } from "../../../src/core/errors.ts";
import type { Exec } from "../../../src/core/exec.ts";
import {
  computeForeignSigns,
  type ForeignFacts,
  OWNER_MARK,
  readForeignFacts,
} from "../../../src/proxy/detect-foreign.ts";
import { FakeClock } from "../../fakes/clock.ts";
import { FakeIptables } from "../../fakes/iptables.ts";

const { signal } = new AbortController();
const NOBODY: ForeignFacts = {
  canaries: [],
  isHealthPortTaken: false,
  hasNftTable: false,
  hasIpvsDevice: false,
};
const noNft: Exec = () => Promise.reject(new LongshoreError("CommandMissing", "no nft"));
const nftSays =
  (stdout: string): Exec =>
  async () => ({ code: 0, stdout, stderr: "" });

describe("another service proxy", () => {
  let root: string;
  let iptables: FakeIptables;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "longshore-foreign-"));
    iptables = new FakeIptables();
  });
  afterEach(() => rmSync(root, { recursive: true }));

  const clock = new FakeClock();
  const read = (exec: Exec = noNft, healthPort = 0) =>
    readForeignFacts({ iptables: [iptables], exec, root, healthPort, clock }, signal);

  test("is not there on a fresh host", async () => {
    expect(await read()).toEqual(NOBODY);
    expect(computeForeignSigns(NOBODY)).toEqual([]);
  });

  test("shows by a canary without our mark, and ours does not", async () => {
    await iptables.ensureChain("mangle", "KUBE-PROXY-CANARY");
    const facts = await read();
    expect(facts).toEqual({ ...NOBODY, canaries: ["IPv4"] });
    expect(computeForeignSigns(facts)).toEqual([
      "IPv4 chain KUBE-PROXY-CANARY in mangle is not Longshore's",
    ]);
    await iptables.ensureChain("mangle", OWNER_MARK);
    expect(await read()).toEqual(NOBODY);
  });

  test("shows by its process, and one that ended meanwhile does not matter", async () => {
    for (const [pid, name] of [
      ["7", "kube-apiserver"],
      ["41", "kube-proxy"],
    ] as const) {
      mkdirSync(join(root, "proc", pid), { recursive: true });
      writeFileSync(join(root, "proc", pid, "comm"), `${name}\n`);
    }
    mkdirSync(join(root, "proc", "5"));
    const facts = await read();
    expect(facts.processId).toBe(41);
    expect(computeForeignSigns(facts)).toEqual(["process 41 is kube-proxy"]);
  });

  test("shows by the traces of its other modes", async () => {
    mkdirSync(join(root, "sys/class/net/kube-ipvs0"), { recursive: true });
    const facts = await read(nftSays("table ip filter\ntable ip kube-proxy\n"));
    expect(facts).toEqual({ ...NOBODY, hasNftTable: true, hasIpvsDevice: true });
    expect(computeForeignSigns(facts)).toHaveLength(2);
  });

  test.each([
    ["kube-proxy's answer", {}, true],
    ["our own", { Server: "longshore" }, false],
  ])("is told from us on the health port: %s", async (_what, headers, expected) => {
    const server = createServer((_request, response) => response.writeHead(200, headers).end("{}"));
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const { port } = server.address() as AddressInfo;
    const facts = await read(noNft, port);
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
    expect(facts.isHealthPortTaken).toBe(expected);
    expect((await read(noNft, port)).isHealthPortTaken).toBe(false);
  });

  test("shows by a health port that takes a connection and says nothing, and nobody waits for it", async () => {
    const asked = Promise.withResolvers<void>();
    const server = createServer(() => asked.resolve());
    await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
    const facts = read(noNft, (server.address() as AddressInfo).port);
    await asked.promise;
    await clock.advance(2000);
    expect((await facts).isHealthPortTaken).toBe(true);
    server.closeAllConnections();
    await new Promise((done) => server.close(done));
  });
});
