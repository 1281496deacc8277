/** The messages of a health check, checked against protobuf's own encoding written out by hand. */

import { describe, expect, it } from "vitest";
import { encodeRequest, parseResponse } from "../../../src/probes/handlers/grpc-health.ts";

const framed = (hex: string): Buffer => {
  const message = Buffer.from(hex.replaceAll(" ", ""), "hex");
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
};

describe("a request", () => {
  it.each([
    ["no service", "", ""],
    ["a service", "liveness", `0a 08 ${Buffer.from("liveness").toString("hex")}`],
    ["the longest service of one length byte", "x".repeat(127), `0a 7f ${"78".repeat(127)}`],
    ["the shortest service of two", "x".repeat(128), `0a 80 01 ${"78".repeat(128)}`],
    ["a service outside ASCII", "é", "0a 02 c3 a9"],
  ])("for %s", (_title, service, hex) => {
    expect(encodeRequest(service)).toEqual(framed(hex));
  });
});

describe("a response", () => {
  it.each([
    ["is UNKNOWN when empty", "", "UNKNOWN"],
    ["may be SERVING", "08 01", "SERVING"],
    ["may be NOT_SERVING", "08 02", "NOT_SERVING"],
    ["may be SERVICE_UNKNOWN", "08 03", "SERVICE_UNKNOWN"],
    ["may have a status without a name", "08 04", "4"],
    ["may have a negative status", "08 ff ff ff ff ff ff ff ff ff 01", "-1"],
    ["says its status last", "08 01 08 02", "NOT_SERVING"],
    [
      "may have more fields",
      "10 05 1a 02 08 01 21 08 01 08 01 08 01 08 01 2d 08 01 08 01 08 02",
      "NOT_SERVING",
    ],
  ])("%s", (_title, hex, status) => {
    expect(parseResponse(framed(hex))).toBe(status);
  });

  it.each([
    ["nothing", Buffer.alloc(0)],
    ["half a frame's head", Buffer.from([0, 0, 0])],
    ["a frame longer than the data", Buffer.from([0, 0, 0, 0, 3, 8, 1])],
    ["a frame shorter than the data", Buffer.from([0, 0, 0, 0, 1, 8, 1])],
    ["a compressed frame", Buffer.from([1, 0, 0, 0, 2, 8, 1])],
    ["a field without its value", framed("08")],
    ["a text longer than the message", framed("12 05 61")],
    ["a number without an end", framed("08 ff ff ff ff ff ff ff ff ff ff ff 01")],
    ["a wire type that there is not", framed("0b 01")],
  ])("is not %s", (_title, frame) => {
    expect(() => parseResponse(frame)).toThrow("cannot parse the health check's response");
  });
});
