import { describe, expect, it } from "vitest";
import { checkImageName } from "../../../../src/runtime/docker/image-name.ts";

const DIGEST = `sha256:${"0a".repeat(32)}`;

describe("checkImageName", () => {
  it.each([
    "busybox",
    "busybox:1.36",
    "localhost:5000/a/b:1",
    "[fd00::1]:5000/a",
    "Upper.example/a__b/c-d.e",
    `busybox@${DIGEST}`,
    `busybox:1@${DIGEST}`,
    DIGEST,
    "0a".repeat(32),
  ])("takes %s", (ref) => {
    expect(() => checkImageName(ref)).not.toThrow();
  });

  it.each(["", "a b", "a:b:c", "/a", "a//b", "a:", "a@sha256:0", `a/${"b".repeat(255)}`, "../x"])(
    "refuses %j",
    (ref) => {
      expect(() => checkImageName(ref)).toThrow(
        `couldn't parse image name "${ref}": invalid reference format`,
      );
    },
  );

  it("says what is wrong with a name in capitals", () => {
    expect(() => checkImageName("Busybox")).toThrow("repository name must be lowercase");
  });
});
