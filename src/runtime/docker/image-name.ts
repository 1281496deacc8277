/**
 * Whether a text is an image reference, by the grammar of the distribution project. Checked before the Engine is
 * asked: dockerode follows redirects that a malformed name in a URL provokes, and fails where nobody can catch it.
 */

import { LongshoreError } from "../../core/errors.ts";

const COMPONENT = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const DOMAIN_PART = "(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])";
const DOMAIN = `(?:${DOMAIN_PART}(?:\\.${DOMAIN_PART})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?`;
const TAG = "[\\w][\\w.-]{0,127}";
const DIGEST = "[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}";
const REFERENCE = new RegExp(
  `^(?:${DOMAIN}/)?${COMPONENT}(?:/${COMPONENT})*(?::${TAG})?(?:@${DIGEST})?$`,
);
const IMAGE_ID = /^(?:sha256:)?[0-9a-f]{64}$/;
const MAX_NAME = 255;

/** Throws ImageInvalidName in the kubelet's words. */
export function checkImageName(ref: string): void {
  const name = ref.split("@")[0] ?? "";
  if (IMAGE_ID.test(ref) || (REFERENCE.test(ref) && name.length <= MAX_NAME)) return;
  const isUpper = /[A-Z]/.test(name) && REFERENCE.test(ref.toLowerCase());
  throw new LongshoreError(
    "ImageInvalidName",
    `couldn't parse image name "${ref}": ${isUpper ? "invalid reference format: repository name must be lowercase" : "invalid reference format"}`,
  );
}
