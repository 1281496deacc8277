/**
 * `$(VAR)` expansion as Kubernetes defines it: `$(NAME)` is replaced when NAME is known and stays verbatim when not,
 * `$$` is an escaped dollar. Pure. Used for env values, command and args.
 */

/** Expands every reference in `text` that `lookup` knows. */
export function expandReferences(
  text: string,
  lookup: (name: string) => string | undefined,
): string {
  let result = "";
  let at = 0;
  while (at < text.length) {
    const dollar = text.indexOf("$", at);
    if (dollar === -1 || dollar === text.length - 1) return result + text.slice(at);
    result += text.slice(at, dollar);
    const next = text[dollar + 1];
    const close = next === "(" ? text.indexOf(")", dollar) : -1;
    if (close !== -1) {
      const reference = text.slice(dollar, close + 1);
      result += lookup(reference.slice(2, -1)) ?? reference;
      at = close + 1;
      continue;
    }
    result += next === "$" ? "$" : `$${next}`;
    at = dollar + 2;
  }
  return result;
}
