/**
 * The rows of `longshore check` about the node's certificates: until when they are valid, by what the agent's
 * configuration names and its certificate directory holds. A row is absent where the node has no such certificate.
 */

import { X509Certificate } from "node:crypto";
import { join } from "node:path";
import { loadKubeconfig } from "../api/kubeconfig.ts";
import { CertificateStore } from "../certificates/certificate-store.ts";
import { type Identity, identityOf, laterOf } from "../certificates/identity.ts";
import { formatTime } from "../core/clock.ts";
import { hasCode, messageOf } from "../core/errors.ts";
import { readOptional } from "../core/optional-file.ts";
import type { HostCheck } from "../node/host-checks.ts";
import type { Host } from "./host.ts";
import { readAgentFile } from "./proxy-client.ts";

/** The last part of a life: what renews itself has a successor by then. */
const LATE = 0.1;

type Flags = Readonly<Record<string, unknown>>;

export async function readCertificateChecks(
  host: Host,
  flags: Flags,
): Promise<readonly HostCheck[]> {
  try {
    return await readChecks(host, flags);
  } catch (error) {
    if (hasCode(error, "Aborted", "ConfigInvalid")) throw error;
    const row = { name: "certificates", state: "degraded", detail: `unknown: ${messageOf(error)}` };
    return [{ ...row, consequence: "not known", remedy: "run it as root" } as HostCheck];
  }
}

async function readChecks(host: Host, flags: Flags): Promise<readonly HostCheck[]> {
  const { file } = await readAgentFile(flags);
  const dir = String(file.certDir ?? join(String(file.rootDir ?? "/var/lib/longshore"), "pki"));
  const now = host.clock.now();
  const client = laterOf(
    await new CertificateStore(dir, "kubelet-client").load(),
    await identityIn(host, file.kubeconfig),
  );
  const signed = await new CertificateStore(dir, "kubelet-server").load();
  const servingFile = String(file.tlsCertFile ?? join(dir, "kubelet.crt"));
  const serving = file.serverTLSBootstrap === true && signed ? signed : await lifeIn(servingFile);
  return [
    ...(client === undefined
      ? []
      : [
          checkLife("client certificate", client, now, {
            consequence: "the API server refuses the node when it has ended",
            remedy:
              "see `longshore status` and `kubectl get csr`; give --bootstrap-kubeconfig to get another",
          }),
        ]),
    ...(serving === undefined
      ? []
      : [
          checkLife("serving certificate", serving, now, {
            consequence: "API servers that verify it read no logs and run no commands here",
            remedy: "replace tlsCertFile, or approve the node's request (kubectl get csr)",
          }),
        ]),
  ];
}

type Life = Pick<Identity, "notBefore" | "notAfter">;

export function checkLife(
  name: string,
  { notBefore, notAfter }: Life,
  nowMs: number,
  trouble: { readonly consequence: string; readonly remedy: string },
): HostCheck {
  const until = formatTime(notAfter);
  if (nowMs >= notAfter) return { name, state: "failed", detail: `ended at ${until}`, ...trouble };
  if (nowMs < notBefore) {
    const detail = `not valid before ${formatTime(notBefore)}`;
    return { name, state: "degraded", detail, ...trouble, remedy: "set the clock of this host" };
  }
  const isLate = notAfter - nowMs < (notAfter - notBefore) * LATE;
  if (isLate) return { name, state: "degraded", detail: `ends at ${until}`, ...trouble };
  return { name, state: "ok", detail: `until ${until}`, consequence: "", remedy: "" };
}

async function identityIn(host: Host, kubeconfig: unknown): Promise<Identity | undefined> {
  if (typeof kubeconfig !== "string" || kubeconfig === "") return undefined;
  try {
    const { tls } = await (await loadKubeconfig(kubeconfig, host)).current(host.stop);
    return identityOf(tls.cert ?? "", tls.key ?? "");
  } catch (error) {
    // The row about the proxy's credentials says what is wrong with it.
    if (hasCode(error, "Aborted")) throw error;
    return undefined;
  }
}

async function lifeIn(path: string): Promise<Life | undefined> {
  const pem = await readOptional(path);
  if (pem === "") return undefined;
  const { validFromDate, validToDate } = new X509Certificate(pem);
  return { notBefore: validFromDate.getTime(), notAfter: validToDate.getTime() };
}
