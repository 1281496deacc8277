/** PEM as Go reads and writes it: blocks found wherever they stand, headers and what is between them dropped. Pure. */

const BEGIN = /-----BEGIN ([^-\n]+)-----\s*\n/g;
const HEADERS = /^(?:[^\n:]+:[^\n]*\n)+\s*\n/;
const LINE = /.{1,64}/g;

/** The content of every block, DER. Nothing is read after a block without an end. */
export function readPem(text: string): readonly Buffer[] {
  const blocks: Buffer[] = [];
  let read = 0;
  for (const begin of text.matchAll(BEGIN)) {
    if (begin.index < read) continue;
    const start = begin.index + begin[0].length;
    const end = text.indexOf(`-----END ${begin[1]}-----`, start);
    if (end === -1) break;
    blocks.push(Buffer.from(text.slice(start, end).replace(HEADERS, ""), "base64"));
    read = end;
  }
  return blocks;
}

export function writePem(label: string, blocks: readonly Buffer[]): Buffer {
  const texts = blocks.map((der) => {
    const lines = der.toString("base64").match(LINE) ?? [];
    return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ""].join("\n");
  });
  return Buffer.from(texts.join(""));
}
