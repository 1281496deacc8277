/**
 * Names of images as credentials see them: the repository (registry, port and path, spelled out, without tag and
 * digest) and whether a pattern of a docker config or a credential plugin covers it. Pure. Used by keyring.ts,
 * credential-plugins.ts and access.ts; whether a name is valid at all is the runtime's question.
 */

const DEFAULT_REGISTRY = "docker.io";

/** `busybox:1` → `docker.io/library/busybox`. */
export function repositoryOf(image: string): string {
  const bare = image.replace(/@.*$/, "").replace(/:[^/:]*$/, "");
  const [first = "", ...rest] = bare.split("/");
  const hasRegistry = rest.length > 0 && (/[.:A-Z]/.test(first) || first === "localhost");
  const registry = hasRegistry ? first : DEFAULT_REGISTRY;
  const path = hasRegistry ? rest.join("/") : bare;
  const isHub = registry === DEFAULT_REGISTRY || registry === "index.docker.io";
  if (!isHub) return `${registry}/${path}`;
  return `${DEFAULT_REGISTRY}/${path.includes("/") ? path : `library/${path}`}`;
}

export function registryOf(repository: string): string {
  return repository.slice(0, repository.indexOf("/"));
}

interface Location {
  readonly labels: readonly string[];
  readonly port: string;
  readonly path: string;
}

function locationOf(url: string): Location {
  const slash = url.indexOf("/");
  const authority = slash === -1 ? url : url.slice(0, slash);
  const match = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(authority);
  return {
    labels: (match?.[1] ?? authority).split("."),
    port: match?.[2] ?? "",
    path: slash === -1 ? "" : url.slice(slash),
  };
}

/** `*` in a label of the host stands for any characters of that label; port and number of labels must agree. */
export function covers(pattern: string, repository: string): boolean {
  const wanted = locationOf(pattern);
  const given = locationOf(repository);
  return (
    wanted.port === given.port &&
    wanted.labels.length === given.labels.length &&
    given.path.startsWith(wanted.path) &&
    wanted.labels.every((label, index) => coversLabel(label, given.labels[index] ?? ""))
  );
}

/** Without a regular expression: the pattern comes from users and may hold thousands of stars. */
function coversLabel(pattern: string, label: string): boolean {
  const [start = "", ...parts] = pattern.split("*");
  const end = parts.pop();
  if (end === undefined) return label === pattern;
  if (!label.startsWith(start) || label.length < start.length + end.length) return false;
  let from = start.length;
  for (const part of parts) {
    const at = label.indexOf(part, from);
    if (at === -1) return false;
    from = at + part.length;
  }
  return label.endsWith(end) && label.length - end.length >= from;
}
