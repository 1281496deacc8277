/** References to the objects that the proxy's events are about. */

import type { InvolvedObject } from "../api/events.ts";
import type { Service } from "../api/types.ts";

export function involvedService({ metadata }: Service): InvolvedObject {
  const { namespace, name, uid, resourceVersion } = metadata;
  return { apiVersion: "v1", kind: "Service", namespace, name, uid, resourceVersion };
}
