/** PEM as Go reads and writes it: blocks found wherever they stand, headers and what is between them dropped. Pure. */

const BLOCK = /-----BEGIN ([^-\n]+)-----\s*\n([\s\S]*?)-----END \1-----/g;
const HEADERS = /^(?:[^\n:]+:[^\n]*\n)+\s*\n/;
const LINE = /.{1,64}/g;

/** The content of every block, DER. */
export function readPem(text: string): readonly Buffer[] {
  return [...text.matchAll(BLOCK)].map(([, , body = ""]) =>
    Buffer.from(body.replace(HEADERS, ""), "base64"),
  );
}

export function writePem(label: string, blocks: readonly Buffer[]): Buffer {
  const texts = blocks.map((der) => {
    const lines = der.toString("base64").match(LINE) ?? [];
    return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
  });
  return Buffer.from(texts.join(""));
}
