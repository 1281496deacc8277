/** Builders for the tests of pods: one base pod, one base snapshot, one sandbox, one container instance. */

import type { Pod } from "../../../src/api/types.ts";
import { containersOf } from "../../../src/pods/containers.ts";
import type { PodSnapshot } from "../../../src/pods/snapshot.ts";
import type { Container, Sandbox } from "../../../src/runtime/runtime.ts";

export const NOW = Date.parse("2026-01-01T00:10:00Z");
export const IDENTITY = { namespace: "ns", name: "p", uid: "u1" };
const HASH = "hash";

export function makePod(spec: Partial<Pod["spec"]> = {}, metadata: object = {}): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...IDENTITY, resourceVersion: "1", generation: 1, ...metadata },
    spec: { containers: [{ name: "web", image: "web:1" }], ...spec },
  };
}

export function makeSandbox(fields: Partial<Sandbox> = {}): Sandbox {
  return {
    id: "s0",
    pod: IDENTITY,
    attempt: 0,
    state: "ready",
    hostNetwork: false,
    ips: ["10.0.0.2"],
    hostPorts: [],
    pid: 10,
    createdAt: NOW - 60_000,
    annotations: {},
    ...fields,
  };
}

export function makeContainer(fields: Partial<Container> = {}): Container {
  const { name = "web", attempt = 0, state = "running" } = fields;
  return {
    id: `${name}-${attempt}`,
    pod: IDENTITY,
    name,
    kind: "app",
    attempt,
    specHash: HASH,
    sandboxId: "s0",
    image: `${name}:1`,
    imageId: "sha256:abc",
    state,
    pid: state === "running" ? 11 : 0,
    createdAt: NOW - 50_000,
    startedAt: state === "created" ? 0 : NOW - 50_000,
    finishedAt: state === "exited" ? NOW - 5_000 : 0,
    exitCode: 0,
    oomKilled: false,
    error: "",
    annotations: {},
    resources: { cpuShares: 2 },
    ...fields,
  };
}

/** A pod that runs as it should: one sandbox, one container `web`. */
export function makeSnapshot(fields: Partial<PodSnapshot> = {}): PodSnapshot {
  const pod = fields.pod ?? makePod();
  const specs = containersOf(pod.spec).map(({ spec }) => spec);
  return {
    pod,
    allocation: undefined,
    resizePending: undefined,
    resizeFailure: undefined,
    phase: "sync",
    now: NOW,
    observed: { sandboxes: [makeSandbox()], containers: [makeContainer()] },
    previous: {},
    hostIps: ["192.0.2.1"],
    hasRecursiveReadOnly: false,
    probes: new Map(),
    operations: new Map(),
    endingSince: undefined,
    specHashes: new Map(specs.map(({ name }) => [name, HASH])),
    images: new Map(
      specs.map(({ name }) => [name, { kind: "present", imageId: "sha256:abc" } as const]),
    ),
    startFailures: new Map(),
    backoff: new Map(),
    replaced: new Set(),
    messages: new Map(),
    volumes: { kind: "ready" },
    sandboxRetryAt: 0,
    startTime: NOW - 60_000,
    verdict: undefined,
    isApiGone: false,
    isStatusWritten: true,
    isDeleteSent: false,
    ...fields,
  };
}
