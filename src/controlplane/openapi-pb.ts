/**
 * The version 2 OpenAPI document in protobuf (gnostic's openapi.v2.Document), which is the only form kubectl 1.27
 * asks for. It holds what kubectl looks up there: for every kind, the query parameters of its PATCH. Every field
 * used is length-delimited, so no general encoder is needed. Pure; called by openapi.ts.
 */

/** Field numbers of the messages used, from gnostic's OpenAPIv2.proto. */
const DOCUMENT = { swagger: 1, info: 2, paths: 8 };
const INFO = { title: 1, version: 2 };
const PATHS = { path: 2 };
const NAMED = { name: 1, value: 2 };
const PATH_ITEM = { patch: 8 };
const OPERATION = { parameters: 8, vendorExtension: 13 };
const PARAMETERS_ITEM = { parameter: 1 };
const PARAMETER = { nonBody: 2 };
const NON_BODY = { query: 3 };
const QUERY = { in: 2, name: 4, type: 6 };
const ANY = { yaml: 2 };

const LENGTH_DELIMITED = 2;

export interface PatchOperation {
  readonly path: string;
  readonly queryParameters: readonly string[];
  /** By name; JSON, which is YAML. */
  readonly extensions: Readonly<Record<string, object>>;
}

export function encodeDocument(
  info: { readonly title: string; readonly version: string },
  operations: readonly PatchOperation[],
): Uint8Array {
  const paths = operations.map((operation) =>
    field(PATHS.path, named(operation.path, field(PATH_ITEM.patch, encodeOperation(operation)))),
  );
  return Buffer.concat([
    field(DOCUMENT.swagger, "2.0"),
    field(DOCUMENT.info, field(INFO.title, info.title), field(INFO.version, info.version)),
    field(DOCUMENT.paths, ...paths),
  ]);
}

function encodeOperation(operation: PatchOperation): Buffer {
  const parameters = operation.queryParameters.map((name) =>
    field(OPERATION.parameters, queryParameter(name)),
  );
  const extensions = Object.entries(operation.extensions).map(([name, value]) =>
    field(OPERATION.vendorExtension, named(name, field(ANY.yaml, JSON.stringify(value)))),
  );
  return Buffer.concat([...parameters, ...extensions]);
}

function queryParameter(name: string): Buffer {
  const query = field(
    NON_BODY.query,
    field(QUERY.in, "query"),
    field(QUERY.name, name),
    field(QUERY.type, "string"),
  );
  return field(PARAMETERS_ITEM.parameter, field(PARAMETER.nonBody, query));
}

function named(name: string, value: Buffer): Buffer {
  return Buffer.concat([field(NAMED.name, name), field(NAMED.value, value)]);
}

function field(number: number, ...parts: readonly (string | Buffer)[]): Buffer {
  const content = Buffer.concat(
    parts.map((part) => (typeof part === "string" ? Buffer.from(part) : part)),
  );
  const tag = (number << 3) | LENGTH_DELIMITED;
  return Buffer.concat([varint(tag), varint(content.length), content]);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 0x7f) {
    bytes.push((rest & 0x7f) | 0x80);
    rest >>>= 7;
  }
  return Buffer.from([...bytes, rest]);
}
