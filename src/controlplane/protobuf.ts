/**
 * Request bodies of application/vnd.kubernetes.protobuf as the JSON objects they stand for. Pure. Any bytes either
 * decode or throw a StatusError: 400 for what is malformed, 415 for a kind outside of the table. Called by server.ts.
 */

import { type Field, type Message, messageOfKind, UNKNOWN } from "./protobuf-schema.ts";
import { badRequest, StatusError } from "./status-error.ts";

export const PROTOBUF_MEDIA_TYPE = "application/vnd.kubernetes.protobuf";

const MAGIC = Buffer.from("k8s\0", "latin1");
const ACCEPTED = "accepted media types include: application/json";

const WIRE_VARINT = 0;
const WIRE_FIXED64 = 1;
const WIRE_BYTES = 2;
const WIRE_FIXED32 = 5;

/** One field as it is on the wire; the value of fixed-size fields, which no kind of ours has, is not kept. */
interface WireField {
  readonly number: number;
  readonly value: bigint | Buffer | undefined;
}

type Decoded = Readonly<Record<string, unknown>>;

interface Envelope {
  readonly typeMeta?: { readonly apiVersion?: string; readonly kind?: string };
  readonly raw?: string;
  readonly contentType?: string;
}

export function decodeProtobuf(body: Buffer): object {
  if (!body.subarray(0, MAGIC.length).equals(MAGIC)) throw malformed("it has not the prefix k8s");
  const envelope: Envelope = decodeMessage(body.subarray(MAGIC.length), UNKNOWN);
  const { apiVersion = "", kind = "" } = envelope.typeMeta ?? {};
  if (apiVersion === "" || kind === "") throw malformed("it has no apiVersion and kind");
  const { contentType = PROTOBUF_MEDIA_TYPE } = envelope;
  const message = messageOfKind(apiVersion, kind);
  if (message === undefined || contentType !== PROTOBUF_MEDIA_TYPE) {
    const why = `the body of the request is ${apiVersion} ${kind} in ${contentType}, which is not read here`;
    throw new StatusError(415, "UnsupportedMediaType", `${why} - ${ACCEPTED}`);
  }
  const raw = Buffer.from(envelope.raw ?? "", "base64");
  return { apiVersion, kind, ...decodeMessage(raw, message) };
}

/** Objects are built from entries, as JSON.parse does: a key `__proto__` is a key like any other. */
function decodeMessage(bytes: Buffer, message: Message): Decoded {
  const values = new Map<string, unknown>();
  for (const { number, value } of wireFields(bytes)) {
    const field = message[number];
    if (field === undefined) continue;
    const { name, type } = field;
    if (type.kind === "map") {
      const entries = (values.get(name) as Map<string, string> | undefined) ?? new Map();
      values.set(name, entries.set(...mapEntry(bytesOf(value, field), type.value)));
    } else if (field.isList) {
      const items = (values.get(name) as unknown[] | undefined) ?? [];
      items.push(decodeValue(value, field));
      values.set(name, items);
    } else {
      const decoded = decodeValue(value, field);
      if (field.keepsZero || !isZero(decoded)) values.set(name, decoded);
      else values.delete(name);
    }
  }
  return Object.fromEntries(
    [...values].map(([name, value]) => [
      name,
      value instanceof Map ? Object.fromEntries(value) : value,
    ]),
  );
}

function isZero(value: unknown): boolean {
  return value === "" || value === 0 || value === false || value === undefined;
}

function decodeValue(value: WireField["value"], field: Field): unknown {
  const { type } = field;
  switch (type.kind) {
    case "bool":
      return intOf(value, field) !== 0;
    case "int":
      return intOf(value, field);
    case "string":
    case "bytes":
      return textOf(bytesOf(value, field), type.kind);
    case "message":
      return decodeMessage(bytesOf(value, field), type.of);
    case "time":
      return decodeTime(bytesOf(value, field), type.digits);
    case "intOrString":
      return decodeIntOrString(bytesOf(value, field));
    case "json":
      return decodeJson(bytesOf(value, field), field);
    case "map":
      throw malformed(`${field.name} is a map`);
  }
}

function textOf(bytes: Buffer, kind: "string" | "bytes"): string {
  return bytes.toString(kind === "bytes" ? "base64" : "utf8");
}

function intOf(value: WireField["value"], field: Field): number {
  if (typeof value !== "bigint") throw malformed(`${field.name} is not a number`);
  return Number(BigInt.asIntN(64, value));
}

function bytesOf(value: WireField["value"], field: Field): Buffer {
  if (!Buffer.isBuffer(value)) throw malformed(`${field.name} has no length`);
  return value;
}

function mapEntry(bytes: Buffer, kind: "string" | "bytes"): [string, string] {
  const { key = "", value = "" } = decodeMessage(bytes, {
    1: { name: "key", type: { kind: "string" } },
    2: { name: "value", type: { kind } },
  }) as { key?: string; value?: string };
  return [key, value];
}

/** An empty Time is Go's zero time, which is null in JSON; meta/v1 Time has no fraction, MicroTime six digits. */
function decodeTime(bytes: Buffer, digits: 0 | 6): string | undefined {
  if (bytes.length === 0) return undefined;
  const { seconds = 0, nanos = 0 } = decodeMessage(bytes, {
    1: { name: "seconds", type: { kind: "int" } },
    2: { name: "nanos", type: { kind: "int" } },
  }) as { seconds?: number; nanos?: number };
  const date = new Date(seconds * 1000);
  const year = date.getUTCFullYear();
  // Not a date at all gives NaN, which is in no range.
  if (!(year >= 1 && year <= 9999) || nanos < 0 || nanos >= 1e9)
    throw malformed("a time is out of range");
  const whole = date.toISOString().slice(0, "2026-01-02T03:04:05".length);
  if (digits === 0) return `${whole}Z`;
  return `${whole}.${String(Math.floor(nanos / 1000)).padStart(digits, "0")}Z`;
}

/** Zero counts as absent: it is how Go writes a targetPort that is not set. */
function decodeIntOrString(bytes: Buffer): number | string {
  const {
    type = 0,
    intVal = 0,
    strVal = "",
  } = decodeMessage(bytes, {
    1: { name: "type", type: { kind: "int" } },
    2: { name: "intVal", type: { kind: "int" } },
    3: { name: "strVal", type: { kind: "string" } },
  }) as { type?: number; intVal?: number; strVal?: string };
  return type === 0 ? intVal : strVal;
}

function decodeJson(bytes: Buffer, field: Field): unknown {
  const { raw } = decodeMessage(bytes, { 1: { name: "raw", type: { kind: "string" } } }) as {
    raw?: string;
  };
  if (raw === undefined) return undefined;
  try {
    return JSON.parse(raw);
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw malformed(`${field.name} is not JSON`);
  }
}

function* wireFields(bytes: Buffer): Generator<WireField> {
  let offset = 0;
  while (offset < bytes.length) {
    const tag = varint(bytes, offset);
    offset = tag.end;
    const number = Number(tag.value >> 3n);
    if (number < 1 || number >= 2 ** 29) throw malformed("a field has an impossible number");
    const field = wireValue(bytes, offset, Number(tag.value & 7n));
    offset = field.end;
    yield { number, value: field.value };
  }
}

/** Groups (wire types 3 and 4) do not occur in Kubernetes' messages and are malformed here. */
function wireValue(
  bytes: Buffer,
  offset: number,
  wireType: number,
): { readonly value: WireField["value"]; readonly end: number } {
  switch (wireType) {
    case WIRE_VARINT:
      return varint(bytes, offset);
    case WIRE_FIXED64:
      return { value: undefined, end: within(bytes, offset + 8) };
    case WIRE_FIXED32:
      return { value: undefined, end: within(bytes, offset + 4) };
    case WIRE_BYTES: {
      const length = varint(bytes, offset);
      const end = within(bytes, length.end + Number(length.value));
      return { value: bytes.subarray(length.end, end), end };
    }
    default:
      throw malformed(`there is no wire type ${wireType}`);
  }
}

function varint(bytes: Buffer, offset: number): { readonly value: bigint; readonly end: number } {
  let value = 0n;
  for (let index = 0; index < 10; index += 1) {
    const byte = bytes[offset + index];
    if (byte === undefined) throw malformed("unexpected EOF");
    value |= BigInt(byte & 0x7f) << BigInt(7 * index);
    if (byte < 0x80) return { value, end: offset + index + 1 };
  }
  throw malformed("integer overflow");
}

function within(bytes: Buffer, end: number): number {
  if (end > bytes.length) throw malformed("unexpected EOF");
  return end;
}

function malformed(why: string): StatusError {
  return badRequest(`the body of the request is not Kubernetes protobuf: ${why}`);
}
