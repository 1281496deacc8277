/** One suite for both iptables: the fake, and the real programs in a network namespace of their own. */

import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import type { LongshoreError } from "../../src/core/errors.ts";
import { createExec } from "../../src/core/exec.ts";
import type { Family } from "../../src/core/ip.ts";
import {
  createIptables,
  type Iptables,
  type Jump,
  refusedLineOf,
} from "../../src/core/iptables.ts";
import { chainsOf } from "../../src/proxy/render.ts";
import { FakeIptables } from "../fakes/iptables.ts";
import { parseRestore, targetOf } from "../support/iptables-parser.ts";

const NAMESPACE = "proxy-core-c";
const signal = new AbortController().signal;

/** @param program takes the place of `iptables` in the names of the programs */
function realIptables(family: Family, program: string): Iptables {
  const exec = createExec(systemClock);
  return createIptables({
    family,
    exec: (command, inner) =>
      exec(
        {
          ...command,
          file: "ip",
          args: [
            ...["netns", "exec", NAMESPACE],
            command.file.replace(/^ip6?tables/, program),
            ...command.args,
          ],
        },
        inner,
      ),
  });
}

beforeAll(() => void execFileSync("ip", ["netns", "add", NAMESPACE]));
afterAll(() => void execFileSync("ip", ["netns", "del", NAMESPACE]));

const nat = (...lines: string[]) => `*nat\n${lines.join("\n")}\nCOMMIT\n`;
const jump: Jump = {
  table: "nat",
  from: "OUTPUT",
  to: "T-ONE",
  match: ["-p", "tcp"],
  comment: "two words",
};

/** The targets of a chain's rules: the part of the text that both write the same way. */
async function targets(iptables: Iptables, chain: string) {
  const saved = parseRestore(await iptables.save("nat", signal)).get("nat");
  return saved?.rules.filter((rule) => rule.chain === chain).map((rule) => targetOf(rule.words));
}

describe.each([
  { name: "the fake", make: () => new FakeIptables() },
  { name: "iptables, nft", make: () => realIptables("IPv4", "iptables-nft") },
  { name: "iptables, legacy", make: () => realIptables("IPv4", "iptables-legacy") },
  { name: "ip6tables, nft", make: () => realIptables("IPv6", "ip6tables-nft") },
  { name: "ip6tables, legacy", make: () => realIptables("IPv6", "ip6tables-legacy") },
])("$name", ({ make }) => {
  let iptables: Iptables;
  beforeAll(() => {
    iptables = make();
  });

  test("says that it can be used, and which version it is", async () => {
    expect(await iptables.isUsable(signal)).toBe(true);
    expect((await iptables.version(signal)).version).toMatch(/^1\.\d+/);
  });

  test("makes chains and rules, and leaves those alone that a later text does not mention", async () => {
    await iptables.restore(
      nat(":T-ONE - [0:0]", ":T-TWO - [0:0]", "-A T-ONE -j T-TWO", "-A T-TWO -j RETURN"),
      signal,
    );
    await iptables.restore(nat(":T-TWO - [0:0]", "-A T-TWO -j ACCEPT"), signal);
    expect(await targets(iptables, "T-ONE")).toEqual(["T-TWO"]);
    expect(await targets(iptables, "T-TWO")).toEqual(["ACCEPT"]);
  });

  test("puts a jump in front once, keeps its comment, and counts positions from 1", async () => {
    await iptables.ensureJump({ table: "nat", from: "OUTPUT", to: "T-TWO" }, signal);
    await iptables.ensureJump(jump, signal);
    await iptables.ensureJump(jump, signal);
    expect(await targets(iptables, "OUTPUT")).toEqual(["T-ONE", "T-TWO"]);
    expect(await iptables.list("nat", "OUTPUT", signal)).toContain('"two words"');
    await iptables.removeJump(jump, signal);
    await iptables.ensureJump(jump, signal, 2);
    expect(await targets(iptables, "OUTPUT")).toEqual(["T-TWO", "T-ONE"]);
  });

  test("puts a rule in front of those that are there, the last one first", async () => {
    const front = ["-I T-TWO -j RETURN", "-I T-TWO -j T-ONE"];
    await iptables.restore(nat(":T-ONE - [0:0]", ...front), signal);
    expect(await targets(iptables, "T-TWO")).toEqual(["T-ONE", "RETURN", "ACCEPT"]);
    await iptables.restore(nat(":T-TWO - [0:0]", "-A T-TWO -j ACCEPT"), signal);
  });

  test("names the line that it does not take", async () => {
    const lines = [":T-NEW - [0:0]", "-A T-NEW -j RETURN", "-A T-NEW -m no-such-match -j ACCEPT"];
    const error = await iptables.restore(nat(...lines), signal).catch((caught: unknown) => caught);
    expect(refusedLineOf(error as LongshoreError)).toBe("-A T-NEW -m no-such-match -j ACCEPT");
  });

  test.each([
    ["a rule that jumps nowhere", [":T-NEW - [0:0]", "-A T-NEW -j T-NOWHERE"]],
    ["a rule for a chain that is not there", [":T-NEW - [0:0]", "-A T-NOWHERE -j ACCEPT"]],
    ["the deletion of a chain that is jumped to", [":T-NEW - [0:0]", ":T-TWO - [0:0]", "-X T-TWO"]],
  ])("refuses %s and changes nothing", async (_, lines) => {
    await expect(iptables.restore(nat(...lines), signal)).rejects.toMatchObject({
      code: "CommandFailed",
    });
    expect(chainsOf(await iptables.save("nat", signal))).not.toContain("T-NEW");
    expect(await targets(iptables, "T-TWO")).toEqual(["ACCEPT"]);
  });

  test("lists a chain, and says when there is none", async () => {
    await iptables.ensureChain("mangle", "T-CANARY", signal);
    await iptables.ensureChain("mangle", "T-CANARY", signal);
    expect(await iptables.list("mangle", "T-CANARY", signal)).toContain("-N T-CANARY");
    expect(await iptables.list("mangle", "T-NOWHERE", signal)).toBeUndefined();
  });

  test("removes jumps and then their chains, absent ones without complaint", async () => {
    for (const to of ["T-ONE", "T-TWO"]) {
      const plain: Jump = to === jump.to ? jump : { table: "nat", from: "OUTPUT", to };
      await iptables.removeJump(plain, signal);
      await iptables.removeJump(plain, signal);
    }
    await iptables.restore(nat(":T-ONE - [0:0]", ":T-TWO - [0:0]", "-X T-ONE", "-X T-TWO"), signal);
    await iptables.removeJump(jump, signal);
    expect(chainsOf(await iptables.save("nat", signal)).join()).not.toContain("T-");
  });
});
