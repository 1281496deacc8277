import { describe, expect, it } from "vitest";
import { readHandlers } from "../../../../src/runtime/docker/handlers.ts";

const FEATURES = "org.opencontainers.runtime-spec.features";
const runtime = (...mountOptions: string[]) => ({
  status: { [FEATURES]: JSON.stringify({ mountOptions }) },
});
const NEW = {
  ...{ DefaultRuntime: "runc", KernelVersion: "6.1.0-test" },
  Runtimes: { runc: runtime("ro", "rro"), crun: runtime("ro") },
};

describe("the runtimes of an Engine", () => {
  it("are told by name, the default one first and without", () => {
    expect(readHandlers(NEW, "1.45")).toEqual([
      { name: "", recursiveReadOnlyMounts: true },
      { name: "crun", recursiveReadOnlyMounts: false },
      { name: "runc", recursiveReadOnlyMounts: true },
    ]);
  });

  it.each([
    ["an Engine before 25", NEW, "1.43"],
    ["a kernel before 5.12", { ...NEW, KernelVersion: "5.10.0-28-amd64" }, "1.45"],
    ["a runtime that cannot", { ...NEW, DefaultRuntime: "crun" }, "1.45"],
    ["a runtime that says nothing of itself", { ...NEW, Runtimes: { runc: {} } }, "1.45"],
    [
      "a runtime that says what nobody understands",
      { ...NEW, Runtimes: { runc: { status: { [FEATURES]: "?" } } } },
      "1.45",
    ],
    ["an Engine that tells nothing", {}, "1.45"],
  ])("cannot mount recursively read-only with %s", (_sentence, info, version) => {
    expect(readHandlers(info, version)[0]).toEqual({ name: "", recursiveReadOnlyMounts: false });
  });
});
