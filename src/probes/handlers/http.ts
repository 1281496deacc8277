/**
 * httpGet probes: status 200 to 399 is success. Certificates are not verified and connections not kept, as in the
 * kubelet; redirects to the same host are followed, one to another host ends the probe with a warning. At most
 * 10 KiB of the body are read, and a body goes nowhere but into a warning.
 */

import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import { withDeadline } from "../../core/abort.ts";
import type { Clock } from "../../core/clock.ts";
import { hasCode } from "../../core/errors.ts";
import type { ProbeOutcome } from "../verdict.ts";
import { dialWords, joinHostPort } from "./go-words.ts";

export interface HttpTarget {
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly headers: readonly { readonly name: string; readonly value: string }[];
}

export interface HttpProbe {
  readonly target: HttpTarget;
  readonly clock: Clock;
  readonly timeoutMs: number;
}

interface Answer {
  readonly status: number;
  readonly location: string | undefined;
  readonly body: string;
}

const MAX_BODY_BYTES = 10 * 1024;
const MAX_REDIRECTS = 10;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);
const TIMEOUT_WORDS = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";

export async function probeHttp(probe: HttpProbe, signal: AbortSignal): Promise<ProbeOutcome> {
  const { target, clock, timeoutMs } = probe;
  const path = target.path.startsWith("/") ? target.path : `/${target.path}`;
  const address = joinHostPort(target.host, target.port);
  const shown = `${target.scheme}://${address}${path}`;
  const failed = (words: string): ProbeOutcome => ({
    kind: "failure",
    message: `Get "${shown}": ${words}`,
  });
  const deadline = { clock, ms: timeoutMs, signal, code: "CommandTimeout" } as const;
  try {
    return await withDeadline({ ...deadline, message: TIMEOUT_WORDS }, (inner) =>
      follow(new URL(shown), target.headers, inner),
    );
  } catch (error) {
    if (hasCode(error, "Aborted")) throw error;
    return failed(
      hasCode(error, "CommandTimeout", "Unsupported") ? error.message : dialWords(address, error),
    );
  }
}

async function follow(
  start: URL,
  headers: HttpTarget["headers"],
  signal: AbortSignal,
): Promise<ProbeOutcome> {
  let url = start;
  for (let hops = 0; hops < MAX_REDIRECTS; hops++) {
    const answer = await get(url, headers, signal);
    const next =
      REDIRECTS.has(answer.status) && answer.location !== undefined && answer.location !== ""
        ? new URL(answer.location, url)
        : undefined;
    if (next === undefined || next.hostname !== start.hostname) return outcomeOf(answer);
    url = next;
  }
  return { kind: "failure", message: `Get "${url.href}": stopped after 10 redirects` };
}

function outcomeOf({ status, body }: Answer): ProbeOutcome {
  if (status < 200 || status >= 400)
    return { kind: "failure", message: `HTTP probe failed with statuscode: ${status}` };
  if (status >= 300)
    return { kind: "warning", message: `Probe terminated redirects, Response body: ${body}` };
  return { kind: "success", message: body };
}

function headersOf(headers: HttpTarget["headers"]): Record<string, string | string[]> {
  const merged: Record<string, string | string[]> = {};
  for (const { name, value } of headers) {
    const key = name.toLowerCase();
    const before = merged[key];
    merged[key] = before === undefined || key === "host" ? value : [before, value].flat();
  }
  return { "user-agent": "kube-probe/1.36", accept: "*/*", ...merged, connection: "close" };
}

function get(url: URL, headers: HttpTarget["headers"], signal: AbortSignal): Promise<Answer> {
  const isTls = url.protocol === "https:";
  return new Promise((resolve, reject) => {
    const options = { method: "GET", headers: headersOf(headers), signal };
    const request = isTls
      ? httpsRequest(url, {
          ...options,
          rejectUnauthorized: false,
          agent: new HttpsAgent({ keepAlive: false }),
        })
      : httpRequest(url, { ...options, agent: new HttpAgent({ keepAlive: false }) });
    request.on("error", reject);
    request.on("response", (response) => {
      readBody(response).then((body) => {
        request.destroy();
        const { statusCode: status = 0, headers: answered } = response;
        resolve({ status, location: answered.location, body });
      }, reject);
    });
    request.end();
  });
}

async function readBody(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= MAX_BODY_BYTES) break;
  }
  return Buffer.concat(chunks).subarray(0, MAX_BODY_BYTES).toString("utf8");
}
