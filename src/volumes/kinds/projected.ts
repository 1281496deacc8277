/**
 * projected volumes: files of several sources merged, a later source winning where paths meet. Collects through
 * FileSources, which the volume manager provides; all failures of a volume are reported together, as upstream does.
 */

import type { Volume } from "../../api/types.ts";
import { hasCode, LongshoreError, messageOf } from "../../core/errors.ts";
import type { VolumeOwner } from "../ownership.ts";
import type { Credentials, PodCertificateSource } from "../pod-certificates.ts";
import type { DownwardItem } from "./downward-api.ts";
import { DEFAULT_MODE, type KeyedSource, type NamedFile } from "./keyed-files.ts";
import type { TrustBundleSource } from "./trust-bundle.ts";

/** Reads what the files are made of. Each throws VolumeNotReady, VolumeInvalid or Api* errors. */
export interface FileSources {
  configMap(source: Omit<KeyedSource, "what">, name: string): Promise<readonly NamedFile[]>;
  secret(source: Omit<KeyedSource, "what">, name: string): Promise<readonly NamedFile[]>;
  downwardApi(items: readonly DownwardItem[], defaultMode: number): readonly NamedFile[];
  token(audience: string | undefined, expirationSeconds: number): Promise<string>;
  trustAnchors(source: TrustBundleSource): Promise<Buffer>;
  /** `place` names the source in the pod. */
  podCertificate(place: string, source: PodCertificateSource): Promise<Credentials>;
}

type ProjectedSource = NonNullable<NonNullable<Volume["projected"]>["sources"]>[number];

/** The API server's default. */
const TOKEN_SECONDS = 3600;
/** Where it is known who is to read it; a group's right to read is added to it. */
const OWN_MODE = 0o600;

/** `volume` is the name of the volume. */
export async function collectProjected(
  volume: string,
  source: NonNullable<Volume["projected"]>,
  files: FileSources,
  owner: Pick<VolumeOwner, "user" | "group"> = {},
): Promise<readonly NamedFile[]> {
  const defaultMode = source.defaultMode ?? DEFAULT_MODE;
  const collected = await Promise.allSettled(
    (source.sources ?? []).map((one, index) =>
      collectOne(one, { place: `${volume}/${index}`, defaultMode, files, owner }),
    ),
  );
  const failures = collected.flatMap((one) => (one.status === "rejected" ? [one.reason] : []));
  if (failures.length === 1) throw failures[0];
  if (failures.length > 1) {
    const code = failures.some((failure) => hasCode(failure, "VolumeInvalid"))
      ? "VolumeInvalid"
      : "VolumeNotReady";
    throw new LongshoreError(code, `[${failures.map(messageOf).join(", ")}]`, {
      cause: failures[0],
    });
  }
  return collected.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
}

interface Collecting {
  readonly place: string;
  readonly defaultMode: number;
  readonly files: FileSources;
  readonly owner: Pick<VolumeOwner, "user" | "group">;
}

async function collectOne(
  one: ProjectedSource,
  { place, defaultMode, files, owner: { user, group } }: Collecting,
): Promise<readonly NamedFile[]> {
  const own = (path: string, data: Buffer): NamedFile => {
    const mode = user === undefined && group === undefined ? defaultMode : OWN_MODE;
    return [path, { data, mode, ...(user === undefined ? {} : { uid: user }) }];
  };
  if (one.configMap !== undefined) {
    const { name = "", items, optional = false } = one.configMap;
    return files.configMap({ items, optional, defaultMode }, name);
  }
  if (one.secret !== undefined) {
    const { name = "", items, optional = false } = one.secret;
    return files.secret({ items, optional, defaultMode }, name);
  }
  if (one.downwardAPI !== undefined)
    return files.downwardApi(one.downwardAPI.items ?? [], defaultMode);
  if (one.serviceAccountToken !== undefined) {
    const { path, audience, expirationSeconds = TOKEN_SECONDS } = one.serviceAccountToken;
    return [own(path, Buffer.from(await files.token(audience, expirationSeconds)))];
  }
  if (one.clusterTrustBundle !== undefined)
    return [own(one.clusterTrustBundle.path, await files.trustAnchors(one.clusterTrustBundle))];
  if (one.podCertificate !== undefined) {
    const { credentialBundlePath, keyPath, certificateChainPath } = one.podCertificate;
    const { key, chain } = await files.podCertificate(place, one.podCertificate);
    return [
      ...(credentialBundlePath ? [own(credentialBundlePath, Buffer.concat([key, chain]))] : []),
      ...(keyPath ? [own(keyPath, key)] : []),
      ...(certificateChainPath ? [own(certificateChainPath, chain)] : []),
    ];
  }
  const kind = Object.keys(one)[0] ?? "empty source";
  throw new LongshoreError("VolumeInvalid", `projected source ${kind} is not supported`);
}
