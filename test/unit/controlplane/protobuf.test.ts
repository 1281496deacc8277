import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeProtobuf } from "../../../src/controlplane/protobuf.ts";
import { StatusError } from "../../../src/controlplane/status-error.ts";

type Part = readonly [number, bigint | Buffer];

function varint(value: bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, value);
  for (; rest > 0x7fn; rest >>= 7n) bytes.push(Number(rest & 0x7fn) | 0x80);
  return Buffer.from([...bytes, Number(rest)]);
}

/** Writes fields: a bigint as a varint, bytes with their length. */
function message(...parts: readonly Part[]): Buffer {
  return Buffer.concat(
    parts.flatMap(([number, value]) =>
      typeof value === "bigint"
        ? [varint(BigInt(number << 3)), varint(value)]
        : [varint(BigInt((number << 3) | 2)), varint(BigInt(value.length)), value],
    ),
  );
}

const text = (value: string): Buffer => Buffer.from(value);

function envelope(apiVersion: string, kind: string, raw: Buffer, ...more: Part[]): Buffer {
  const typeMeta = message([1, text(apiVersion)], [2, text(kind)]);
  return Buffer.concat([text("k8s\0"), message([1, typeMeta], [2, raw], ...more)]);
}

const meta = (name: string): Part => [1, message([1, text(name)])];

function refusal(body: Buffer): string {
  try {
    return JSON.stringify(decodeProtobuf(body));
  } catch (error) {
    if (!(error instanceof StatusError)) throw error;
    return `${error.body.code} ${error.body.message}`;
  }
}

const port = { name: "80-8080", protocol: "TCP", port: 80, targetPort: 8080 };

/** Bodies of kubectl 1.33 and what kubectl 1.30 sends as JSON for the same command. */
const RECORDED: readonly (readonly [string, string, object])[] = [
  [
    "create namespace x",
    "6b3873000a0f0a02763112094e616d65737061636512190a110a017812001a0022002a0032003800420012001a020a001a002200",
    {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name: "x" },
      spec: {},
      status: {},
    },
  ],
  [
    "create configmap c --from-literal=a=b --from-literal=__proto__x=y",
    "6b3873000a0f0a0276311209436f6e6669674d6170122c0a110a016312001a0022002a00320038004200120f0a0a5f5f70726f746f5f5f7812017912060a01611201621a002200",
    {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "c" },
      data: { a: "b", __proto__x: "y" },
    },
  ],
  [
    "create secret generic s --from-literal=p=hunter2",
    "6b3873000a0c0a027631120653656372657412230a110a017312001a0022002a00320038004200120c0a0170120768756e746572321a001a002200",
    {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: "s" },
      data: { p: "aHVudGVyMg==" },
    },
  ],
  [
    "create serviceaccount sa",
    "6b3873000a140a027631120e536572766963654163636f756e7412140a120a02736112001a0022002a003200380042001a002200",
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "sa" } },
  ],
  [
    "create service clusterip web --tcp=80:8080",
    "6b3873000a0d0a02763112075365727669636512690a1f0a0377656212001a0022002a003200380042005a0a0a03617070120377656212420a1b0a0738302d38303830120354435018502207080010903f1a002800120a0a0361707012037765621a002209436c757374657249503a00420052005a00600068001a020a001a002200",
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "web", labels: { app: "web" } },
      spec: { ports: [port], selector: { app: "web" }, type: "ClusterIP" },
      status: { loadBalancer: {} },
    },
  ],
  [
    "create service nodeport np --tcp=80:http --node-port=30080",
    "6b3873000a0d0a027631120753657276696365126a0a1d0a026e7012001a0022002a003200380042005a090a0361707012026e7012450a200a0738302d6874747012035443501850220a080110001a04687474702880eb0112090a0361707012026e701a0022084e6f6465506f72743a00420052005a00600068001a020a001a002200",
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "np", labels: { app: "np" } },
      spec: {
        ports: [{ ...port, name: "80-http", targetPort: "http", nodePort: 30_080 }],
        selector: { app: "np" },
        type: "NodePort",
      },
      status: { loadBalancer: {} },
    },
  ],
  [
    "create token sa",
    "6b3873000a280a1861757468656e7469636174696f6e2e6b38732e696f2f7631120c546f6b656e52657175657374121a0a100a0012001a0022002a0032003800420012001a040a0012001a002200",
    {
      apiVersion: "authentication.k8s.io/v1",
      kind: "TokenRequest",
      metadata: {},
      spec: {},
      status: { token: "" },
    },
  ],
];

const time = (seconds: bigint, nanos = 0n): Buffer => message([1, seconds], [2, nanos]);

/** Built here: the raw bytes of an object and what its fields become. */
const BUILT: readonly (readonly [string, string, string, Buffer, object])[] = [
  [
    "every type of metadata",
    "v1",
    "ConfigMap",
    message([
      1,
      message(
        [7, 3n],
        [8, time(1_700_000_000n, 999n)],
        [10, 0n],
        [13, message([1, text("Pod")], [3, text("p")], [4, text("u")], [5, text("v1")], [6, 0n])],
        [14, text("a")],
        [14, text("b")],
        [17, message([4, time(0n, 1n)], [7, message([1, text('{"f:data":{}}')])])],
      ),
    ]),
    {
      metadata: {
        generation: 3,
        creationTimestamp: "2023-11-14T22:13:20Z",
        deletionGracePeriodSeconds: 0,
        ownerReferences: [
          { kind: "Pod", name: "p", uid: "u", apiVersion: "v1", controller: false },
        ],
        finalizers: ["a", "b"],
        managedFields: [{ time: "1970-01-01T00:00:00Z", fieldsV1: { "f:data": {} } }],
      },
    },
  ],
  [
    "pointers to zero and binary data",
    "v1",
    "ConfigMap",
    message(meta("c"), [3, message([1, text("k")], [2, Buffer.from([0, 255])])], [4, 0n]),
    { metadata: { name: "c" }, binaryData: { k: "AP8=" }, immutable: false },
  ],
  [
    "an eviction with its options",
    "policy/v1",
    "Eviction",
    message(meta("p"), [2, message([1, 0n], [2, message([1, text("u")])], [5, text("All")])]),
    {
      metadata: { name: "p" },
      deleteOptions: { gracePeriodSeconds: 0, preconditions: { uid: "u" }, dryRun: ["All"] },
    },
  ],
  [
    "delete options in the version of their resource",
    "coordination.k8s.io/v1",
    "DeleteOptions",
    message([1, -1n], [4, text("Background")]),
    { gracePeriodSeconds: -1, propagationPolicy: "Background" },
  ],
  [
    "a lease with microseconds",
    "coordination.k8s.io/v1",
    "Lease",
    message(meta("n"), [
      2,
      message([1, text("n")], [2, 40n], [4, time(1_700_000_000n, 1_234_567n)]),
    ]),
    {
      metadata: { name: "n" },
      spec: {
        holderIdentity: "n",
        leaseDurationSeconds: 40,
        renewTime: "2023-11-14T22:13:20.001234Z",
      },
    },
  ],
  [
    "a service of which the ports leave the target to the server",
    "v1",
    "Service",
    message(
      [
        2,
        message(
          [1, message([3, 80n], [4, message([1, 0n], [2, 0n], [3, text("")])])],
          [14, message([1, message([1, 60n])])],
        ),
      ],
      [99, text("from the future")],
    ),
    {
      spec: { ports: [{ port: 80 }], sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } } },
    },
  ],
];

describe("a protobuf body", () => {
  it.each(RECORDED)("of kubectl %s is the object kubectl sends as JSON", (_, hex, expected) => {
    expect(decodeProtobuf(Buffer.from(hex, "hex"))).toEqual(expected);
  });

  it.each(BUILT)("decodes %s", (_, apiVersion, kind, raw, expected) => {
    const body = envelope(apiVersion, kind, raw);
    expect(decodeProtobuf(body)).toEqual({ apiVersion, kind, ...expected });
  });

  it("keeps __proto__ as a key like any other", () => {
    const entry = message([1, text("__proto__")], [2, text("x")]);
    const body = envelope("v1", "ConfigMap", message([2, entry]));
    const { data } = decodeProtobuf(body) as { data: object };
    expect(Object.entries(data)).toEqual([["__proto__", "x"]]);
    expect(Object.getPrototypeOf(data)).toBe(Object.prototype);
  });

  it("skips fields of a fixed size", () => {
    const raw = Buffer.concat([Buffer.alloc(9, 0x51), Buffer.alloc(5, 0x55), message(meta("a"))]);
    expect(decodeProtobuf(envelope("v1", "Secret", raw))).toMatchObject({
      metadata: { name: "a" },
    });
  });
});

const notRead = "which is not read here - accepted media types include: application/json";
const malformed = "400 the body of the request is not Kubernetes protobuf";

describe("a protobuf body is refused", () => {
  it.each<[string, Buffer, string]>([
    [
      "for a kind that is not in the table",
      envelope("v1", "Pod", message(meta("p"))),
      `415 the body of the request is v1 Pod in application/vnd.kubernetes.protobuf, ${notRead}`,
    ],
    [
      "when it wraps another encoding",
      envelope("v1", "Secret", text("{}"), [4, text("application/json")]),
      `415 the body of the request is v1 Secret in application/json, ${notRead}`,
    ],
    ["without the prefix", text('{"kind":"Pod"}'), `${malformed}: it has not the prefix k8s`],
    [
      "without a kind",
      envelope("v1", "", message()),
      `${malformed}: it has no apiVersion and kind`,
    ],
    [
      "when it is cut off",
      Buffer.concat([text("k8s\0"), Buffer.from([0x12, 0x05])]),
      `${malformed}: unexpected EOF`,
    ],
    [
      "for a number that never ends",
      Buffer.concat([text("k8s\0"), Buffer.alloc(20, 0xff)]),
      `${malformed}: integer overflow`,
    ],
    [
      "for field number 0",
      Buffer.concat([text("k8s\0"), Buffer.from([0x00, 0x00])]),
      `${malformed}: a field has an impossible number`,
    ],
    [
      "for a group",
      Buffer.concat([text("k8s\0"), Buffer.from([0x0b])]),
      `${malformed}: there is no wire type 3`,
    ],
    [
      "for a number where there is text",
      envelope("v1", "Secret", message([3, 1n])),
      `${malformed}: type has no length`,
    ],
    [
      "for text where there is a number",
      envelope("v1", "Secret", message([5, text("x")])),
      `${malformed}: immutable is not a number`,
    ],
    [
      "for a time after year 9999",
      envelope("v1", "Event", message([6, time(1n << 50n)])),
      `${malformed}: a time is out of range`,
    ],
    [
      "for fields that are not JSON",
      envelope("v1", "Secret", message([1, message([17, message([7, message([1, text("{")])])])])),
      `${malformed}: fieldsV1 is not JSON`,
    ],
  ])("%s", (_, body, expected) => {
    expect(refusal(body)).toBe(expected);
  });

  it("with a status whatever the bytes are", () => {
    const kinds = fc.constantFrom("ConfigMap", "Event", "Service", "Namespace", "DeleteOptions");
    const bytes = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array));
    const recorded = fc.constantFrom(...RECORDED).map(([, hex]) => Buffer.from(hex, "hex"));
    const damaged = fc
      .tuple(recorded, fc.nat(), fc.integer({ min: 0, max: 255 }), fc.nat())
      .map(([body, at, byte, length]) => {
        const copy = Buffer.from(body);
        copy[at % copy.length] = byte;
        return copy.subarray(0, length % (2 * copy.length));
      });
    const hostile = fc.oneof(
      bytes,
      bytes.map((body) => Buffer.concat([text("k8s\0"), body])),
      fc.tuple(kinds, bytes).map(([kind, raw]) => envelope("v1", kind, raw)),
      damaged,
    );
    fc.assert(
      fc.property(hostile, (body) => {
        expect(refusal(body)).toMatch(/^(\{"apiVersion"|400 |415 )/);
      }),
      { numRuns: 2000 },
    );
  });
});
