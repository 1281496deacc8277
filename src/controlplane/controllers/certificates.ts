/**
 * What kube-controller-manager does with certificate requests: approves those of nodes, signs what is approved for the
 * three signers of Kubernetes, and forgets old ones. Started by install.ts.
 */

import { formatTime } from "../../core/clock.ts";
import { approvalOf } from "../certificate-approval.ts";
import {
  API_CLIENT,
  KUBELET_CLIENT,
  KUBELET_SERVING,
  signerRefusal,
} from "../certificate-request.ts";
import { signRequest } from "../certificate-signer.ts";
import { isObject, type KubeObject, listAt, textAt } from "../objects.ts";
import type { KeyPair } from "../pki.ts";
import { CERTIFICATE_SIGNING_REQUESTS, NODES } from "../registry.ts";
import type { Store } from "../store.ts";
import { type Controller, type ControllerContext, createLoop } from "./loop.ts";

export interface CertificateControllerOptions {
  readonly ca: KeyPair;
  /** --cluster-signing-duration. */
  readonly signingDurationMs: number;
  /** What the API server is reached by. */
  readonly serverNames: readonly string[];
}

const SIGNERS = [KUBELET_CLIENT, KUBELET_SERVING, API_CLIENT];
/** How long a decided request is kept, and one that nobody decides (csrcleaner). */
const DECIDED_MS = 3_600_000;
const PENDING_MS = 24 * 3_600_000;

export function createCertificateController(
  context: ControllerContext,
  options: CertificateControllerOptions,
): Controller {
  const { store } = context;
  const keys = (): readonly string[] =>
    store.list(CERTIFICATE_SIGNING_REQUESTS).items.map(({ metadata }) => metadata.name);
  return createLoop(context, {
    name: "certificates",
    // Nodes too: a request may name an address that the Node has only later.
    types: [CERTIFICATE_SIGNING_REQUESTS, NODES],
    initialKeys: keys,
    keysOf: ({ resource, object }) => (resource === NODES ? keys() : [object.metadata.name]),
    sync: (name) => sync(context, options, name),
  });
}

async function sync(
  { store, clock }: ControllerContext,
  { ca, signingDurationMs, serverNames }: CertificateControllerOptions,
  name: string,
): Promise<number | undefined> {
  const request = store.get(CERTIFICATE_SIGNING_REQUESTS, undefined, name);
  if (request === undefined) return undefined;
  const age = clock.now() - Date.parse(request.metadata.creationTimestamp ?? "");
  const keepMs = isDecided(request) ? DECIDED_MS : PENDING_MS;
  if (age >= keepMs) {
    store.delete(CERTIFICATE_SIGNING_REQUESTS, undefined, name);
    return undefined;
  }
  if (!isDecided(request)) {
    const message = approvalOf(request, { nodes: store.list(NODES).items, serverNames });
    if (message !== undefined)
      addCondition(
        store,
        request,
        { type: "Approved", reason: "AutoApproved", message },
        clock.now(),
      );
  } else if (isToBeSigned(request)) {
    const refusal = signerRefusal(request);
    if (refusal === undefined) {
      const pem = await signRequest(request, ca, clock.now(), signingDurationMs);
      const certificate = Buffer.from(pem).toString("base64");
      setStatus(store, request, (status) => ({ ...status, certificate }));
    } else {
      const failure = { type: "Failed", reason: "SignerValidationFailure", message: refusal };
      addCondition(store, request, failure, clock.now());
    }
  }
  return keepMs - age;
}

function conditionTypes(request: KubeObject): readonly string[] {
  return listAt(request, "status", "conditions").map((it) => textAt(it, "type"));
}

function isDecided(request: KubeObject): boolean {
  return conditionTypes(request).some((type) => ["Approved", "Denied", "Failed"].includes(type));
}

function isToBeSigned(request: KubeObject): boolean {
  const types = conditionTypes(request);
  return (
    types.includes("Approved") &&
    !types.includes("Denied") &&
    !types.includes("Failed") &&
    textAt(request, "status", "certificate") === "" &&
    SIGNERS.includes(textAt(request, "spec", "signerName"))
  );
}

function addCondition(store: Store, request: KubeObject, condition: object, nowMs: number): void {
  const now = formatTime(nowMs);
  const times = { lastUpdateTime: now, lastTransitionTime: now };
  setStatus(store, request, (status) => ({
    ...status,
    conditions: [...listAt(status, "conditions"), { ...condition, status: "True", ...times }],
  }));
}

/** Nothing is written over what somebody decided meanwhile: the next turn sees it. */
function setStatus(
  store: Store,
  { metadata }: KubeObject,
  change: (status: Readonly<Record<string, unknown>>) => object,
): void {
  const current = store.get(CERTIFICATE_SIGNING_REQUESTS, undefined, metadata.name);
  if (current?.metadata.resourceVersion !== metadata.resourceVersion) return;
  store.update(CERTIFICATE_SIGNING_REQUESTS, undefined, metadata.name, (it) => ({
    ...it,
    status: change(isObject(it.status) ? it.status : {}),
  }));
}
