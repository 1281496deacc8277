/**
 * One HTTP GET as the kubelet makes it for probes and lifecycle hooks: certificates are not verified, connections not
 * kept, redirects followed on the same host only, at most 10 KiB of the body read. What goes wrong comes back in the
 * words of Go's net/http; only giving up throws. Called by http.ts and hooks.ts.
 */

import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from "node:http";
import { Agent as HttpsAgent, request as httpsRequest } from "node:https";
import type { Container as ContainerSpec, LifecycleHandler } from "../../api/types.ts";
import { dialWords, joinHostPort, NOT_TLS } from "./go-words.ts";
import { resolvePort } from "./port.ts";

export type HttpGetAction = NonNullable<LifecycleHandler["httpGet"]>;

export interface HttpTarget {
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly headers: readonly { readonly name: string; readonly value: string }[];
}

export type HttpAnswer =
  | { readonly kind: "answer"; readonly status: number; readonly body: string }
  | { readonly kind: "failed"; readonly message: string; readonly isNotTls: boolean };

interface Response {
  readonly status: number;
  readonly location: string | undefined;
  readonly body: string;
}

const MAX_BODY_BYTES = 10 * 1024;
const MAX_REDIRECTS = 10;
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** Throws Unsupported when the port has no number. */
export function httpTargetOf(
  action: HttpGetAction,
  spec: ContainerSpec,
  podIp: string,
): HttpTarget {
  const { host = "", path = "", scheme = "HTTP", httpHeaders = [], port } = action;
  return {
    scheme: scheme === "HTTPS" ? "https" : "http",
    host: host === "" ? podIp : host,
    port: resolvePort(port, spec),
    path,
    headers: httpHeaders,
  };
}

export function urlOf({ scheme, host, port, path }: HttpTarget): string {
  return `${scheme}://${joinHostPort(host, port)}${path.startsWith("/") ? "" : "/"}${path}`;
}

/** @param agent what `User-Agent` says if the target's headers do not. Rejects with the signal's reason only. */
export async function httpGet(
  target: HttpTarget,
  agent: string,
  signal: AbortSignal,
): Promise<HttpAnswer> {
  const failed = (url: string, error: string): HttpAnswer => ({
    kind: "failed",
    message: `Get "${url}": ${error}`,
    isNotTls: error === NOT_TLS,
  });
  const first = urlOf(target);
  let shown = first;
  let headers = headersOf(target.headers, agent);
  try {
    let url = new URL(first);
    const { hostname } = url;
    for (let hops = 1; ; hops++) {
      const { status, location, body } = await get(url, headers, signal);
      const answer = { kind: "answer", status, body } as const;
      if (!REDIRECTS.has(status) || location === undefined || location === "") return answer;
      url = new URL(location, url);
      if (url.hostname !== hostname) return answer;
      if (hops === MAX_REDIRECTS) return failed(location, "stopped after 10 redirects");
      shown = url.href;
      // A location that names its host is asked for by that name.
      if (URL.canParse(location)) headers = { ...headers, Host: url.host };
    }
  } catch (error) {
    signal.throwIfAborted();
    return failed(shown, dialWords(joinHostPort(target.host, target.port), error));
  }
}

type Headers = Readonly<Record<string, string | readonly string[]>>;

/** An empty User-Agent or Accept means none at all; of several hosts the first counts. */
function headersOf(wanted: HttpTarget["headers"], agent: string): Headers {
  const given = Map.groupBy(wanted, ({ name }) => canonical(name));
  const merged = new Map<string, string[]>([
    ["User-Agent", [agent]],
    ["Accept", ["*/*"]],
  ]);
  for (const [name, headers] of given)
    merged.set(
      name,
      headers.map(({ value }) => value),
    );
  for (const name of ["User-Agent", "Accept", "Host"])
    if (merged.get(name)?.[0] === "") merged.delete(name);
  const [host] = merged.get("Host") ?? [];
  return {
    ...Object.fromEntries(merged),
    Connection: "close",
    ...(host === undefined ? {} : { Host: host }),
  };
}

/** `x-my-header` as Go writes it: `X-My-Header`. */
function canonical(name: string): string {
  return name.toLowerCase().replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase());
}

function get(url: URL, headers: Headers, signal: AbortSignal): Promise<Response> {
  const options = { method: "GET", headers: headers as Record<string, string | string[]>, signal };
  return new Promise((resolve, reject) => {
    const request =
      url.protocol === "https:"
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
