/**
 * Chooses the handler of a probe and gives it what it needs: host, port (by number or by name) and time-out.
 * Returns an outcome; throws LongshoreError when the probe cannot be run at all. Called by manager.ts.
 */

import type { Container as ContainerSpec, Probe } from "../../api/types.ts";
import type { Clock } from "../../core/clock.ts";
import { LongshoreError } from "../../core/errors.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { secondsOf } from "../probes.ts";
import type { ProbeOutcome } from "../verdict.ts";
import { probeExec } from "./exec.ts";
import { probeGrpc } from "./grpc.ts";
import { probeHttp } from "./http.ts";
import { httpTargetOf } from "./http-get.ts";
import { resolvePort } from "./port.ts";
import { probeTcp } from "./tcp.ts";

export interface ProbeContext {
  readonly runtime: Pick<Runtime, "execSync">;
  readonly clock: Clock;
  readonly podIp: string;
  readonly spec: ContainerSpec;
  readonly containerId: string;
}

export async function runProbe(
  probe: Probe,
  context: ProbeContext,
  signal: AbortSignal,
): Promise<ProbeOutcome> {
  const { runtime, clock, podIp, spec, containerId } = context;
  const timeoutMs = secondsOf(probe.timeoutSeconds, 1) * 1000;
  if (probe.exec !== undefined) {
    const command = probe.exec.command ?? [];
    return probeExec({ runtime, containerId, command, timeoutMs }, signal);
  }
  if (probe.httpGet !== undefined) {
    const target = httpTargetOf(probe.httpGet, spec, podIp);
    return probeHttp({ target, clock, timeoutMs }, signal);
  }
  if (probe.tcpSocket !== undefined) {
    const { host = "" } = probe.tcpSocket;
    const port = resolvePort(probe.tcpSocket.port, spec);
    return probeTcp({ host: host === "" ? podIp : host, port, clock, timeoutMs }, signal);
  }
  if (probe.grpc !== undefined) {
    const { port, service = "" } = probe.grpc;
    return probeGrpc({ host: podIp, port, service, clock, timeoutMs }, signal);
  }
  throw new LongshoreError("Unsupported", `missing probe handler for container ${spec.name}`);
}
