import { describe, expect, it } from "vitest";
import type { Container, Pod } from "../../../src/api/types.ts";
import { computeSecurity, needsImageUser } from "../../../src/runtime/security.ts";

type OfPod = NonNullable<Pod["spec"]["securityContext"]>;
type OfContainer = NonNullable<Container["securityContext"]>;

function parts(ofPod: OfPod, ofContainer: OfContainer): readonly [Pod, Container] {
  const container: Container = { name: "web", securityContext: ofContainer };
  const pod: Pod = {
    ...{ apiVersion: "v1", kind: "Pod" },
    metadata: { name: "p", namespace: "n", uid: "u", resourceVersion: "1" },
    spec: { containers: [container], securityContext: ofPod },
  };
  return [pod, container];
}

const compute = (ofPod: OfPod, ofContainer: OfContainer, imageUser = "") =>
  computeSecurity(...parts(ofPod, ofContainer), imageUser);

const WHERE = '(pod: "p_n(u)", container: web)';

describe("the security context", () => {
  it("says little when it is told nothing", () => {
    expect(compute({}, {})).toEqual({
      ...{ supplementalGroups: [], privileged: false, readOnlyRootfs: false, seccomp: "default" },
      ...{ noNewPrivileges: false, addCapabilities: [], dropCapabilities: [] },
    });
  });

  it.each<readonly [OfPod, OfContainer, string, string | undefined]>([
    [{ runAsNonRoot: true, runAsUser: 1 }, {}, "", undefined],
    [{ runAsNonRoot: true }, { runAsUser: 1 }, "root", undefined],
    [{ runAsNonRoot: true }, {}, "1000:0", undefined],
    [{ runAsNonRoot: true }, { runAsNonRoot: false }, "", undefined],
    [{}, {}, "", undefined],
    [{ runAsNonRoot: true }, { runAsUser: 0 }, "1", "container's runAsUser breaks non-root policy"],
    [{}, { runAsNonRoot: true }, "", "container has runAsNonRoot and image will run as root"],
    [{}, { runAsNonRoot: true }, "0:5", "container has runAsNonRoot and image will run as root"],
    [{}, { runAsNonRoot: true }, "00", "container has runAsNonRoot and image will run as root"],
    [
      { runAsNonRoot: true },
      {},
      "root:root",
      "container has runAsNonRoot and image has non-numeric user (root), cannot verify user is non-root",
    ],
  ])("of pod %j and container %j with the image's user %j: %s", (ofPod, ofContainer, user, why) => {
    const work = () => compute(ofPod, ofContainer, user);
    if (why === undefined) expect(work).not.toThrow();
    else expect(work).toThrow(`${why} ${WHERE}`);
  });

  it.each<readonly [OfPod, OfContainer, boolean]>([
    [{}, {}, false],
    [{ runAsGroup: 1 }, {}, true],
    [{ runAsGroup: 1 }, { runAsUser: 1 }, false],
    [{}, { runAsNonRoot: true }, true],
    [{ runAsNonRoot: true, runAsUser: 3 }, {}, false],
  ])("of pod %j and container %j needs the image's user: %s", (ofPod, ofContainer, expected) => {
    expect(needsImageUser(...parts(ofPod, ofContainer))).toBe(expected);
  });

  it("makes the group of the volumes one of every process, once", () => {
    const groups = compute({ fsGroup: 7, supplementalGroups: [5, 7] }, {}).supplementalGroups;
    expect(groups).toEqual(["7", "5"]);
  });

  it.each<readonly [OfPod, OfContainer, object]>([
    [{ seccompProfile: { type: "Unconfined" } }, {}, { seccomp: "unconfined" }],
    [
      { seccompProfile: { type: "Unconfined" } },
      { seccompProfile: { type: "Localhost", localhostProfile: "a/b.json" } },
      { seccomp: "localhost/a/b.json" },
    ],
    [{ appArmorProfile: { type: "Unconfined" } }, {}, { appArmor: "unconfined" }],
    [
      {},
      { appArmorProfile: { type: "Localhost", localhostProfile: "mine" } },
      { appArmor: "localhost/mine" },
    ],
    [{ seLinuxOptions: { level: "s0" } }, {}, { seLinux: { level: "s0" } }],
    [
      { seLinuxOptions: { level: "s0" } },
      { seLinuxOptions: { role: "r" } },
      { seLinux: { role: "r" } },
    ],
    [{}, { procMount: "Unmasked" }, { unmaskedProc: true }],
  ])("of pod %j and container %j asks for %j", (ofPod, ofContainer, expected) => {
    expect(compute(ofPod, ofContainer)).toMatchObject(expected);
  });

  it.each(["", "/etc/passwd", "../x", "a/../../x", "a/..", "a\0b"])(
    "refuses the seccomp profile %j, which is outside of its directory",
    (localhostProfile) => {
      const seccompProfile = { type: "Localhost", localhostProfile } as const;
      expect(() => compute({}, { seccompProfile })).toThrow("is not a path below the directory");
    },
  );
});
