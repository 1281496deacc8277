import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const unit = readFileSync(join(import.meta.dirname, "../../../deploy/longshore.service"), "utf8");

test("an agent that cannot start yet, because the Engine is away, is started again without end", () => {
  // systemd's own limit of 5 starts in 10 s would be reached with RestartSec=1.
  expect(unit).toMatch(/^\[Unit\][^[]*^StartLimitIntervalSec=0$/m);
  expect(unit).toMatch(/^Restart=always$/m);
});
