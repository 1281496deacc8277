/** A file that need not be there, as text: empty without it. Other errors are thrown as Node has them. */

import { readFile } from "node:fs/promises";

export async function readOptional(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "";
    throw error;
  }
}
