/** Every kubectl of this machine: the one on PATH, and the versions that lie beside it. */

import { existsSync, realpathSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";

const onPath = (process.env.PATH ?? "")
  .split(delimiter)
  .map((dir) => join(dir, "kubectl"))
  .find((path) => existsSync(path));
const beside = onPath === undefined ? "." : dirname(realpathSync(onPath));

export const localKubectls: readonly string[] = [
  ...(onPath === undefined ? [] : [onPath]),
  ...["1.27", "1.29", "1.31", "1.33"]
    .map((version) => join(beside, `kubectl.${version}`))
    .filter((path) => existsSync(path)),
];
