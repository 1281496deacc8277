/** Errors of connections in the words of Go's net package, which people and their tools know from the kubelet. Pure. */

import { isIPv6 } from "node:net";
import { messageOf } from "../../core/errors.ts";

const CONNECT_WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connect: connection refused",
  EHOSTUNREACH: "connect: no route to host",
  ENETUNREACH: "connect: network is unreachable",
  ETIMEDOUT: "connect: connection timed out",
  ECONNRESET: "connect: connection reset by peer",
  EADDRNOTAVAIL: "connect: cannot assign requested address",
};

/** What Go says when it wanted TLS and met something else; the alert does not tell what. */
export const NOT_TLS = "http: server gave HTTP response to HTTPS client";

export function joinHostPort(host: string, port: number): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `90000` is `1m30s`, for whole seconds. */
export function durationWords(ms: number): string {
  const seconds = ms / 1000;
  const minutes = Math.floor(seconds / 60);
  if (minutes === 0) return `${seconds}s`;
  const hours = Math.floor(minutes / 60);
  return `${hours === 0 ? "" : `${hours}h`}${minutes % 60}m${seconds % 60}s`;
}

/** What a failed connection to `address` is called. */
export function dialWords(address: string, error: unknown): string {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (code === "EPROTO" && messageOf(error).includes("wrong version number")) return NOT_TLS;
  if (syscall === "connect" && code !== undefined && code in CONNECT_WORDS)
    return `dial tcp ${address}: ${CONNECT_WORDS[code]}`;
  if (code === "ENOTFOUND") return `dial tcp: lookup ${address}: no such host`;
  if (code === "ECONNRESET")
    return /socket hang up|socket disconnected/.test(messageOf(error))
      ? "EOF"
      : `read tcp ${address}: read: connection reset by peer`;
  return messageOf(error);
}
