import { describe, expect, it } from "vitest";
import { splitFrames } from "../../../../src/runtime/docker/frames.ts";
import { formatSince, parseRecord } from "../../../../src/runtime/docker/logs.ts";

function frame(stream: number, text: string): Buffer {
  const header = Buffer.from([stream, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32BE(text.length, 4);
  return Buffer.concat([header, Buffer.from(text)]);
}

describe("splitFrames", () => {
  it("gives whole frames and keeps what has not all come", () => {
    const bytes = Buffer.concat([frame(1, "out"), frame(2, "err"), frame(1, ""), frame(1, "more")]);
    const { frames, rest } = splitFrames(bytes.subarray(0, bytes.length - 1));
    expect(frames.map(({ stream, data }) => [stream, data.toString()])).toEqual([
      ...[
        ["stdout", "out"],
        ["stderr", "err"],
        ["stdout", ""],
      ],
    ]);
    expect(rest).toEqual(frame(1, "more").subarray(0, -1));
  });

  it("waits for a whole header", () => {
    expect(splitFrames(Buffer.from([1, 0, 0])).rest.length).toBe(3);
  });

  it("takes a chunk of many small frames", () => {
    const bytes = Buffer.concat(Array.from({ length: 100_000 }, () => frame(1, "x")));
    expect(splitFrames(bytes).frames.length).toBe(100_000);
  });
});

describe("parseRecord", () => {
  const time = "2026-11-21T09:26:00.123456789Z";

  it.each([
    [`${time} a b\n`, time, "a b\n"],
    [`${time} no end`, time, "no end"],
    [`${time} \n`, time, "\n"],
    [`${time} `, time, ""],
  ])("reads %j", (line, expected, data) => {
    expect(parseRecord(Buffer.from(line), "stderr")).toEqual({
      ...{ stream: "stderr", time: expected, data: Buffer.from(data) },
    });
  });

  it("keeps bytes that are no text", () => {
    const line = Buffer.concat([Buffer.from(`${time} `), Buffer.from([0xff, 0, 10])]);
    expect([...parseRecord(line, "stdout").data]).toEqual([0xff, 0, 10]);
  });
});

it.each([
  [0, "0.000000000"],
  [1_763_718_000_123, "1763718000.123000000"],
  [1_763_718_000_999, "1763718000.999000000"],
  [1500.25, "1.500250000"],
])("%d ms are asked for as %s", (ms, expected) => {
  expect(formatSince(ms)).toBe(expected);
});
