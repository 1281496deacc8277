/** What lines look like, and what is not in them. */

import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import { LongshoreError } from "../../../src/core/errors.ts";
import { createLogger } from "../../../src/core/logger.ts";

function setUp(pretty: boolean, level: "debug" | "info" | "silent" = "info") {
  const lines: string[] = [];
  const log = createLogger({ level, pretty, write: (line) => lines.push(line) });
  return { log, lines };
}

test("a record is one line of JSON with the fields of its child", () => {
  const { log, lines } = setUp(false);
  log.child({ pod: "default/web" }).warn({ restarts: 3 }, "container died");
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatch(/\n$/);
  expect(JSON.parse(lines[0] ?? "")).toMatchObject({
    level: 40,
    pod: "default/web",
    restarts: 3,
    msg: "container died",
  });
});

test("an error has its code, its class and its causes, and no stack when it is ours", () => {
  const { log, lines } = setUp(false);
  const cause = new LongshoreError("EngineTimeout", "no answer");
  log.error({ err: new LongshoreError("VolumeNotReady", "waiting", { cause }) }, "mount");
  const { err } = JSON.parse(lines[0] ?? "");
  expect(err).toMatchObject({ code: "VolumeNotReady", class: "transient", message: "waiting" });
  expect(err.cause).toMatchObject({ code: "EngineTimeout", message: "no answer" });
  expect(err.stack).toBeUndefined();
});

test("properties that somebody hung on an error do not get out", () => {
  const { log, lines } = setUp(false);
  const foreign = Object.assign(new Error("request failed"), {
    config: { headers: { authorization: "Bearer hunter2" } },
  });
  log.error({ err: foreign }, "call");
  log.error({ err: new LongshoreError("ApiInvalid", "no", { cause: foreign }) }, "call");
  expect(lines.join("")).toContain("request failed");
  expect(lines.join("")).not.toContain("hunter2");
});

test("on a terminal a record is one readable line", () => {
  const { log, lines } = setUp(true);
  log.info({ pod: "default/web", ports: [80], err: new Error("no") }, "started");
  expect(lines).toHaveLength(1);
  expect(stripVTControlCharacters(lines[0] ?? "")).toMatch(
    /^\d\d:\d\d:\d\d\.\d{3} info {2}started pod=default\/web ports=\[80\] no\n$/,
  );
});

test("records below the level are not written", () => {
  const { log, lines } = setUp(false);
  log.debug({}, "detail");
  setUp(false, "silent").log.error({}, "nothing");
  expect(lines).toEqual([]);
});
