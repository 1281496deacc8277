/** Log requests: the query, the choice of the container, the filters. */

import { describe, expect, test } from "vitest";
import type { ContainerStatus, Pod } from "../../../src/api/types.ts";
import type { PodView } from "../../../src/pods/directory.ts";
import type { LogRecord } from "../../../src/runtime/runtime.ts";
import { chooseExecContainer, chooseLogContainer } from "../../../src/server/container-choice.ts";
import { parseLogQuery } from "../../../src/server/log-query.ts";
import { filterLog } from "../../../src/server/log-stream.ts";

const NOW = Date.UTC(2026, 0, 1, 0, 1);

describe("parseLogQuery", () => {
  const none = {
    follow: false,
    previous: false,
    timestamps: false,
    tailLines: undefined,
    limitBytes: undefined,
    since: undefined,
  };

  test.each([
    ["", {}],
    ["follow=true&previous=1&timestamps", { follow: true, previous: true, timestamps: true }],
    ["follow=false&previous=0&timestamps=False", {}],
    ["tailLines=0&limitBytes=1", { tailLines: 0, limitBytes: 1 }],
    ["tail=5", { tailLines: 5 }],
    ["tail=all&tailLines=5", {}],
    ["sinceSeconds=30", { since: "2026-01-01T00:00:30.000000000Z" }],
    [
      "sinceTime=2026-01-01T01:00:00.1234567891%2B01:00",
      { since: "2026-01-01T00:00:00.123456789Z" },
    ],
    ["stream=All&tailLines=1", { tailLines: 1 }],
  ])("understands `%s`", (text, expected) => {
    const result = parseLogQuery(new URLSearchParams(text), NOW);
    expect(result).toEqual({ kind: "valid", query: { ...none, ...expected } });
  });

  test.each([
    ["tailLines=x", 400],
    ["sinceTime=yesterday", 400],
    ["sinceTime=2026-99-01T00:00:00Z", 400],
    ["tailLines=-1", 422],
    ["limitBytes=0", 422],
    ["sinceSeconds=0", 422],
    ["sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z", 422],
    ["stream=Other", 422],
    ["stream=Stdout&tailLines=1", 422],
    ["stream=Stdout", 400],
  ])("refuses `%s` with %i", (text, status) => {
    const result = parseLogQuery(new URLSearchParams(text), NOW);
    expect(result).toMatchObject({ kind: "refused", reply: { status } });
  });
});

function viewWith(status: object | undefined): PodView {
  const base = { name: "c", image: "", imageID: "", ready: false, restartCount: 0 };
  return {
    pod: {
      metadata: { name: "p", namespace: "ns", uid: "u", resourceVersion: "1" },
      spec: { containers: [{ name: "c" }] },
    } as Pod,
    status:
      status === undefined
        ? {}
        : { containerStatuses: [{ ...base, ...status } as ContainerStatus] },
    containers: [],
  };
}

describe("the container of a request", () => {
  const last = { lastState: { terminated: { exitCode: 1, containerID: "docker://old" } } };
  const waiting = (reason: string): object => ({ state: { waiting: { reason } } });
  const running = { state: { running: {} }, containerID: "docker://new" };

  test.each([
    ["the running one", running, false, "new"],
    ["the one before, when asked for", { ...running, ...last }, true, "old"],
    [
      "the ended one",
      { state: { terminated: { exitCode: 0, containerID: "docker://end" } } },
      false,
      "end",
    ],
    ["the last run of one that crashes", { ...waiting("CrashLoopBackOff"), ...last }, false, "old"],
  ])("is %s", (_sentence, status, previous, containerId) => {
    const choice = chooseLogContainer(viewWith(status), { pod: "p", container: "c", previous });
    expect(choice).toEqual({ kind: "found", containerId });
  });

  test.each([
    [undefined, false, 'container "c" in pod "p" is not available'],
    [running, true, 'previous terminated container "c" in pod "p" not found'],
    [{ state: { terminated: { exitCode: 1 } } }, false, 'container "c" in pod "p" is terminated'],
    [
      waiting("ErrImagePull"),
      false,
      'container "c" in pod "p" is waiting to start: image can\'t be pulled',
    ],
    [
      waiting("ImagePullBackOff"),
      false,
      'container "c" in pod "p" is waiting to start: trying and failing to pull image',
    ],
    [
      waiting("PodInitializing"),
      false,
      'container "c" in pod "p" is waiting to start: PodInitializing',
    ],
  ])("is missing: %j, previous %s", (status, previous, text) => {
    const choice = chooseLogContainer(viewWith(status), { pod: "p", container: "c", previous });
    expect(choice).toEqual({ kind: "refused", reply: { status: 400, text } });
  });

  test.each([
    [{}, "u", 500, 'container not found ("c")'],
    [running, "other", 404, "pod not found"],
  ])("of an exec must run in the right pod", (status, uid, code, text) => {
    const choice = chooseExecContainer(viewWith(status), {
      ...{ namespace: "ns", pod: "p", uid, container: "c" },
    });
    expect(choice).toEqual({ kind: "refused", reply: { status: code, text } });
  });
});

describe("filterLog", () => {
  const record = (time: string, data: string): LogRecord => ({
    stream: "stdout",
    time: `2026-01-01T00:00:${time}`,
    data: Buffer.from(data),
  });
  const none = { since: undefined, timestamps: false, limitBytes: undefined };
  const since = "2026-01-01T00:00:02.000000001Z";

  test.each([
    ["passes bytes on", none, "a\nbig line\nc\n"],
    ["drops what is earlier by a nanosecond", { ...none, since }, "big line\nc\n"],
    ["cuts in the middle of a line", { ...none, limitBytes: 4 }, "a\nbi"],
    ["ends exactly at the limit", { ...none, limitBytes: 2 }, "a\n"],
    [
      "stamps the starts of lines only, with nine digits",
      { ...none, since, timestamps: true },
      "2026-01-01T00:00:02.000000001Z big line\n2026-01-01T00:00:04.500000000Z c\n",
    ],
    [
      "counts the stamps in the limit",
      { ...none, timestamps: true, limitBytes: 33 },
      "2026-01-01T00:00:02.000000000Z a\n",
    ],
  ])("%s", async (_sentence, filters, expected) => {
    async function* records(): AsyncGenerator<LogRecord> {
      yield record("02Z", "a\n");
      yield record("02.000000001Z", "big ");
      yield record("03Z", "line\n");
      yield record("04.5Z", "c\n");
    }
    const chunks: Buffer[] = [];
    for await (const chunk of filterLog(records(), filters)) chunks.push(chunk);
    expect(Buffer.concat(chunks).toString()).toBe(expected);
  });
});
