/**
 * The way from the API server to a kubelet: logs, exec, attach, port-forward and nodes/proxy, authenticated with the
 * certificate of kube-apiserver-kubelet-client. Upgraded connections are passed byte for byte with back-pressure and
 * half-close; what the kubelet answers before an upgrade is relayed. Handlers are given to the server by install.ts.
 */

import type { ClientRequest, IncomingMessage, ServerResponse } from "node:http";
import { request as httpsRequest } from "node:https";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { Node, Pod } from "../api/types.ts";
import type { ClientCredentials, ConnectHandler, ConnectRequest } from "./extension.ts";
import { dialError, dialFailure, logError, serverError } from "./kubelet-errors.ts";
import { forwardedHeaders, headOf, upgradeHeaders, withoutHopByHop } from "./kubelet-headers.ts";
import {
  type KubeletAddress,
  type KubeletTarget,
  kubeletAddress,
  kubeletTarget,
  type PodStream,
} from "./kubelet-request.ts";
import type { KubeObject } from "./objects.ts";
import { NODES } from "./registry.ts";
import { badRequest, notFound } from "./status-error.ts";

export interface KubeletProxyOptions {
  readonly credentials: ClientCredentials;
  readonly getNode: (name: string) => KubeObject | undefined;
}

interface Target extends KubeletAddress {
  readonly path: string;
}

/** Bytes of an error body that are relayed. */
const MAX_ERROR_BYTES = 64 * 1024;

export function createKubeletConnects(
  options: KubeletProxyOptions,
): Readonly<Record<string, ConnectHandler>> {
  return {
    "pods/log": { serve: (connect, response) => serveLog(options, connect, response) },
    "pods/exec": streamHandler(options, "exec"),
    "pods/attach": streamHandler(options, "attach"),
    "pods/portforward": streamHandler(options, "portforward"),
    "nodes/proxy": nodeProxyHandler(options),
  };
}

async function serveLog(
  options: KubeletProxyOptions,
  connect: ConnectRequest,
  response: ServerResponse,
): Promise<void> {
  const target = podTarget(options, "log", connect);
  if (target === undefined) {
    response.writeHead(200, { "content-type": "text/plain" }).end();
    return;
  }
  const upstream = open(options, target, "GET", {});
  response.on("close", () => upstream.destroy());
  upstream.end();
  const answer = await responseOf(upstream, (cause) => {
    const url = `https://${target.host}:${target.port}${target.path}`;
    return serverError(`Get "${url}": ${dialError(cause, target)}`);
  });
  const code = answer.statusCode ?? 500;
  if (code < 200 || code > 206) throw logError(connect, code, await readText(answer));
  response.writeHead(200, { "content-type": "text/plain" });
  response.flushHeaders();
  await relay(answer, response);
}

function streamHandler(options: KubeletProxyOptions, stream: PodStream): ConnectHandler {
  return {
    async serve() {
      throw badRequest("Upgrade request required");
    },
    async upgrade(connect, socket, head) {
      const target = podTarget(options, stream, connect);
      if (target !== undefined) await passUpgrade(options, target, connect, socket, head);
    },
  };
}

function nodeProxyHandler(options: KubeletProxyOptions): ConnectHandler {
  const targetOf = ({ parent, rest, query, request }: ConnectRequest): Target => {
    // The slash that ends the name of a folder is not among the parts of the path.
    const path = `${rest}${/^[^?]*\/($|\?)/.test(request.url ?? "") || rest === "" ? "/" : ""}`;
    return {
      ...addressOf(parent.metadata.name, parent),
      path: query.size === 0 ? path : `${path}?${query}`,
    };
  };
  return {
    async serve(connect, response) {
      const target = targetOf(connect);
      const { request } = connect;
      const upstream = open(options, target, request.method ?? "GET", forwardedHeaders(request));
      response.on("close", () => upstream.destroy());
      request.pipe(upstream);
      const answer = await responseOf(upstream, (cause) => dialFailure(cause, target));
      response.writeHead(answer.statusCode ?? 502, withoutHopByHop(answer.headers));
      response.flushHeaders();
      await relay(answer, response);
    },
    upgrade: (connect, socket, head) =>
      passUpgrade(options, targetOf(connect), connect, socket, head),
  };
}

/** Undefined when there is nothing to stream because the pod has no node yet. */
function podTarget(
  options: KubeletProxyOptions,
  stream: PodStream,
  connect: ConnectRequest,
): Target | undefined {
  const pod = connect.parent as unknown as Pod;
  const target: KubeletTarget = kubeletTarget(stream, pod, connect.query);
  if (target.kind === "refused") throw badRequest(target.message);
  if (target.kind === "empty") return undefined;
  const nodeName = pod.spec.nodeName ?? "";
  return { ...addressOf(nodeName, options.getNode(nodeName)), path: target.path };
}

function addressOf(name: string, node: KubeObject | undefined): KubeletAddress {
  if (node === undefined) throw notFound(NODES, name);
  const address = kubeletAddress(node as unknown as Node);
  if (address === undefined) throw serverError("no preferred addresses found; known addresses: []");
  return address;
}

function open(
  { credentials }: KubeletProxyOptions,
  target: Target,
  method: string,
  headers: Readonly<Record<string, string | string[]>>,
): ClientRequest {
  return httpsRequest({
    host: target.host,
    port: target.port,
    path: target.path,
    method,
    headers,
    cert: credentials.cert,
    key: credentials.key,
    // As kube-apiserver without --kubelet-certificate-authority: a kubelet may serve with a certificate of its own.
    rejectUnauthorized: false,
    agent: false,
    maxHeaderSize: 1024 * 1024,
  });
}

function responseOf(
  upstream: ClientRequest,
  onFailure: (cause: Error) => Error,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    upstream.once("response", resolve);
    // Stays on: an error after the answer also reaches the answer's stream, where it is dealt with.
    upstream.on("error", (cause) => reject(onFailure(cause)));
  });
}

async function passUpgrade(
  options: KubeletProxyOptions,
  target: Target,
  { request }: ConnectRequest,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const headers = { ...forwardedHeaders(request), ...upgradeHeaders(request) };
  const upstream = open(options, target, request.method ?? "GET", headers);
  const onClientGone = (): void => void upstream.destroy();
  socket.on("close", onClientGone);
  upstream.end();
  const answer = await upgradeOf(upstream, target);
  socket.off("close", onClientGone);
  socket.write(headOf(answer.response));
  if (answer.kind === "refused") {
    answer.response.on("error", () => socket.destroy());
    answer.response.pipe(socket);
    return;
  }
  if (answer.head.length > 0) socket.write(answer.head);
  if (head.length > 0) answer.socket.write(head);
  join(socket, answer.socket);
}

type UpgradeAnswer =
  | { readonly kind: "refused"; readonly response: IncomingMessage }
  | {
      readonly kind: "upgraded";
      readonly response: IncomingMessage;
      readonly socket: Duplex;
      readonly head: Buffer;
    };

function upgradeOf(upstream: ClientRequest, target: Target): Promise<UpgradeAnswer> {
  return new Promise((resolve, reject) => {
    upstream.once("upgrade", (response, socket, head) =>
      resolve({ kind: "upgraded", response, socket, head }),
    );
    upstream.once("response", (response) => {
      const code = response.statusCode ?? 0;
      if (code >= 400) resolve({ kind: "refused", response });
      else {
        response.destroy();
        reject(serverError(`invalid upgrade response: status code ${code}`));
      }
    });
    upstream.on("error", (cause) => reject(dialFailure(cause, target)));
  });
}

/** Two pipes; the end of one direction leaves the other open, an error or a close ends both. */
function join(a: Duplex, b: Duplex): void {
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.pipe(to);
    from.on("error", () => to.destroy());
    from.on("close", () => to.destroy());
  }
}

/** Ends when the kubelet has said all, or when the client has gone, which is no error. */
async function relay(answer: IncomingMessage, response: ServerResponse): Promise<void> {
  try {
    await pipeline(answer, response);
  } catch (error) {
    if (!response.destroyed) throw error;
  }
}

async function readText(answer: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_ERROR_BYTES) break;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
