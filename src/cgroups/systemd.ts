/**
 * Slices of systemd, through busctl: transient units, as the kubelet's systemd driver makes them. Used by pod-cgroups.ts
 * where the Engine's cgroup driver is systemd, because systemd alone may then write below its own tree.
 */

import { type Exec, execOk } from "../core/exec.ts";
import { type CgroupValues, toProperties } from "./values.ts";

const MANAGER = [
  ...["call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1"],
  "org.freedesktop.systemd1.Manager",
];
/** Words of a property: name, type, value. */
const WORDS = 3;

export class SystemdSlices {
  readonly #exec: Exec;
  readonly #version: 1 | 2;

  constructor(exec: Exec, version: 1 | 2) {
    this.#exec = exec;
    this.#version = version;
  }

  /** Starts the slice with these values, or sets them where it runs. */
  async ensure(slice: string, values: CgroupValues, signal: AbortSignal): Promise<void> {
    const properties = toProperties(this.#version, values);
    const start = [...["DefaultDependencies", "b", "false"], ...properties];
    const made = await this.#exec(
      busctl("StartTransientUnit", [
        ...["ssa(sv)a(sa(sv))", slice, "replace"],
        ...[String(start.length / WORDS), ...start, "0"],
      ]),
      signal,
    );
    if (made.code === 0) return;
    const count = String(properties.length / WORDS);
    const words = ["sba(sv)", slice, "true", count, ...properties];
    await execOk(this.#exec, busctl("SetUnitProperties", words), signal);
  }

  /** A slice that does not run is as wanted. */
  async stop(slice: string, signal: AbortSignal): Promise<void> {
    await this.#exec(busctl("StopUnit", ["ss", slice, "replace"]), signal);
  }
}

function busctl(method: string, words: readonly string[]) {
  return { file: "busctl", args: [...MANAGER, method, ...words] };
}
