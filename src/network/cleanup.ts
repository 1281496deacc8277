/**
 * Takes the pod network out of the host: links, bridge, chains and jumps. Idempotent: what is not there is not
 * missed. Used by `longshore cleanup`, when no pod runs any more.
 */

import { LongshoreError } from "../core/errors.ts";
import { type Exec, execOk } from "../core/exec.ts";
import { createIptables } from "../core/iptables.ts";
import {
  BRIDGE,
  FORWARD_CHAIN,
  FORWARD_JUMP,
  POSTROUTING_CHAIN,
  POSTROUTING_JUMP,
  parseLinks,
} from "./bridge-commands.ts";

export async function removeNetwork(exec: Exec, signal: AbortSignal): Promise<void> {
  const show = { file: "ip", args: ["-o", "link", "show", "type", "veth"] };
  for (const link of [...parseLinks(await execOk(exec, show, signal)), BRIDGE]) {
    const result = await exec({ file: "ip", args: ["link", "del", link] }, signal);
    if (result.code !== 0 && !/Cannot find device/.test(result.stderr))
      throw new LongshoreError("NetworkFailed", `removing ${link}: ${result.stderr.trim()}`);
  }
  const iptables = createIptables({ exec, family: "IPv4" });
  const owned = [
    { jump: FORWARD_JUMP, chain: FORWARD_CHAIN },
    { jump: POSTROUTING_JUMP, chain: POSTROUTING_CHAIN },
  ];
  for (const { jump, chain } of owned) {
    await iptables.removeJump(jump, signal);
    if ((await iptables.list(jump.table, chain, signal)) === undefined) continue;
    const text = `*${jump.table}\n:${chain} - [0:0]\n-X ${chain}\nCOMMIT\n`;
    await iptables.restore(text, signal);
  }
}
