/**
 * CredentialProviderConfig, the file that names the programs which know registry credentials: parsed and judged as
 * the kubelet does, every mistake ConfigInvalid with the file's name. Pure. Used by credential-plugins.ts.
 */

import { load } from "js-yaml";
import { parseGoDuration } from "../core/duration.ts";
import { LongshoreError, messageOf } from "../core/errors.ts";
import type { TokenAttributes } from "./service-accounts.ts";

export interface CredentialProvider {
  /** Name of the program in the bin directory. */
  readonly name: string;
  readonly matchImages: readonly string[];
  readonly defaultCacheMs: number;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Absent = it is asked for the node, without a service account. */
  readonly tokens?: TokenAttributes;
}

const CONFIG_API = "kubelet.config.k8s.io/v1";
export const PROVIDER_API = "credentialprovider.kubelet.k8s.io/v1";
const FIELDS = [
  ...["name", "matchImages", "defaultCacheDuration", "apiVersion", "args", "env"],
  "tokenAttributes",
];
const TOKEN_FIELDS = [
  ...["serviceAccountTokenAudience", "cacheType", "requireServiceAccount"],
  ...["requiredServiceAccountAnnotationKeys", "optionalServiceAccountAnnotationKeys"],
];

type Fields = Readonly<Record<string, unknown>>;

export function parseCredentialProviders(
  text: string,
  file: string,
): readonly CredentialProvider[] {
  const bad = (what: string): LongshoreError =>
    new LongshoreError("ConfigInvalid", `credential provider configuration ${file}: ${what}`);
  let document: unknown;
  try {
    document = load(text);
  } catch (cause) {
    throw bad(`it is not YAML: ${messageOf(cause)}`);
  }
  const { apiVersion, kind, providers } = asFields(document);
  if (kind !== "CredentialProviderConfig" || apiVersion !== CONFIG_API)
    throw bad(
      `it must start with "apiVersion: ${CONFIG_API}" and "kind: CredentialProviderConfig"`,
    );
  if (!Array.isArray(providers) || providers.length === 0)
    throw bad("providers must list at least one provider");
  return providers.map((provider, index) =>
    parseProvider(asFields(provider), (what) => bad(`providers[${index}]${what}`)),
  );
}

function asFields(value: unknown): Fields {
  return value !== null && typeof value === "object" ? (value as Fields) : {};
}

function parseProvider(
  provider: Fields,
  bad: (what: string) => LongshoreError,
): CredentialProvider {
  const unknown = Object.keys(provider).find((field) => !FIELDS.includes(field));
  if (unknown !== undefined) throw bad(`: unknown field ${unknown}`);
  const { name, matchImages, apiVersion, defaultCacheDuration, args = [], env = [] } = provider;
  if (typeof name !== "string" || name === "" || name === "." || name === ".." || /[/ ]/.test(name))
    throw bad(".name must be the name of a program, without slashes and spaces");
  if (apiVersion !== PROVIDER_API) throw bad(`.apiVersion must be ${PROVIDER_API}`);
  if (!isStrings(matchImages) || matchImages.length === 0)
    throw bad(".matchImages must list at least one pattern such as *.registry.example");
  const defaultCacheMs = parseGoDuration(defaultCacheDuration);
  if (defaultCacheMs === undefined)
    throw bad(".defaultCacheDuration must be a duration such as 12h or 0s");
  if (!isStrings(args)) throw bad(".args must be a list of strings");
  if (!Array.isArray(env) || !env.every(isVariable))
    throw bad(".env must be a list of {name, value}");
  return {
    ...{ name, matchImages, defaultCacheMs, args },
    env: Object.fromEntries(env.map((variable) => [variable.name, variable.value])),
    ...(provider.tokenAttributes === undefined
      ? {}
      : { tokens: parseTokens(asFields(provider.tokenAttributes), bad) }),
  };
}

function parseTokens(tokens: Fields, bad: (what: string) => LongshoreError): TokenAttributes {
  const wrong = (what: string): LongshoreError => bad(`.tokenAttributes${what}`);
  const unknown = Object.keys(tokens).find((field) => !TOKEN_FIELDS.includes(field));
  if (unknown !== undefined) throw wrong(`: unknown field ${unknown}`);
  const { serviceAccountTokenAudience: audience, cacheType, requireServiceAccount } = tokens;
  const {
    requiredServiceAccountAnnotationKeys: requiredAnnotations = [],
    optionalServiceAccountAnnotationKeys: optionalAnnotations = [],
  } = tokens;
  if (typeof audience !== "string" || audience === "")
    throw wrong(".serviceAccountTokenAudience must be given");
  if (cacheType !== "ServiceAccount" && cacheType !== "Token")
    throw wrong(".cacheType must be ServiceAccount or Token");
  if (typeof requireServiceAccount !== "boolean")
    throw wrong(".requireServiceAccount must be true or false");
  if (!isStrings(requiredAnnotations) || !isStrings(optionalAnnotations))
    throw wrong(": the annotation keys must be lists of strings");
  if (!requireServiceAccount && requiredAnnotations.length > 0)
    throw wrong(".requiredServiceAccountAnnotationKeys need requireServiceAccount: true");
  const keys = [...requiredAnnotations, ...optionalAnnotations];
  if (new Set(keys).size < keys.length) throw wrong(": an annotation key is named twice");
  return { audience, cacheType, requireServiceAccount, requiredAnnotations, optionalAnnotations };
}

function isStrings(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((item) => typeof item === "string");
}

function isVariable(value: unknown): value is { readonly name: string; readonly value: string } {
  const { name, value: text } = asFields(value);
  return typeof name === "string" && name !== "" && typeof text === "string";
}
