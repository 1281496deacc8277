/** Which port a probe or a hook means: a number, or the name of one of its container's ports. Pure. */

import type { Container as ContainerSpec } from "../../api/types.ts";
import { LongshoreError } from "../../core/errors.ts";

/** Throws Unsupported. */
export function resolvePort(port: string | number, spec: ContainerSpec): number {
  const named = spec.ports?.find(({ name }) => name !== undefined && name === port);
  const number = named?.containerPort ?? Number(port);
  if (Number.isInteger(number) && number > 0 && number < 65536) return number;
  throw new LongshoreError("Unsupported", `couldn't find port: ${port} in container ${spec.name}`);
}
