/**
 * Request line → route, purely. Only the paths that are served have a variant; everything else, path tricks
 * included, is `not-found`. Authorization looks at the route, so it is parsed before, but answered after it.
 */

interface ExecTarget {
  readonly namespace: string;
  readonly pod: string;
  /** Present in the four-part form of the path only. */
  readonly uid: string | undefined;
  readonly container: string;
}

export type HealthCheck = "all" | "ping" | "log" | "syncloop";

/** Answered in one piece, by reads.ts. */
export const READ_PATHS = [
  "/pods",
  "/runningpods",
  "/configz",
  "/stats/summary",
  "/metrics",
  "/metrics/cadvisor",
  "/metrics/probes",
  "/metrics/resource",
  "/metrics/slis",
] as const;

export type ReadPath = (typeof READ_PATHS)[number];

export type Route =
  | { readonly kind: "healthz"; readonly check: HealthCheck; readonly query: URLSearchParams }
  | { readonly kind: "read"; readonly path: ReadPath; readonly query: URLSearchParams }
  | { readonly kind: "system-logs"; readonly path: readonly string[] }
  | {
      readonly kind: "logs";
      readonly namespace: string;
      readonly pod: string;
      readonly container: string;
      readonly query: URLSearchParams;
    }
  | {
      readonly kind: "exec" | "attach";
      readonly target: ExecTarget;
      readonly query: URLSearchParams;
    }
  | { readonly kind: "run"; readonly target: ExecTarget; readonly query: URLSearchParams }
  | {
      readonly kind: "port-forward";
      readonly namespace: string;
      readonly pod: string;
      readonly uid: string | undefined;
      readonly query: URLSearchParams;
    }
  | { readonly kind: "method-not-allowed" }
  | { readonly kind: "not-found" };

const NOT_FOUND: Route = { kind: "not-found" };
const CHECKS: readonly string[] = ["ping", "log", "syncloop"];

export function parseRoute(method: string, url: string): Route {
  const mark = url.indexOf("?");
  const segments = parseSegments(mark < 0 ? url : url.slice(0, mark));
  if (segments === undefined) return NOT_FOUND;
  const query = new URLSearchParams(mark < 0 ? "" : url.slice(mark + 1));
  const [head, ...rest] = segments;
  switch (head) {
    case "healthz":
      return parseHealthz(rest, query);
    case "pods":
    case "runningpods":
    case "configz":
    case "stats":
    case "metrics":
      return parseRead(method, segments, query);
    case "logs":
      return withMethod(method, ["GET"], { kind: "system-logs", path: rest });
    case "containerLogs":
      return parseLogs(method, rest, query);
    case "exec":
    case "attach":
      return parseCommand(head, method, rest, query);
    case "run":
      return parseCommand(head, method, rest, query, ["POST"]);
    case "portForward":
      return parsePortForward(method, rest, query);
    default:
      return NOT_FOUND;
  }
}

/** Decoded path segments; undefined for anything that means another path to somebody else. */
function parseSegments(path: string): readonly string[] | undefined {
  if (!path.startsWith("/")) return undefined;
  const segments: string[] = [];
  for (const raw of path.slice(1).split("/")) {
    const segment = decode(raw);
    if (segment === undefined || segment === "." || segment === "..") return undefined;
    if (/[/\\\0]/.test(segment)) return undefined;
    segments.push(segment);
  }
  return segments;
}

function decode(raw: string): string | undefined {
  try {
    return decodeURIComponent(raw);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

function withMethod(method: string, allowed: readonly string[], route: Route): Route {
  return allowed.includes(method) ? route : { kind: "method-not-allowed" };
}

function parseRead(method: string, segments: readonly string[], query: URLSearchParams): Route {
  // Upstream's own name for it ends with a slash.
  const text = `/${segments.join("/")}`.replace(/^\/runningpods\/$/, "/runningpods");
  const path = READ_PATHS.find((known) => known === text);
  if (path === undefined) return NOT_FOUND;
  const methods = path === "/stats/summary" ? ["GET", "POST"] : ["GET"];
  return withMethod(method, methods, { kind: "read", path, query });
}

function parseHealthz(rest: readonly string[], query: URLSearchParams): Route {
  const [name] = rest;
  if (rest.length === 0) return { kind: "healthz", check: "all", query };
  if (rest.length > 1 || name === undefined || !CHECKS.includes(name)) return NOT_FOUND;
  return { kind: "healthz", check: name as HealthCheck, query };
}

/** Missing parts are empty, for the handler to name them. */
function parseLogs(method: string, rest: readonly string[], query: URLSearchParams): Route {
  if (rest.length > 3) return NOT_FOUND;
  const [namespace = "", pod = "", container = ""] = rest;
  return withMethod(method, ["GET"], { kind: "logs", namespace, pod, container, query });
}

function parseCommand(
  kind: "exec" | "attach" | "run",
  method: string,
  rest: readonly string[],
  query: URLSearchParams,
  methods: readonly string[] = ["GET", "POST"],
): Route {
  if (rest.length < 3 || rest.length > 4 || rest.includes("")) return NOT_FOUND;
  const [namespace = "", pod = ""] = rest;
  const uid = rest.length === 4 ? rest[2] : undefined;
  const target = { namespace, pod, uid, container: rest.at(-1) ?? "" };
  return withMethod(method, methods, { kind, target, query });
}

function parsePortForward(method: string, rest: readonly string[], query: URLSearchParams): Route {
  if (rest.length < 2 || rest.length > 3 || rest.includes("")) return NOT_FOUND;
  const [namespace = "", pod = "", uid] = rest;
  const route: Route = { kind: "port-forward", namespace, pod, uid, query };
  return withMethod(method, ["GET", "POST"], route);
}
