/** The table of certificate signing requests, as the API server prints it. Pure; called by table.ts. */

import { humanDuration } from "./duration.ts";
import { type KubeObject, listAt, textAt } from "./objects.ts";
import {
  AGE,
  column,
  creationAge,
  NAME,
  NONE,
  numberAt,
  type TableView,
  textOr,
} from "./table-view.ts";

export const CERTIFICATE_SIGNING_REQUEST_VIEW: TableView = {
  columns: [
    NAME,
    AGE,
    column("SignerName", "The requested signer of the certificate."),
    column("Requestor", "Who made the request."),
    column("RequestedDuration", "How long the certificate is asked to be valid."),
    column("Condition", "What has been decided and done about the request."),
  ],
  cells: (request, nowMs) => {
    const seconds = numberAt(request, "spec", "expirationSeconds");
    return [
      request.metadata.name,
      creationAge(request, nowMs),
      textOr(NONE, request, "spec", "signerName"),
      textAt(request, "spec", "username"),
      seconds === 0 ? NONE : humanDuration(seconds * 1000),
      conditionOf(request),
    ];
  },
};

function conditionOf(request: KubeObject): string {
  const types = listAt(request, "status", "conditions").map((it) => textAt(it, "type"));
  const decision = ["Denied", "Approved"].find((type) => types.includes(type)) ?? "Pending";
  const failed = types.includes("Failed") ? ",Failed" : "";
  const issued = textAt(request, "status", "certificate") === "" ? "" : ",Issued";
  return decision + failed + issued;
}
