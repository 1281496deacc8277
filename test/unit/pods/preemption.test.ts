import { describe, expect, test } from "vitest";
import type { Pod } from "../../../src/api/types.ts";
import { computeAdmission } from "../../../src/pods/admission/admission.ts";
import { makePod } from "./support.ts";

const CRITICAL = 2_000_000_000;

function podOf(uid: string, memory: string, more: Partial<Pod["spec"]> = {}, limits = {}): Pod {
  const requests = memory === "" ? {} : { memory };
  const containers = [{ name: "c", resources: { requests, limits } }];
  return makePod({ containers, ...more }, { uid });
}

const bestEffort = (uid: string): Pod => podOf(uid, "");
const burstable = (uid: string, memory: string): Pod => podOf(uid, memory);
const guaranteed = (uid: string, memory: string): Pod => podOf(uid, "", {}, { cpu: "1m", memory });
const critical = (uid: string, memory: string): Pod => podOf(uid, memory, { priority: CRITICAL });

function admit(pod: Pod, active: readonly Pod[], pods = 10): string {
  const node = {
    ...{ name: "n", labels: {}, taints: [], hasAppArmor: false, allowedUnsafeSysctls: [] },
    allocatable: { cpu: 1000, memory: 100, pods },
  };
  const admission = computeAdmission({ pod, node, active });
  if (admission.kind === "refused") return admission.verdict.reason;
  return admission.preempted.map(({ metadata }) => metadata.uid).join(" ");
}

describe("a critical pod", () => {
  test.each<readonly [string, Pod, readonly Pod[], string]>([
    ["disturbs nobody where it fits", critical("c", "50"), [burstable("a", "50")], ""],
    ["takes the place of another", critical("c", "60"), [burstable("a", "50")], "a"],
    [
      "is refused where that is not enough",
      critical("c", "101"),
      [burstable("a", "50")],
      "OutOfmemory",
    ],
    [
      "is refused where only critical pods are",
      critical("c", "60"),
      [critical("a", "50")],
      "OutOfmemory",
    ],
    [
      "takes the one that is just enough",
      critical("c", "40"),
      [burstable("a", "10"), burstable("b", "50"), burstable("d", "40")],
      "d",
    ],
    [
      "takes a burstable pod before a guaranteed one",
      critical("c", "40"),
      [guaranteed("g", "50"), burstable("b", "50")],
      "b",
    ],
    [
      "takes a guaranteed one where the others are not enough",
      critical("c", "80"),
      [guaranteed("g", "50"), burstable("b", "40")],
      "b g",
    ],
    [
      "that is ordinary takes nobody's place",
      podOf("c", "60"),
      [burstable("a", "50")],
      "OutOfmemory",
    ],
  ])("%s", (_sentence, pod, active, expected) => {
    expect(admit(pod, active)).toBe(expected);
  });

  test("takes the place of a best effort pod among too many", () => {
    expect(admit(critical("c", "1"), [burstable("b", "50"), bestEffort("e")], 2)).toBe("e");
  });

  test("that is static counts as critical, and gives way to none", () => {
    const annotations = { "kubernetes.io/config.source": "file" };
    const file = makePod(critical("s", "60").spec, { uid: "s", annotations });
    expect(admit(file, [burstable("a", "50")])).toBe("a");
    expect(admit(critical("c", "50"), [file])).toBe("OutOfmemory");
  });
});
