/**
 * What a kind brings to be shown as a table: its columns and the cells of one object, in the same order. Also the
 * columns and the ways of writing that many kinds share. Pure; used by the *-columns.ts files and table.ts.
 */

import { ageOf } from "./duration.ts";
import { at, type KubeObject, textAt } from "./objects.ts";

export type Cell = string | number;

export interface Column {
  readonly name: string;
  readonly type: "string" | "integer" | "date";
  readonly format: string;
  readonly description: string;
  /** 0 is shown always, 1 with -o wide only. */
  readonly priority: number;
}

export interface RowCondition {
  readonly type: "Completed";
  readonly status: "True";
  readonly reason: string;
  readonly message: string;
}

export interface TableView {
  readonly columns: readonly Column[];
  readonly cells: (object: KubeObject, nowMs: number) => readonly Cell[];
  readonly conditions?: (object: KubeObject) => readonly RowCondition[];
}

export const NONE = "<none>";
export const UNKNOWN = "<unknown>";

export const NAME: Column = {
  ...column(
    "Name",
    "Name must be unique within a namespace. Is required when creating resources. Cannot be updated.",
  ),
  format: "name",
};

export const AGE = column(
  "Age",
  "CreationTimestamp is the time when this object was created on the server, in RFC3339 form and in UTC.",
);

export function column(name: string, description: string): Column {
  return { name, type: "string", format: "", description, priority: 0 };
}

export function wideColumn(name: string, description: string): Column {
  return { ...column(name, description), priority: 1 };
}

export function creationAge(object: KubeObject, nowMs: number): string {
  return ageOf(object.metadata.creationTimestamp ?? "", nowMs);
}

export function textOr(fallback: string, value: unknown, ...path: readonly string[]): string {
  return textAt(value, ...path) || fallback;
}

export function numberAt(value: unknown, ...path: readonly string[]): number {
  const found = at(value, ...path);
  return typeof found === "number" ? found : 0;
}

/** The first of the items, comma-separated, and how many were left out. */
export function listWithMore(items: readonly string[], shown: number): string {
  const text = items.slice(0, shown).join(",");
  return items.length > shown ? `${text} + ${items.length - shown} more...` : text;
}
