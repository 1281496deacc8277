/** An answer in plain text, as a value: pure deciders return it, the server writes it. The kubelet's errors are no Status. */

export interface Reply {
  readonly status: number;
  readonly text: string;
  /** Further header lines; only refused upgrades have some. */
  readonly headers?: readonly string[];
}

export const NOT_FOUND: Reply = { status: 404, text: "404: Page Not Found" };
export const METHOD_NOT_ALLOWED: Reply = { status: 405, text: "405: Method Not Allowed" };

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  500: "Internal Server Error",
  501: "Not Implemented",
};

/** The raw HTTP of an answer to a refused upgrade, with a connection that ends. */
export function formatRawReply(reply: Reply): string {
  const lines = [
    `HTTP/1.1 ${reply.status} ${REASONS[reply.status] ?? "Error"}`,
    "Content-Type: text/plain; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(reply.text)}`,
    "Connection: close",
    ...(reply.headers ?? []),
  ];
  return `${lines.join("\r\n")}\r\n\r\n${reply.text}`;
}
