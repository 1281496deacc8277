import { describe, expect, it } from "vitest";
import {
  type Accounts,
  needsAccounts,
  resolveGroups,
} from "../../../../src/runtime/docker/accounts.ts";
import type { ContainerConfig } from "../../../../src/runtime/runtime.ts";
import { containerOf } from "../../../builders/runtime.ts";

const pod = { namespace: "n", name: "p", uid: "u" };
const ACCOUNTS: Accounts = {
  user: "web",
  passwd: "root:x:0:0::/:/bin/sh\nweb:x:100:200::/:\n100:x:0:0::/:\nbroken\n",
  group: "a:x:10:root,web\nb:x:20:web\nc:x:30:\nd:x:40:100\nbroken\ne:x:five:web\n",
};

function config(user: string | undefined, hasStrictGroups: boolean): ContainerConfig {
  const groups = { supplementalGroups: ["7", "10"], hasStrictGroups };
  return containerOf(pod, "s", { ...groups, ...(user === undefined ? {} : { user }) });
}

describe("the groups of a container's user", () => {
  it.each<readonly [string | undefined, boolean, boolean]>([
    [undefined, false, false],
    ["100", false, false],
    ["100:5", false, true],
    ["100:5", true, false],
    ["100", true, true],
    [undefined, true, true],
  ])("of user %j, strict %j, depend on the image: %j", (user, isStrict, expected) => {
    expect(needsAccounts(config(user, isStrict))).toBe(expected);
  });

  it.each<readonly [string | undefined, string, string]>([
    ["100:5", "100:5", "7 10 20"],
    ["web:5", "web:5", "7 10 20"],
    ["0:5", "0:5", "7 10"],
    ["999:5", "999:5", "7 10"],
  ])("of user %j merge into %s with %s", (user, expected, groups) => {
    const resolved = resolveGroups(config(user, false), ACCOUNTS);
    expect(resolved).toEqual({ user: expected, supplementalGroups: groups.split(" ") });
  });

  it.each<readonly [string | undefined, string, string]>([
    ["100", "web", "100:200"],
    ["999", "web", "999:0"],
    ["0", "web", "0:0"],
    [undefined, "web", "web:200"],
    [undefined, "web:5", "web:5"],
    [undefined, "", "0:0"],
  ])("of user %j of an image with %j are strictly %s", (user, own, expected) => {
    const resolved = resolveGroups(config(user, true), { ...ACCOUNTS, user: own });
    expect(resolved).toEqual({ user: expected, supplementalGroups: ["7", "10"] });
  });

  it("of an image that says nothing are only what the spec says", () => {
    const nothing = { user: "", passwd: "", group: "" };
    expect(resolveGroups(config("5:6", false), nothing).supplementalGroups).toEqual(["7", "10"]);
    expect(resolveGroups(config("5", true), nothing).user).toBe("5:0");
  });
});
