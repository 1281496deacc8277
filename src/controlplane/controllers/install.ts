/**
 * Joins everything around the API server: authorization, admission, the ways to the kubelets and the controllers.
 * Gives `extend` for startControlPlane, and starts and stops the controllers. No decisions.
 * Called by cli/up.ts and by tests.
 */

import { join } from "node:path";
import type { Node, PersistentVolume, Pod } from "../../api/types.ts";
import { LongshoreError } from "../../core/errors.ts";
import { createBootstrapTokens } from "../bootstrap-tokens.ts";
import type { Extend, ExtensionContext } from "../extension.ts";
import { createKubeletConnects } from "../kubelet-proxy.ts";
import { authorize } from "../node-authorizer.ts";
import type { KubeObject } from "../objects.ts";
import { API_SERVER_NAMES } from "../pki.ts";
import { NODES, PERSISTENT_VOLUMES, PODS } from "../registry.ts";
import { kubernetesServiceIp } from "../services.ts";
import { createAccountAuthenticator } from "../tokens/account-authenticator.ts";
import { issuerDocument } from "../tokens/issuer-documents.ts";
import { loadSigningKey } from "../tokens/signing-key.ts";
import { createTokenRequestHandler } from "../tokens/token-request.ts";
import { createAdmission, restrictNode } from "./admission.ts";
import { createCertificateController } from "./certificates.ts";
import { createEndpointSliceController } from "./endpointslices.ts";
import { ensureKubernetesService } from "./kubernetes-service.ts";
import type { Controller } from "./loop.ts";
import { createNamespaceController } from "./namespaces.ts";
import { createNodeController } from "./nodes.ts";
import { isReady } from "./placement.ts";
import { createPodGc } from "./pod-gc.ts";
import { createScheduler } from "./scheduler.ts";
import { createProtectionController } from "./volume-protection.ts";
import { createVolumeController } from "./volumes.ts";

export interface ControllerOptions {
  readonly serviceCidr: string;
  readonly clusterCidr: string;
  /** How long signed certificates are valid at most, a year. */
  readonly signingDurationMs?: number;
}

/** kube-controller-manager's --node-monitor-grace-period, and its quarantine of pods without a node. */
const NODE_GRACE_MS = 40_000;
const QUARANTINE_MS = 40_000;
/** Its --cluster-signing-duration. */
const YEAR_MS = 365 * 24 * 3_600_000;

export interface Installation {
  readonly extend: Extend;
  /** After startControlPlane, which calls `extend`. `address` is where pods reach the API server. */
  start(api: { readonly address: string; readonly port: number }): void;
  /** Resolves when the Node exists and is Ready; rejects with Aborted. */
  untilNodeReady(name: string, signal: AbortSignal): Promise<void>;
  stop(): Promise<void>;
}

export function installControllers(options: ControllerOptions): Installation {
  let context: ExtensionContext | undefined;
  let controllers: readonly Controller[] = [];
  return {
    extend(given) {
      context = given;
      const { store, clock, random, kubeletClient: credentials } = given;
      const serverUrl = `https://${kubernetesServiceIp(options.serviceCidr)}`;
      const key = loadSigningKey(join(given.pkiDir, "sa.key"));
      return {
        tokens: [createAccountAuthenticator({ ...given, key }), createBootstrapTokens(given)],
        documents: (path) => issuerDocument(path, key, serverUrl),
        authorize: (user, attributes) =>
          authorize(user, attributes, {
            podsOnNode: (name) => podsOnNode(given, name),
            claimOf: (volume) => claimOf(given, volume),
          }),
        admission: createAdmission({ store, clock, random, serviceCidr: options.serviceCidr }),
        connect: {
          ...createKubeletConnects({
            credentials,
            getNode: (name) => store.get(NODES, undefined, name),
          }),
          "serviceaccounts/token": createTokenRequestHandler({
            ...given,
            key,
            admit: (request) => restrictNode(store, request),
          }),
        },
      };
    },
    start(api) {
      const given = started(context);
      const serverIp = kubernetesServiceIp(options.serviceCidr);
      const serverNames = [...API_SERVER_NAMES, serverIp, api.address];
      controllers = createControllers(given, { ...options, serverNames });
      // Namespaces first: the others write into them.
      for (const controller of controllers) controller.start();
      ensureKubernetesService(given.store, { serviceCidr: options.serviceCidr, ...api });
    },
    untilNodeReady: (name, signal) => untilNodeReady(started(context), name, signal),
    async stop() {
      for (const controller of controllers.toReversed()) await controller.stop();
      controllers = [];
    },
  };
}

function started(context: ExtensionContext | undefined): ExtensionContext {
  if (context !== undefined) return context;
  throw new LongshoreError("Bug", "controllers started before the API server asked for them");
}

function untilNodeReady(
  { store }: ExtensionContext,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const isNowReady = (): boolean => {
    const node = store.get(NODES, undefined, name) as unknown as Node | undefined;
    return node !== undefined && isReady(node);
  };
  return new Promise((resolve, reject) => {
    if (isNowReady()) return resolve();
    const unsubscribe = store.subscribe(NODES, () => {
      if (!isNowReady()) return;
      unsubscribe();
      signal.removeEventListener("abort", onAbort);
      resolve();
    });
    const onAbort = (): void => {
      unsubscribe();
      reject(new LongshoreError("Aborted", `stopped before node ${name} was Ready`));
    };
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
  });
}

function createControllers(
  context: ExtensionContext,
  options: ControllerOptions & { readonly serverNames: readonly string[] },
): readonly Controller[] {
  return [
    createNamespaceController({ ...context, rootCa: context.kubeletClient.ca }),
    createNodeController(context, {
      clusterCidr: options.clusterCidr,
      gracePeriodMs: NODE_GRACE_MS,
    }),
    createScheduler(context),
    createEndpointSliceController(context),
    createVolumeController(context),
    createProtectionController(context),
    createCertificateController(context, {
      ca: context.authority,
      signingDurationMs: options.signingDurationMs ?? YEAR_MS,
      serverNames: options.serverNames,
    }),
    createPodGc(context, { quarantineMs: QUARANTINE_MS }),
  ];
}

function claimOf({ store }: ExtensionContext, name: string) {
  const volume = store.get(PERSISTENT_VOLUMES, undefined, name);
  return (volume as unknown as PersistentVolume | undefined)?.spec?.claimRef;
}

function podsOnNode({ store }: ExtensionContext, nodeName: string): readonly Pod[] {
  const isOnNode = (pod: KubeObject): boolean => (pod as unknown as Pod).spec.nodeName === nodeName;
  return store.list(PODS, undefined, isOnNode).items as unknown as readonly Pod[];
}
