/**
 * `longshore cleanup`: removes everything Longshore made on this host, whether or not it runs properly: containers and
 * their sandboxes, mounts and directories, service rules, the pod network. Refuses while an agent runs. Each part is
 * tried even when another failed; the exit code is 1 then.
 */

import { rm } from "node:fs/promises";
import { join } from "node:path";
import { LongshoreError, messageOf } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { removeNetwork } from "../network/remove-network.ts";
import { removeProxyRules } from "../proxy/remove-rules.ts";
import { createDockerRuntime } from "../runtime/docker/docker-runtime.ts";
import { removeAllPodVolumes } from "../volumes/remove-all.ts";
import type { Host } from "./host.ts";
