/**
 * Takes the pod network out of the host: links, bridge, chains and jumps. Idempotent: what is not there is not
 * missed. Used by `longshore cleanup`, when no pod runs any more.
 */

import { LongshoreError } from "../core/errors.ts";
import { type Exec, execOk } from "../core/exec.ts";
import { createIptables } from "../core/iptables.ts";
import { BRIDGE, FORWARD_JUMP, POSTROUTING_JUMP, parseLinks } from "./bridge-commands.ts";
import { HOST_PORT_JUMPS } from "./host-port-rules.ts";

export async function removeNetwork(exec: Exec, signal: AbortSignal): Promise<void> {
  const show = { file: "ip", args: ["-o", "link", "show", "type", "veth"] };
  for (const link of [...parseLinks(await execOk(exec, show, signal)), BRIDGE]) {
    const result = await exec({ file: "ip", args: ["link", "del", link] }, signal);
    if (result.code !== 0 && !/Cannot find device/.test(result.stderr))
      throw new LongshoreError("NetworkFailed", `removing ${link}: ${result.stderr.trim()}`);
  }
  const iptables = createIptables({ exec, family: "IPv4" });
  const jumps = [FORWARD_JUMP, POSTROUTING_JUMP, ...HOST_PORT_JUMPS];
  for (const jump of jumps) await iptables.removeJump(jump, signal);
  for (const jump of jumps) {
    const chain = jump.to;
    if ((await iptables.list(jump.table, chain, signal)) === undefined) continue;
    const text = `*${jump.table}\n:${chain} - [0:0]\n-X ${chain}\nCOMMIT\n`;
    await iptables.restore(text, signal);
  }
}
