/** Negotiation, channel codecs and the words for a command's end. */

import { describe, expect, test } from "vitest";
import {
  decodeMessage,
  encodeMessage,
  parseResize,
} from "../../../src/server/streaming/channels.ts";
import { COMMAND_PROTOCOLS, negotiate } from "../../../src/server/streaming/negotiate.ts";
import { formatOutcome } from "../../../src/server/streaming/status.ts";

describe("negotiate", () => {
  test.each([
    ["v5.channel.k8s.io", "v5.channel.k8s.io"],
    ["x, v4.channel.k8s.io, v5.channel.k8s.io", "v4.channel.k8s.io"],
    ["base64.channel.k8s.io", "base64.channel.k8s.io"],
  ])("takes the first known of `%s`", (offered, name) => {
    const headers = { upgrade: "WebSocket", "sec-websocket-protocol": offered };
    expect(negotiate(headers, COMMAND_PROTOCOLS)).toMatchObject({
      kind: "websocket",
      protocol: { name },
    });
  });

  test.each([
    [{}, { kind: "no-upgrade" }],
    [{ upgrade: "h2c" }, { kind: "no-upgrade" }],
    [{ upgrade: "websocket", "sec-websocket-protocol": "chat" }, { kind: "no-common-protocol" }],
    [{ upgrade: "websocket" }, { kind: "websocket", protocol: { name: undefined } }],
    [{ upgrade: "SPDY/3.1" }, { kind: "no-protocol" }],
    [
      { upgrade: "SPDY/3.1", "x-stream-protocol-version": "v5.channel.k8s.io, v4.channel.k8s.io" },
      { kind: "spdy", protocol: "v4.channel.k8s.io" },
    ],
    [
      { upgrade: "SPDY/3.1", "x-stream-protocol-version": "v5.channel.k8s.io" },
      { kind: "no-common-protocol", known: expect.arrayContaining(["v4.channel.k8s.io"]) },
    ],
  ])("%j", (headers, expected) => {
    expect(negotiate(headers, COMMAND_PROTOCOLS)).toMatchObject(expected);
  });
});

describe("channels", () => {
  const base = { name: "", statusForm: "text" } as const;
  const v1 = { ...base, encoding: "binary", hasClose: false } as const;
  const v5 = { ...v1, hasClose: true } as const;
  const base64 = { ...base, encoding: "base64", hasClose: false } as const;

  test("are encoded as a byte or a digit", () => {
    expect(encodeMessage(v1, 1, Buffer.from("a"))).toEqual(Buffer.from("\x01a"));
    expect(encodeMessage(base64, 3, Buffer.from("a"))).toBe("3YQ==");
  });

  test.each([
    ["data", v1, "\0ab", { kind: "data", channel: 0, data: Buffer.from("ab") }],
    ["base64 data", base64, "0YWI=", { kind: "data", channel: 0, data: Buffer.from("ab") }],
    ["nothing at all", v1, "", { kind: "ignored" }],
    ["no data", v1, "\0", { kind: "ignored" }],
    ["an unknown channel", v1, "\x05a", { kind: "ignored" }],
    ["an unknown channel in base64", base64, "9YQ==", { kind: "ignored" }],
    ["a close", v5, "\xff\0", { kind: "close", channel: 0 }],
    ["a close before v5", v1, "\xff\0", { kind: "ignored" }],
    ["a close without a channel", v5, "\xff", { kind: "malformed" }],
    ["a close of two channels", v5, "\xff\0\x01", { kind: "malformed" }],
    ["a channel that is no digit", base64, "aYQ==", { kind: "malformed" }],
    ["broken base64", base64, "0Y", { kind: "malformed" }],
  ])("are decoded: %s", (_sentence, protocol, text, expected) => {
    expect(decodeMessage(protocol, Buffer.from(text, "latin1"))).toMatchObject(expected);
  });

  test.each([
    ['{"Width":80,"Height":24}', { columns: 80, rows: 24 }],
    ['{"Width":0,"Height":24}', undefined],
    ['{"Width":70000,"Height":24}', undefined],
    ["null", undefined],
    ["{", undefined],
  ])("resize %s", (text, expected) => {
    expect(parseResize(text)).toEqual(expected);
  });
});

describe("formatOutcome", () => {
  test.each([
    [0, "text", undefined],
    [3, "text", "command terminated with non-zero exit code: exit status 3"],
    [0, "json", '{"metadata":{},"status":"Success"}'],
  ] as const)("exit code %i as %s", (exitCode, form, expected) => {
    expect(formatOutcome({ kind: "exited", exitCode }, form)).toBe(expected);
  });

  test("an exit code is the cause of a NonZeroExitCode", () => {
    expect(JSON.parse(formatOutcome({ kind: "exited", exitCode: 137 }, "json") ?? "")).toEqual({
      metadata: {},
      status: "Failure",
      reason: "NonZeroExitCode",
      message: "command terminated with non-zero exit code: exit status 137",
      details: { causes: [{ reason: "ExitCode", message: "137" }] },
    });
  });
});
