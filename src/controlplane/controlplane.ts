/**
 * The embedded control plane put together: certificates, store, extensions, server. No decisions. Called by
 * cli/up.ts and by tests. For trying and developing; production is a genuine control plane.
 */

import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import type { Logger } from "../core/logger.ts";
import { startExpiry } from "./expiry.ts";
import type { ClientCredentials, Extend } from "./extension.ts";
import { API_SERVER_NAMES, Pki, writeKubeconfig } from "./pki.ts";
import { ApiServer } from "./server.ts";
import { Store } from "./store.ts";

export interface ControlPlaneOptions {
  readonly dir: string;
  readonly address: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly clock: Clock;
  readonly random: () => number;
  readonly randomUid: () => string;
  readonly log: Logger;
  readonly extraSans?: readonly string[];
  readonly extend?: Extend;
}

export interface ControlPlane {
  readonly url: string;
  readonly caFile: string;
  readonly adminKubeconfig: string;
  readonly kubeletClient: ClientCredentials;
  readonly store: Store;
  issueKubeconfig(user: string, groups: readonly string[], path: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { clock, random, randomUid, log, address } = options;
  const pkiDir = join(options.dir, "pki");
  const pki = new Pki({ dir: pkiDir, clock });
  const authority = await pki.ca();
  const ca = authority.cert;
  const sans = [...new Set([...API_SERVER_NAMES, address, ...(options.extraSans ?? [])])];
  const serving = await pki.issue({ file: "apiserver", commonName: "kube-apiserver", sans });
  const name = "kube-apiserver-kubelet-client";
  const client = await pki.issue({
    file: name,
    commonName: name,
    organizations: ["system:masters"],
  });
  const kubeletClient = { ca, ...client };
  const store = new Store({ path: join(options.dir, "store.db"), clock, randomUid, log });
  store.open();
  const extensions =
    options.extend?.({ pkiDir, store, clock, random, randomUid, log, kubeletClient, authority }) ??
    {};
  const expiry = startExpiry({ store, clock });
  const server = new ApiServer({ ...options, ca, serving, store, extensions });
  const port = await server.start();
  const url = `https://${address}:${port}`;
  const issueKubeconfig = async (
    user: string,
    groups: readonly string[],
    path: string,
  ): Promise<void> => {
    const file = `client-${user.replaceAll(/[^a-z0-9.-]/gi, "_")}`;
    const pair = await pki.issue({ file, commonName: user, organizations: groups });
    writeKubeconfig(path, { server: url, ca, user, ...pair });
  };
  const adminKubeconfig = join(options.dir, "admin.kubeconfig");
  await issueKubeconfig("kubernetes-admin", ["system:masters"], adminKubeconfig);
  const stop = async (): Promise<void> => {
    expiry.cancel();
    await server.stop();
    store.close();
  };
  return { url, caFile: pki.caFile, adminKubeconfig, kubeletClient, store, issueKubeconfig, stop };
}
