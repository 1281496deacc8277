/**
 * The PodCertificateRequest of a pod on this node. API servers from 1.36 want an empty PKCS#10 request as the proof
 * that the key is ours, 1.35 the bare public key with a signature; each refuses the other's. Called by object-cache.ts.
 */

import type { ApiClient } from "../api/client.ts";
import { NODES, POD_CERTIFICATE_REQUESTS } from "../api/resources.ts";
import type { Pod } from "../api/types.ts";
import { hasCode, LongshoreError } from "../core/errors.ts";
import type { CertificateRequest } from "../volumes/volumes.ts";

interface Requesting {
  readonly client: Pick<ApiClient, "get" | "create">;
  readonly pod: Pod;
  /** The pod's service account. */
  readonly account: { readonly name: string; readonly uid: string };
}

/** The name of the new request. Throws Api* errors, and VolumeNotReady where the kind is not served. */
export async function createPodCertificateRequest(
  { client, pod, account }: Requesting,
  { proof, signerName, maxExpirationSeconds, userAnnotations }: CertificateRequest,
  signal: AbortSignal,
): Promise<string> {
  const { namespace, name, uid } = pod.metadata;
  const nodeName = pod.spec.nodeName ?? "";
  const node = await client.get(NODES, { name: nodeName }, signal);
  const create = async (proofFields: object): Promise<string> => {
    const created = await client.create(
      POD_CERTIFICATE_REQUESTS,
      namespace,
      {
        apiVersion: "certificates.k8s.io/v1beta1",
        kind: "PodCertificateRequest",
        metadata: {
          generateName: "req-",
          namespace,
          ownerReferences: [{ apiVersion: "v1", kind: "Pod", name, uid }],
        },
        spec: {
          ...{ signerName, podName: name, podUID: uid, nodeName, nodeUID: node.metadata.uid },
          ...{ serviceAccountName: account.name, serviceAccountUID: account.uid },
          ...(maxExpirationSeconds === undefined ? {} : { maxExpirationSeconds }),
          ...(userAnnotations === undefined ? {} : { unverifiedUserAnnotations: userAnnotations }),
          ...proofFields,
        },
      },
      signal,
    );
    return created.metadata.name;
  };
  try {
    return await create({ stubPKCS10Request: proof.pkcs10.toString("base64") });
  } catch (error) {
    if (hasCode(error, "ApiNotFound")) throw notServed(error);
    // 1.35 drops the field it does not know, and misses its own.
    if (!hasCode(error, "ApiInvalid") || !error.message.includes("pkixPublicKey")) throw error;
    return create({
      pkixPublicKey: proof.publicKey.toString("base64"),
      proofOfPossession: proof.possession.toString("base64"),
    });
  }
}

function notServed(cause: unknown): LongshoreError {
  const message =
    "the API server does not serve PodCertificateRequests (certificates.k8s.io/v1beta1)";
  return new LongshoreError("VolumeNotReady", message, { cause });
}
