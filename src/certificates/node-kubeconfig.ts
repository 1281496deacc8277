/**
 * The kubeconfig that a node which has bootstrapped leaves at --kubeconfig, in the kubelet's words: the cluster of the
 * bootstrap kubeconfig, and the certificate directory's current certificate as its user. Called by
 * agent-certificates.ts.
 */

import { mkdir, readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { dump, load } from "js-yaml";
import { replaceFile } from "../core/replace-file.ts";

interface Kubeconfig {
  readonly "current-context"?: string;
  readonly contexts?: readonly {
    readonly name?: string;
    readonly context?: { readonly cluster?: string; readonly namespace?: string };
  }[];
  readonly clusters?: readonly {
    readonly name?: string;
    readonly cluster?: Readonly<Record<string, unknown>>;
  }[];
}

/** `bootstrap` is a kubeconfig that has been loaded before. Mode 0600, replaced in one step. */
export async function writeNodeKubeconfig(
  path: string,
  bootstrap: string,
  certificate: string,
): Promise<void> {
  const given = load(await readFile(bootstrap, "utf8")) as Kubeconfig;
  const context = given.contexts?.find(({ name }) => name === given["current-context"])?.context;
  const cluster = given.clusters?.find(({ name }) => name === context?.cluster)?.cluster ?? {};
  const authority = cluster["certificate-authority"];
  const content = {
    apiVersion: "v1",
    clusters: [
      {
        cluster:
          typeof authority === "string" && authority !== ""
            ? { ...cluster, "certificate-authority": resolve(dirname(bootstrap), authority) }
            : cluster,
        name: "default-cluster",
      },
    ],
    contexts: [
      {
        context: {
          cluster: "default-cluster",
          namespace: context?.namespace ?? "default",
          user: "default-auth",
        },
        name: "default-context",
      },
    ],
    "current-context": "default-context",
    kind: "Config",
    preferences: {},
    users: [
      {
        name: "default-auth",
        user: { "client-certificate": certificate, "client-key": certificate },
      },
    ],
  };
  await mkdir(dirname(path), { recursive: true });
  await replaceFile(path, dump(content, { lineWidth: -1 }));
}
