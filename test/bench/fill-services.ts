/**
 * Makes Services and EndpointSlices through the API server of the node it runs on; proxy-agent.ts starts it there.
 * `node fill-services.ts KUBECONFIG SERVICESxENDPOINTS FROM TO SHIFT`: a shift other than 0 moves the endpoints of those
 * that are there to other addresses.
 */

import { createApiClient } from "../../src/api/http-client.ts";
import { loadKubeconfig } from "../../src/api/kubeconfig.ts";
import { ENDPOINT_SLICES, SERVICES } from "../../src/api/resources.ts";
import { systemClock } from "../../src/core/clock.ts";
import { createExec } from "../../src/core/exec.ts";
import { createLogger } from "../../src/core/logger.ts";
import { sliceOf } from "../support/many-services.ts";

/** Requests at a time. */
const PARALLEL = 20;

const [kubeconfig = "", size = "", from = "0", to = "0", shift = "0"] = process.argv.slice(2);
const [, endpointCount = 1] = size.split("x").map(Number);
const { signal } = new AbortController();
const clock = systemClock;
const client = createApiClient({
  credentials: await loadKubeconfig(kubeconfig, { clock, exec: createExec(clock), env: {} }),
  log: createLogger({ level: "silent", pretty: false, write: () => undefined }),
  ...{ clock, random: Math.random, userAgent: "bench" },
});

async function make(n: number): Promise<void> {
  const { metadata, ...slice } = sliceOf(n, endpointCount, Number(shift));
  const { name, namespace, labels } = metadata;
  if (shift !== "0") {
    const patch = { endpoints: slice.endpoints };
    await client.patch(ENDPOINT_SLICES, { namespace, name, type: "merge" }, patch, signal);
    return;
  }
  const spec = { ports: [{ port: 80, targetPort: 8080 }] };
  await client.create(SERVICES, namespace, { metadata: { name: `service-${n}` }, spec }, signal);
  await client.create(ENDPOINT_SLICES, namespace, { metadata: { name, labels }, ...slice }, signal);
}

let next = Number(from);
const worker = async (): Promise<void> => {
  while (next < Number(to)) await make(next++);
};
await Promise.all(Array.from({ length: PARALLEL }, worker));
client.close();
