/**
 * A manifest's text (YAML or JSON) → the static pods it describes, named, defaulted and with a UID made of the content:
 * the same content is the same pod, so that running containers are adopted, and another content is another pod. Pure;
 * throws ConfigInvalid with what is wrong. Called by file-source.ts and url-source.ts.
 */

import { createHash } from "node:crypto";
import { load } from "js-yaml";
import type { Pod } from "../../api/types.ts";
import { formatTime } from "../../core/clock.ts";
import { LongshoreError, messageOf } from "../../core/errors.ts";
import { canonicalJson } from "../../core/hash.ts";
import { podSpecWithDefaults } from "./defaults.ts";
import { findManifestProblem } from "./validation.ts";

/** Where a manifest was found. */
export type ManifestOrigin =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "http"; readonly url: string };

export interface ManifestContext {
  readonly origin: ManifestOrigin;
  readonly nodeName: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export const CONFIG_HASH = "kubernetes.io/config.hash";
const CONFIG_SEEN = "kubernetes.io/config.seen";
const CONFIG_SOURCE = "kubernetes.io/config.source";
export const CONFIG_MIRROR = "kubernetes.io/config.mirror";

/** The kubelet's limit of a manifest. */
export const MAX_MANIFEST_BYTES = 10 * 1024 * 1024;
/** YAML aliases make a small text a huge value. */
const MAX_VALUES = 100_000;
const MAX_DEPTH = 100;

type Plain = Readonly<Record<string, unknown>>;

/** A Pod; from a URL also a PodList (or List) of them, one bad item spoiling the whole. */
export function parseManifest(text: string, context: ManifestContext): readonly Pod[] {
  const document = parseDocument(text);
  const { kind } = document;
  if (context.origin.kind === "http" && (kind === "PodList" || kind === "List")) {
    if (!Array.isArray(document.items)) throw invalid("items is no list");
    return document.items.map((item: unknown) => toStaticPod(item, context));
  }
  return [toStaticPod(document, context)];
}

function parseDocument(text: string): Plain {
  let value: unknown;
  try {
    value = load(text);
  } catch (error) {
    throw invalid(`it is neither YAML nor JSON of one document: ${messageOf(error)}`);
  }
  if (!isObject(value)) throw invalid("it holds no object");
  // Decimal in YAML 1.2, octal for kubectl: a wrong mode is worse than none.
  if (/mode:\s+0[0-7]+\s*$/im.test(text)) throw invalid("an octal mode is to be written as 0o644");
  countValues(value, { left: MAX_VALUES }, MAX_DEPTH);
  return value;
}

/** Throws for values too many or too deep, so also for endless ones. */
function countValues(value: unknown, budget: { left: number }, depthLeft: number): void {
  budget.left -= 1;
  if (budget.left < 0) throw invalid(`it holds more than ${MAX_VALUES} values`);
  if (depthLeft === 0) throw invalid(`it is deeper than ${MAX_DEPTH} levels`);
  if (typeof value !== "object" || value === null) return;
  for (const inner of Object.values(value)) countValues(inner, budget, depthLeft - 1);
}

export function toStaticPod(value: unknown, context: ManifestContext): Pod {
  if (!isObject(value)) throw invalid("it holds no object");
  // Dates and the like become what JSON would have had; null is Kubernetes' word for absent.
  const manifest = JSON.parse(
    JSON.stringify(value, (_key, inner: unknown) => inner ?? undefined),
  ) as Plain;
  const problem = findManifestProblem(manifest);
  if (problem !== undefined) throw invalid(problem);
  const { origin, nodeName, now } = context;
  const metadata = manifest.metadata as Plain & { readonly name: string };
  const { [CONFIG_MIRROR]: _, ...annotations } = (metadata.annotations ?? {}) as Plain;
  const uid = computeUid(manifest, context);
  const spec = podSpecWithDefaults(manifest.spec as Plain);
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: `${metadata.name}-${nodeName}`,
      namespace: metadata.namespace ?? "default",
      uid,
      resourceVersion: "0",
      ...(metadata.labels === undefined ? {} : { labels: metadata.labels }),
      annotations: {
        ...annotations,
        [CONFIG_HASH]: uid,
        [CONFIG_SEEN]: formatTime(now),
        [CONFIG_SOURCE]: origin.kind,
      },
    },
    spec: {
      ...spec,
      nodeName,
      ...(origin.kind === "file" ? { tolerations: tolerateAll(spec.tolerations) } : {}),
    },
  } as unknown as Pod;
}

/** The kubelet's length; its own digits cannot be had, because it hashes the memory of a Go value. */
function computeUid(manifest: Plain, { origin, nodeName }: ManifestContext): string {
  const place = origin.kind === "file" ? [`host:${nodeName}`, `file:${origin.path}`] : [origin.url];
  const text = [nodeName, ...place, canonicalJson(manifest)].join("\n");
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}

/** True for UIDs made here; an API server's have dashes. */
export function isStaticUid(uid: string): boolean {
  return /^[0-9a-f]{32}$/.test(uid);
}

/** So that no problem of the node drives it away. */
function tolerateAll(given: unknown): readonly object[] {
  const all = { operator: "Exists", effect: "NoExecute" };
  const others = (Array.isArray(given) ? given : []).filter(
    (toleration: unknown) =>
      !(isObject(toleration) && !toleration.key && toleration.effect === all.effect),
  );
  return [...others, all];
}

function isObject(value: unknown): value is Plain {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function invalid(message: string): LongshoreError {
  return new LongshoreError("ConfigInvalid", message);
}
