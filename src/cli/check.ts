/** `longshore check`: prints each host check with its consequence and remedy; exit code 1 when one failed. */

import { styleText } from "node:util";
import { computeHostChecks, type HostCheck, readHostFacts } from "../node/host-checks.ts";
import { createDockerRuntime } from "../runtime/docker/docker-runtime.ts";
import { readCertificateChecks } from "./certificate-checks.ts";
import type { Host } from "./host.ts";
import { readProxyChecks } from "./proxy-checks.ts";

const SIGN = { ok: "ok      ", degraded: "degraded", failed: "FAILED  " } as const;
const COLOR = { ok: "green", degraded: "yellow", failed: "red" } as const;

/** One line for what works, three for what does not. */
export function formatChecks(checks: readonly HostCheck[]): string {
  return checks
    .map((check) => {
      const head = `${styleText(COLOR[check.state], SIGN[check.state])} ${check.name}: ${check.detail}\n`;
      if (check.state === "ok") return head;
      return `${head}           consequence: ${check.consequence}\n           remedy: ${check.remedy}\n`;
    })
    .join("");
}

export async function runCheck(
  host: Host,
  options: Readonly<Record<string, unknown>>,
): Promise<number> {
  const runtime = createDockerRuntime({
    endpoint: String(options.containerRuntimeEndpoint),
    clock: host.clock,
    random: host.random,
    log: host.createLogger("error"),
    exec: host.exec,
    // Nothing is started here.
    ...{ seccompDir: "", hasSysResource: false },
  });
  const facts = await readHostFacts(
    {
      exec: host.exec,
      isRoot: host.isRoot,
      root: "/",
      engine: () => runtime.info(host.stop),
    },
    host.stop,
  );
  const checks = [
    ...computeHostChecks(facts),
    ...(await readCertificateChecks(host, options)),
    ...(await readProxyChecks(host, options)),
  ];
  host.stdout(
    options.output === "json" ? `${JSON.stringify(checks, null, 2)}\n` : formatChecks(checks),
  );
  return checks.some((check) => check.state === "failed") ? 1 : 0;
}
