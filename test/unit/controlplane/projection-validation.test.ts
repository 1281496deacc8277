import { expect, test } from "vitest";
import type { Problems } from "../../../src/controlplane/field-errors.ts";
import { validateProjection } from "../../../src/controlplane/projection-validation.ts";

function problemsOf(source: object): readonly string[] {
  const problems: Problems = [];
  validateProjection({ path: "s", value: source }, problems);
  return problems.map(({ field, message }) => `${field}: ${message}`);
}

const token = (more: object) => ({ serviceAccountToken: { path: "token", ...more } });
const bundle = (more: object) => ({ clusterTrustBundle: { path: "ca", ...more } });
const certificate = (more: object) => ({
  podCertificate: { signerName: "a/b", keyType: "ED25519", keyPath: "key", ...more },
});

test.each<[source: object, problems: readonly string[]]>([
  [{ secret: { name: "s" } }, []],
  [token({ expirationSeconds: 600 }), []],
  [
    token({ expirationSeconds: 599 }),
    [
      "s.serviceAccountToken.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes",
    ],
  ],
  [
    token({ expirationSeconds: 2 ** 32 + 1 }),
    [
      "s.serviceAccountToken.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds",
    ],
  ],
  [token({ path: "" }), ["s.serviceAccountToken.path: Required value"]],
  [{ serviceAccountToken: [] }, [expect.stringContaining("must be of type object")]],
  [bundle({ name: "x" }), []],
  [bundle({ signerName: "a/b", labelSelector: {} }), []],
  [bundle({}), [expect.stringContaining("either name or signerName must be specified")]],
  [
    bundle({ name: "x", signerName: "a/b" }),
    [expect.stringContaining("only one of name and signerName may be used")],
  ],
  [certificate({ maxExpirationSeconds: 3600 }), []],
  [
    certificate({ keyType: "DSA" }),
    [expect.stringContaining('keyType: Unsupported value: "DSA": supported values: "RSA3072"')],
  ],
  [certificate({ keyType: undefined }), ["s.podCertificate.keyType: Required value"]],
  [certificate({ signerName: undefined }), ["s.podCertificate.signerName: Required value"]],
  [certificate({ keyPath: "" }), [expect.stringContaining("specify at least one of")]],
  [
    certificate({ maxExpirationSeconds: 60 }),
    [expect.stringContaining("must be between 3600 and 7862400")],
  ],
])("%j", (source, problems) => {
  expect(problemsOf(source)).toEqual(problems);
});
