import { describe, expect, it } from "vitest";
import { LongshoreError } from "../../../../src/core/errors.ts";
import { engineError, engineWords, statusOf } from "../../../../src/runtime/docker/errors.ts";

const { signal } = new AbortController();

function raw(fields: object, message = "x"): Error {
  return Object.assign(new Error(message), fields);
}

describe("engineError", () => {
  it.each([
    ["EngineNotFound", { statusCode: 404 }],
    ["EngineConflict", { statusCode: 409 }],
    ["EngineInvalid", { statusCode: 400 }],
    ["EngineServerError", { statusCode: 500 }],
    ["EngineUnreachable", { code: "ENOENT" }],
    ["EngineUnreachable", { code: "ECONNREFUSED" }],
    ["EngineUnreachable", { code: "ECONNRESET" }],
    ["EngineServerError", { code: "HPE_INVALID" }],
  ])("is %s for %j", (code, fields) => {
    const error = engineError("look", "/s", raw(fields), signal);
    expect(error.code).toBe(code);
    expect(error.message).toMatch(/^could not look: /);
    expect(statusOf(error)).toBe("statusCode" in fields ? fields.statusCode : undefined);
  });

  it("is Aborted when the caller gave up, and leaves our own errors alone", () => {
    expect(engineError("look", "/s", raw({}), AbortSignal.abort()).code).toBe("Aborted");
    const own = new LongshoreError("ImagePullFailed", "no");
    expect(engineError("look", "/s", own, signal)).toBe(own);
  });
});

it.each([
  [raw({ json: { message: "no such image" } }), "no such image"],
  [
    raw({}, "(HTTP code 404) no such container - No such container: x-y "),
    "No such container: x-y",
  ],
  ["text", "text"],
])("the Engine's words are kept without the client's", (cause, words) => {
  expect(engineWords(cause)).toBe(words);
});
