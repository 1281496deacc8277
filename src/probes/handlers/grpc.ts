/**
 * grpc probes: Check of grpc.health.v1.Health, without TLS, over a connection of its own that ends with the probe. As in
 * the kubelet, a connection that cannot be made is tried for until the time is up, and each failure is a failed probe.
 * Why not a library: ADR 0012. Called by run-probe.ts.
 */

import { STATUS_CODES } from "node:http";
import type { ClientHttp2Session, IncomingHttpHeaders, IncomingHttpStatusHeader } from "node:http2";
import { sleep, withDeadline } from "../../core/abort.ts";
import type { Clock } from "../../core/clock.ts";
import { hasCode, messageOf } from "../../core/errors.ts";
import type { ProbeOutcome } from "../verdict.ts";
import { durationWords, joinHostPort } from "./go-words.ts";
import { encodeRequest, parseResponse } from "./grpc-health.ts";

export interface GrpcProbe {
  readonly host: string;
  readonly port: number;
  readonly service: string;
  readonly clock: Clock;
  readonly timeoutMs: number;
}

/** As Go's gRPC writes them, by number. */
const CODES = [
  ...["OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound"],
  ...["AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted"],
  ...["OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"],
];
/** What an HTTP status means where there is no gRPC status. */
const CODE_OF_HTTP: Readonly<Record<number, string>> = {
  ...{ 400: "Internal", 401: "Unauthenticated", 403: "PermissionDenied", 404: "Unimplemented" },
  ...{ 429: "Unavailable", 502: "Unavailable", 503: "Unavailable", 504: "Unavailable" },
};
const RECONNECT_MS = 1_000;
const MAX_RESPONSE_BYTES = 10 * 1024;
/** The header has eight digits. */
const MAX_GRPC_TIMEOUT = 99_999_999;

export async function probeGrpc(probe: GrpcProbe, signal: AbortSignal): Promise<ProbeOutcome> {
  const { host, port, clock, timeoutMs } = probe;
  const address = joinHostPort(host, port);
  const time = durationWords(timeoutMs);
  let late = `timeout: failed to connect service "${address}" within ${time}: context deadline exceeded`;
  const deadline = { clock, ms: timeoutMs, signal, code: "CommandTimeout", message: "" } as const;
  try {
    return await withDeadline(deadline, async (inner) => {
      const session = await connected(address, clock, inner);
      late = `timeout: health rpc did not complete within ${time}`;
      try {
        return outcomeOf(await check(session, probe), late);
      } finally {
        session.destroy();
      }
    });
  } catch (error) {
    if (hasCode(error, "Aborted")) throw error;
    if (hasCode(error, "CommandTimeout")) return { kind: "failure", message: late };
    // The session closed before it could be asked.
    return { kind: "failure", message: rpcFailed("Unavailable", messageOf(error)) };
  }
}

/** Ready is who has sent its settings; what fails before that is tried again until the signal fires. */
async function connected(
  address: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<ClientHttp2Session> {
  // 7 ms and 7 MB that nodes without such a probe need not spend.
  const { connect } = await import("node:http2");
  signal.throwIfAborted();
  for (;;) {
    const session = connect(`http://${address}`);
    if (await isReady(session, signal)) return session;
    await sleep(clock, RECONNECT_MS, signal);
  }
}

/** The session ends with the signal. */
function isReady(session: ClientHttp2Session, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const onAbort = (): void => session.destroy();
    signal.addEventListener("abort", onAbort, { once: true });
    session.once("remoteSettings", () => resolve(true));
    // Also after the settings came: then the check sees its stream end.
    session.on("error", () => resolve(false));
    session.once("close", () => {
      signal.removeEventListener("abort", onAbort);
      resolve(false);
    });
  });
}

interface Answer {
  /** With the trailers; empty when none came. */
  readonly headers: IncomingHttpHeaders & IncomingHttpStatusHeader;
  readonly body: Buffer;
  /** Why the stream broke off; empty when it did not. */
  readonly problem: string;
}

function check(session: ClientHttp2Session, { service, timeoutMs }: GrpcProbe): Promise<Answer> {
  return new Promise((resolve) => {
    const stream = session.request({
      ":method": "POST",
      ":path": "/grpc.health.v1.Health/Check",
      "content-type": "application/grpc",
      te: "trailers",
      "user-agent": "kube-probe/1.36",
      "grpc-timeout": `${Math.min(timeoutMs, MAX_GRPC_TIMEOUT)}m`,
    });
    const headers: Answer["headers"] = {};
    const chunks: Buffer[] = [];
    let bytes = 0;
    let problem = "";
    stream.on("response", (received) => Object.assign(headers, received));
    stream.on("trailers", (received) => Object.assign(headers, received));
    stream.on("data", (chunk: Buffer) => {
      chunks.push(chunk);
      bytes += chunk.length;
      if (bytes > MAX_RESPONSE_BYTES) stream.destroy(new Error("response larger than 10 KiB"));
    });
    stream.on("error", (error) => {
      problem = messageOf(error);
    });
    stream.on("close", () => resolve({ headers, body: Buffer.concat(chunks), problem }));
    stream.end(encodeRequest(service));
  });
}

/** `late`: the words for a server that says that its time was up. */
function outcomeOf(answer: Answer, late: string): ProbeOutcome {
  const { code, details } = statusOf(answer);
  if (code === "OK") {
    try {
      const status = parseResponse(answer.body);
      return status === "SERVING"
        ? { kind: "success", message: "service healthy" }
        : { kind: "failure", message: `service unhealthy (responded with "${status}")` };
    } catch (error) {
      return { kind: "failure", message: rpcFailed("Internal", messageOf(error)) };
    }
  }
  if (code === "DeadlineExceeded") return { kind: "failure", message: late };
  if (code !== "Unimplemented") return { kind: "failure", message: rpcFailed(code, details) };
  const words = "this server does not implement the grpc health protocol (grpc.health.v1.Health)";
  return { kind: "failure", message: `error: ${words}: ${details}` };
}

function rpcFailed(code: string, details: string): string {
  return `error: health rpc probe failed: rpc error: code = ${code} desc = ${details}`;
}

function statusOf({ headers, problem }: Answer): {
  readonly code: string;
  readonly details: string;
} {
  const { "grpc-status": number, "grpc-message": text, ":status": http } = headers;
  if (number !== undefined)
    return { code: CODES[Number(number)] ?? `Code(${number})`, details: decode(`${text ?? ""}`) };
  if (http === undefined || problem !== "")
    return { code: "Unavailable", details: problem || "error reading from server: EOF" };
  if (http === 200)
    return { code: "Internal", details: "server closed the stream without sending trailers" };
  const name = `${http} (${STATUS_CODES[http] ?? ""})`;
  const details = `unexpected HTTP status code received from server: ${name}`;
  return { code: CODE_OF_HTTP[http] ?? "Unknown", details };
}

/** Percent-encoding, of which nothing is an error. */
function decode(text: string): string {
  return text.replace(/(%[0-9a-f]{2})+/gi, (run) =>
    Buffer.from(run.replaceAll("%", ""), "hex").toString("utf8"),
  );
}
