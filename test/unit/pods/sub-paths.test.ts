/** subPath and subPathExpr: what they expand to, and the kubelet's words where they are refused. */

import { expect, test } from "vitest";
import { resolveSubPath } from "../../../src/pods/sub-paths.ts";

const VARIABLES = new Map([
  ["NAME", "web-0"],
  ["ROOT", "/tmp"],
  ["UP", ".."],
  ["EMPTY", ""],
  ["TICKS", "`id`"],
]);

test.each([
  ["nothing is the whole volume", {}, ""],
  ["a subPath is taken as it is", { subPath: "a/$(NAME)" }, "a/$(NAME)"],
  ["an expression is expanded", { subPathExpr: "logs/$(NAME)/x" }, "logs/web-0/x"],
  ["two dollars are one", { subPathExpr: "$$(NAME)" }, "$(NAME)"],
  ["backticks are but characters", { subPathExpr: "$(TICKS)" }, "`id`"],
  ["two dots within a name are no step back", { subPath: "a..b/..c" }, "a..b/..c"],
])("%s", (_sentence, mount, expected) => {
  expect(resolveSubPath(mount, VARIABLES)).toBe(expected);
});

test.each([
  ["$(ROOT)", "error SubPath `/tmp` must not be an absolute path"],
  ["$(UP)", "unable to provision SubPath `..`: must not contain '..'"],
  ["a/$(UP)/b", "unable to provision SubPath `a/../b`: must not contain '..'"],
  ["$(Z)/$(EMPTY)/$(A)", "missing value for A, EMPTY, Z"],
])("%s is refused", (subPathExpr, message) => {
  expect(() => resolveSubPath({ subPathExpr }, VARIABLES)).toThrow(
    expect.objectContaining({ code: "ContainerConfigInvalid", message }),
  );
});
