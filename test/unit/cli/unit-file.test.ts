import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const deploy = join(import.meta.dirname, "../../../deploy");

test.each(["longshore.service", "20-longshore.conf"])(
  "%s: an agent that cannot start yet, because the Engine is away, is started again without end",
  (name) => {
    const unit = readFileSync(join(deploy, name), "utf8");
    // systemd's own limit of 5 starts in 10 s would be reached with RestartSec=1.
    expect(unit).toMatch(/^\[Unit\][^[]*^StartLimitIntervalSec=0$/m);
    expect(unit).toMatch(/^Restart=always$/m);
  },
);
