/** The kubectl of this machine: the one on PATH, and those of other versions beside it. */

import { existsSync, realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";

export function findKubectls(): readonly string[] {
  const onPath = (process.env.PATH ?? "")
    .split(delimiter)
    .map((dir) => join(dir, "kubectl"))
    .find((path) => existsSync(path));
  if (onPath === undefined) return [];
  const beside = dirname(realpathSync(onPath));
  const others = ["1.27", "1.29", "1.31", "1.33"].map((it) => join(beside, `kubectl.${it}`));
  return [onPath, ...others.filter((path) => existsSync(path))];
}
