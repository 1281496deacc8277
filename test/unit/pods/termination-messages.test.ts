import { describe, expect, test } from "vitest";
import { LongshoreError } from "../../../src/core/errors.ts";
import { createRecord } from "../../../src/pods/record.ts";
import { readTerminationMessages } from "../../../src/pods/termination-messages.ts";
import type { LogRecord } from "../../../src/runtime/runtime.ts";
import { makeContainer, makePod, NOW } from "./support.ts";

const POD = makePod({
  containers: [{ name: "web", terminationMessagePolicy: "FallbackToLogsOnError" }],
});

async function messageOf(sources: {
  readonly file?: () => string;
  readonly log?: () => string;
}): Promise<string | undefined> {
  const { file = () => "", log = () => "" } = sources;
  async function* logs(): AsyncIterable<LogRecord> {
    yield { stream: "stdout", time: "", data: Buffer.from(log()) };
  }
  const record = createRecord(POD, NOW, {});
  const dead = makeContainer({ state: "exited", exitCode: 1 });
  record.observed = { sandboxes: [], containers: [dead] };
  const ports = { files: { readMessage: async () => file() }, runtime: { logs } };
  await readTerminationMessages(ports, record, new AbortController().signal);
  return record.messages.get(dead.id);
}

function fail(error: Error): () => never {
  return () => {
    throw error;
  };
}

describe("the termination message", () => {
  test("is what the container left in its file", async () => {
    expect(await messageOf({ file: () => "bye", log: () => "log" })).toBe("bye");
  });

  test("is the end of the log when the file is empty", async () => {
    expect(await messageOf({ log: () => "log" })).toBe("log");
  });

  test("of a log that cannot be read says so, and holds up nothing", async () => {
    const log = fail(new LongshoreError("EngineServerError", "no such log"));
    expect(await messageOf({ log })).toBe(
      "Error on reading termination message from logs: no such log",
    );
  });

  test("of a file that cannot be read says so", async () => {
    expect(await messageOf({ file: fail(new Error("EISDIR: is a directory")) })).toBe(
      "Error on reading termination log: EISDIR: is a directory",
    );
  });

  test("waits for an Engine that is away", async () => {
    const log = fail(new LongshoreError("EngineUnreachable", "away"));
    await expect(messageOf({ log })).rejects.toThrow("away");
  });
});
