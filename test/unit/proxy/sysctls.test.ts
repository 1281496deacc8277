import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  applySysctls,
  type ConntrackSettings,
  computeSysctls,
  isTcpLiberal,
} from "../../../src/proxy/sysctls.ts";
import { recordingLog } from "../../support/netns.ts";

const DEFAULTS: ConntrackSettings = {
  maxPerCore: 32_768,
  min: 131_072,
  tcpBeLiberal: false,
  tcpEstablishedTimeoutMs: 86_400_000,
  tcpCloseWaitTimeoutMs: 3_600_000,
  udpTimeoutMs: 0,
  udpStreamTimeoutMs: 0,
};

/** The last word of the path → value. */
function compute(conntrack: Partial<ConntrackSettings>, cores = 2, localhostNodePorts = false) {
  const input = { conntrack: { ...DEFAULTS, ...conntrack }, cores, localhostNodePorts };
  return Object.fromEntries(
    computeSysctls(input).map(({ path, value }) => [path.split("/").at(-1), value]),
  );
}

const TIMEOUTS = {
  nf_conntrack_tcp_timeout_established: 86_400,
  nf_conntrack_tcp_timeout_close_wait: 3600,
};
const max = (value: number) => ({ nf_conntrack_max: value, hashsize: value / 4, ...TIMEOUTS });

describe("the kernel settings", () => {
  test.each([
    ["two cores stay at the minimum", {}, 2, max(131_072)],
    ["eight cores are more than the minimum", {}, 8, max(262_144)],
    ["many cores end at a million", {}, 64, max(1_048_576)],
    [
      "a minimum above a million counts while the cores do not pass it",
      { min: 2_000_000 },
      60,
      max(2_000_000),
    ],
    ["and does not once they do", { min: 2_000_000 }, 64, max(1_048_576)],
    ["none per core leaves the limit alone", { maxPerCore: 0 }, 8, TIMEOUTS],
    [
      "no time-outs leaves them alone",
      { maxPerCore: 0, tcpEstablishedTimeoutMs: 0, tcpCloseWaitTimeoutMs: 0 },
      8,
      {},
    ],
    [
      "UDP time-outs are set where configured",
      { maxPerCore: 0, udpTimeoutMs: 10_000, udpStreamTimeoutMs: 1500 },
      8,
      { ...TIMEOUTS, nf_conntrack_udp_timeout: 10, nf_conntrack_udp_timeout_stream: 2 },
    ],
    [
      "liberal only if configured",
      { maxPerCore: 0, tcpBeLiberal: true },
      8,
      { nf_conntrack_tcp_be_liberal: 1, ...TIMEOUTS },
    ],
  ])("%s", (_sentence, conntrack, cores, expected) => {
    expect(compute(conntrack, cores)).toEqual(expected);
  });

  test("localhost NodePorts need route_localnet", () => {
    expect(compute({ maxPerCore: 0 }, 1, true)).toEqual({ route_localnet: 1, ...TIMEOUTS });
  });
});

describe("writing them", () => {
  let root: string;
  const consequence = "something is worse";
  const file = (path: string, text?: string): string => {
    const full = join(root, path);
    mkdirSync(dirname(full), { recursive: true });
    if (text !== undefined) writeFileSync(full, text);
    return full;
  };

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "longshore-sysctls-"));
  });
  afterEach(() => rmSync(root, { recursive: true }));

  test("changes what differs, and leaves a larger value where a minimum is wanted", async () => {
    const same = file("same", "5\n");
    const other = file("other", "4\n");
    const large = file("large", "9\n");
    const { log, messages } = recordingLog();
    const sysctls = [
      { path: "same", value: 5, consequence },
      { path: "other", value: 5, consequence },
      { path: "large", value: 5, isMinimum: true, consequence },
    ];
    await applySysctls(sysctls, { root, log });
    expect([same, other, large].map((path) => readFileSync(path, "utf8"))).toEqual([
      "5\n",
      "5",
      "9\n",
    ]);
    expect(messages).toEqual([]);
  });

  test("warns of each that cannot be written and goes on with the next", async () => {
    const last = file("last", "1\n");
    mkdirSync(join(root, "dir"));
    const { log, messages } = recordingLog();
    const sysctls = ["absent", "dir", "last"].map((path) => ({ path, value: 2, consequence }));
    await applySysctls(sysctls, { root, log });
    expect(readFileSync(last, "utf8")).toBe("2");
    expect(messages.map((message) => message.slice(0, 22))).toEqual([
      "kernel setting: ENOENT",
      "kernel setting: EISDIR",
    ]);
  });

  test("leaves alone what needs one that cannot be written", async () => {
    const hashsize = file("hashsize", "1\n");
    const { log, messages } = recordingLog();
    const sysctls = [
      { path: "absent", value: 2, consequence },
      { path: "hashsize", value: 2, needs: "absent", consequence },
    ];
    await applySysctls(sysctls, { root, log });
    expect(readFileSync(hashsize, "utf8")).toBe("1\n");
    expect(messages).toHaveLength(1);
  });

  test.each([
    ["0\n", false],
    ["1\n", true],
    [undefined, false],
  ])("tcp_be_liberal %j is %s", async (text, expected) => {
    file("proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal", text);
    expect(await isTcpLiberal(root)).toBe(expected);
  });
});
