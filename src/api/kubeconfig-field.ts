/**
 * A value inside a kubeconfig that knows where it stands, so that each complaint names the file, the field and the
 * remedy. Never quotes a value: many are secrets. Used by kubeconfig.ts only.
 */

import { LongshoreError } from "../core/errors.ts";

export interface FieldPlace {
  readonly file: string;
  /** e.g. `users[node].user.exec`; empty for the root. */
  readonly path: string;
  readonly value: unknown;
}

export class KubeconfigField {
  readonly #place: FieldPlace;

  constructor(place: FieldPlace) {
    this.#place = place;
  }

  get path(): string {
    return this.#place.path;
  }

  get isAbsent(): boolean {
    return this.#place.value === undefined || this.#place.value === null;
  }

  invalid(problem: string, remedy: string, cause?: unknown): LongshoreError {
    const { file, path } = this.#place;
    const where = path === "" ? file : `${file}: ${path}`;
    return new LongshoreError("KubeconfigInvalid", `${where} ${problem}; ${remedy}`, { cause });
  }

  /** The field `name` of this object, present or not. */
  at(name: string): KubeconfigField {
    const { value } = this.#place;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw this.invalid("is not an object", `give it the field ${name}`);
    }
    return this.#child(
      this.path === "" ? name : `${this.path}.${name}`,
      (value as Readonly<Record<string, unknown>>)[name],
    );
  }

  optionalString(name: string): string | undefined {
    const field = this.at(name);
    return field.isAbsent || field.#place.value === "" ? undefined : field.string();
  }

  requiredString(name: string, remedy: string): string {
    const text = this.optionalString(name);
    if (text === undefined) throw this.at(name).invalid("is missing", remedy);
    return text;
  }

  optionalBoolean(name: string): boolean | undefined {
    const field = this.at(name);
    if (field.isAbsent) return undefined;
    const { value } = field.#place;
    if (typeof value !== "boolean") throw field.invalid("is not a boolean", "write true or false");
    return value;
  }

  string(): string {
    const { value } = this.#place;
    if (typeof value !== "string") throw this.invalid("is not a string", "put it in quotes");
    return value;
  }

  base64(): string {
    const text = this.string().replace(/\s/g, "");
    if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text)) {
      throw this.invalid("is not base64", "encode the PEM text with base64 -w0");
    }
    return Buffer.from(text, "base64").toString("utf8");
  }

  /** The entries of the list `name`; none when it is absent. */
  list(name: string): readonly KubeconfigField[] {
    const field = this.at(name);
    if (field.isAbsent) return [];
    const { value } = field.#place;
    if (!Array.isArray(value)) throw field.invalid("is not a list", "write one entry to a line");
    return value.map((entry, index) => this.#child(`${field.path}[${index}]`, entry));
  }

  /** The `inner` object of the entry called `name` in the list `list`. */
  named(list: string, name: string, inner: string): KubeconfigField {
    const entries = this.list(list);
    const index = entries.findIndex((entry) => entry.optionalString("name") === name);
    const entry = entries[index];
    if (entry === undefined) {
      throw this.at(list).invalid(
        `has no entry ${JSON.stringify(name)}`,
        "add it or correct the name",
      );
    }
    const field = this.#child(`${list}[${name}].${inner}`, entry.at(inner).#place.value);
    if (field.isAbsent) throw field.invalid("is missing", "complete the entry");
    return field;
  }

  #child(path: string, value: unknown): KubeconfigField {
    return new KubeconfigField({ file: this.#place.file, path, value });
  }
}
