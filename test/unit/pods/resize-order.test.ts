import { expect, test } from "vitest";
import type { Pod } from "../../../src/api/types.ts";
import {
  compareResizes,
  findAhead,
  type Resize,
  type Waiting,
} from "../../../src/pods/resize/order.ts";
import { makePod } from "./support.ts";

const podOf = (name: string, cpu: string, priority = 0, hasLimit = false): Pod => {
  const amounts = { cpu, memory: "1Mi" };
  const resources = { requests: amounts, ...(hasLimit ? { limits: amounts } : {}) };
  return makePod({ priority, containers: [{ name: "web", resources }] }, { name, uid: name });
};

const resize = (name: string, change: Partial<Resize> = {}): Resize => ({
  desired: podOf(name, "2"),
  allocated: podOf(name, "1"),
  since: 100,
  ...change,
});

test.each<readonly [string, Partial<Resize>, Partial<Resize>]>([
  [
    "what asks for less, whatever the priority",
    { desired: podOf("a", "500m") },
    { desired: podOf("b", "2", 1000) },
  ],
  [
    "the higher priority, whatever the class",
    { desired: podOf("a", "2", 10) },
    { desired: podOf("b", "2", 9, true) },
  ],
  [
    "the better class, however long the other waits",
    { desired: podOf("a", "2", 0, true) },
    { since: 1 },
  ],
  ["who has waited longest", { since: 99 }, { since: 100 }],
  ["who waits, before who comes", { since: 100 }, { since: undefined }],
])("first comes %s", (_what, first, second) => {
  const [a, b] = [resize("a", first), resize("b", second)];
  expect(compareResizes(a, b)).toBeLessThan(0);
  expect(compareResizes(b, a)).toBeGreaterThan(0);
});

test("a resize waits only for one before it that fits now and would not beside it", () => {
  const own = resize("own", { since: undefined });
  const waiting = (cpu: string, since: number | undefined): Waiting => ({
    ...resize("other", { desired: podOf("other", cpu), since }),
    allocation: { containers: { web: { requests: { cpu: "1", memory: "1Mi" } } }, isDone: true },
    active: () => [own.allocated],
  });
  const ahead = (other: Waiting, millis: number): string | undefined =>
    findAhead(own, [other], { cpu: millis, memory: 2 ** 30, pods: 10 })?.metadata.name;
  expect(ahead(waiting("2", 100), 3500)).toBe("other");
  expect(ahead(waiting("2", 100), 4000), "room for both").toBeUndefined();
  expect(ahead(waiting("2", 100), 2500), "no room for it anyway").toBeUndefined();
  expect(ahead(waiting("2", undefined), 3500), "not before it").toBeUndefined();
});
