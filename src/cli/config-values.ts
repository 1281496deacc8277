/**
 * How single values of flags and configuration files are read: text that people write → what the program uses. Pure.
 * Every mistake is ConfigInvalid and names the field, what it has and what it wants. Used by parse-config.ts and by
 * whatever else reads configuration.
 */

import { isIP } from "node:net";
import { parseGoDuration } from "../core/duration.ts";
import { LongshoreError } from "../core/errors.ts";

export type Parse<T> = (value: unknown, field: string) => T;

export function bad(field: string, value: unknown, wants: string): LongshoreError {
  return new LongshoreError(
    "ConfigInvalid",
    `configuration field ${field}: ${JSON.stringify(value)} is not ${wants}`,
  );
}

export const text: Parse<string> = (value, field) => {
  if (typeof value !== "string") throw bad(field, value, "a string");
  return value;
};

export const path: Parse<string> = (value, field) => {
  const file = text(value, field);
  if (file !== "" && !file.startsWith("/")) throw bad(field, value, "an absolute path");
  return file;
};

export const flag: Parse<boolean> = (value, field) => {
  if (value === true || value === "true") return true;
  if (value === false || value === "false") return false;
  throw bad(field, value, "true or false");
};

export function whole(min: number, max: number): Parse<number> {
  return (value, field) => {
    const number = typeof value === "string" && value !== "" ? Number(value) : value;
    if (typeof number !== "number" || !Number.isInteger(number) || number < min || number > max)
      throw bad(field, value, `a whole number from ${min} to ${max}`);
    return number;
  };
}

export function oneOf<T extends string>(...words: readonly T[]): Parse<T> {
  return (value, field) => {
    const word = words.find((candidate) => candidate === value);
    if (word === undefined) throw bad(field, value, `one of ${words.join(", ")}`);
    return word;
  };
}

/** A list, or a comma separated string. */
export function list(item: Parse<string>): Parse<readonly string[]> {
  return (value, field) => {
    const items =
      typeof value === "string" ? value.split(",").filter((part) => part !== "") : value;
    if (!Array.isArray(items)) throw bad(field, value, "a list");
    return items.map((entry, index) => item(entry, `${field}[${index}]`));
  };
}

export const ip: Parse<string> = (value, field) => {
  if (typeof value !== "string" || isIP(value) === 0) throw bad(field, value, "an IP address");
  return value;
};

export const cidr: Parse<string> = (value, field) => {
  const [address, prefix, ...rest] = text(value, field).split("/");
  const family = isIP(address ?? "");
  const isValid =
    family !== 0 &&
    rest.length === 0 &&
    /^\d+$/.test(prefix ?? "") &&
    Number(prefix) <= (family === 4 ? 32 : 128);
  if (!isValid) throw bad(field, value, "a CIDR such as 10.244.0.0/16");
  return value as string;
};

/** Go's durations: 30s, 1m0s, 24h0m0s, 1.5h; not negative. In milliseconds. */
export const duration: Parse<number> = (value, field) => {
  const ms = parseGoDuration(value);
  if (ms === undefined || ms < 0) throw bad(field, value, "a duration such as 10s, 1m30s or 500ms");
  return ms;
};

/** How often something is looked at. */
export const period: Parse<number> = (value, field) => {
  const ms = duration(value, field);
  if (ms < 1000) throw bad(field, value, "a second or more");
  return ms;
};

/** A mapping, or a comma separated string of keys and values. */
export function entriesOf(
  value: unknown,
  separator: string,
): readonly (readonly [string, unknown])[] {
  if (typeof value !== "string")
    return Object.entries(value !== null && typeof value === "object" ? value : {});
  return value
    .split(",")
    .filter((part) => part !== "")
    .map((part) => {
      const [key, ...rest] = part.split(separator);
      return [key ?? "", rest.join(separator)] as const;
    });
}

export const labels: Parse<Readonly<Record<string, string>>> = (value, field) => {
  const entries = entriesOf(value, "=") as readonly (readonly [string, string])[];
  for (const [key, inner] of entries) {
    if (!/^([a-z0-9.-]+\/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$/.test(key))
      throw bad(field, value, `a set of labels: the key ${JSON.stringify(key)} is not valid`);
    if (typeof inner !== "string") throw bad(`${field}.${key}`, inner, "a string");
  }
  return Object.fromEntries(entries);
};
const NO_URL = { protocol: "", username: "", password: "" };

export const url: Parse<string> = (value, field) => {
  const given = text(value, field);
  const { protocol, username, password } = URL.canParse(given) ? new URL(given) : NO_URL;
  if (username + password !== "") throw bad(field, "…", "a URL without credentials: use a header");
  if (!/^https?:$/.test(protocol)) throw bad(field, value, "an http or https URL");
  return given;
};

/** `name:value,…` as the kubelet's flag has it, or lists by name as its file has it. */
export const headers: Parse<Readonly<Record<string, readonly string[]>>> = (value, field) => {
  const found: Record<string, readonly string[]> = {};
  const pairs =
    typeof value === "string"
      ? list(text)(value, field).map((pair): readonly [string, unknown] => {
          const [name = "", ...rest] = pair.split(":");
          return [name.trim(), rest.length === 0 ? undefined : [rest.join(":").trim()]];
        })
      : Object.entries(value !== null && typeof value === "object" ? value : {});
  for (const [name, values] of pairs) {
    // Values may be secrets: not told.
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) || values === undefined)
      throw bad(field, name, "a header such as name:value");
    found[name] = [...(found[name] ?? []), ...list(text)(values, `${field}.${name}`)];
  }
  return found;
};
