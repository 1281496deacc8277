/** The documents of one YAML file: those of a kind are taken out, the others stay text. Pure. */

import { load } from "js-yaml";
import { LongshoreError } from "../core/errors.ts";

export type Document = Readonly<Record<string, unknown>>;

export interface TakenDocument {
  readonly document: Document | undefined;
  /** The text without it; undefined when nothing is left. */
  readonly rest: string | undefined;
}

/** Takes the document of this kind out of a file. Throws ConfigInvalid when there are several. */
export function takeDocument(yaml: string, file: string, kind: string): TakenDocument {
  const parts = yaml.split(/^---(?:[ \t].*)?$/m).filter((part) => !isEmpty(part));
  const documents = parts.map((part) => loadIfOf(part, kind));
  const mine = documents.filter((document) => document !== undefined);
  if (mine.length > 1)
    throw new LongshoreError("ConfigInvalid", `${file} holds ${mine.length} ${kind} documents`);
  const others = parts.filter((_, index) => documents[index] === undefined);
  const [document] = mine;
  const isAll = others.length === 0 && document !== undefined;
  return { document, rest: isAll ? undefined : others.join("\n---\n") };
}

/** Nothing but comments. */
function isEmpty(part: string): boolean {
  const lines = part.split("\n").map((line) => line.trim());
  return lines.every((line) => line === "" || line.startsWith("#"));
}

/** One that cannot be read is left to who reads the rest, and complains. */
function loadIfOf(part: string, kind: string): Document | undefined {
  if (!part.includes(kind)) return undefined;
  let document: unknown;
  try {
    document = load(part);
  } catch {
    return undefined;
  }
  if (document === null || typeof document !== "object") return undefined;
  return (document as Document).kind === kind ? (document as Document) : undefined;
}
