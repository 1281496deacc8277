/**
 * fileKeyRef: one variable of a file that another container of the pod wrote into an emptyDir. The format is a strict
 * part of the shell's: NAME='value', the value over several lines if need be, comments and blank lines between. What
 * the pod wrote is not trusted: links and pipes are not followed, and the file has a limit. Called by env.ts.
 */

import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { LongshoreError, messageOf } from "../core/errors.ts";

const MAX_BYTES = 1024 * 1024;
const LINE = /^(?<name>[^=]+)=(?<value>.*)$/s;

/** The value of `key`; undefined when the file or the key is not there. Throws ContainerConfigInvalid. */
export async function readEnvFile(
  volumePath: string,
  path: string,
  key: string,
): Promise<string | undefined> {
  const text = await readInside(volumePath, path);
  return text === undefined ? undefined : findVariable(text, key);
}

/** The value of `key` in the text of an env file. What comes after it is not looked at, as upstream does not. */
export function findVariable(text: string, key: string): string | undefined {
  const lines = text.split(/\r?\n/);
  for (let at = 0; at < lines.length; at += 1) {
    const number = at + 1;
    const line = (lines[at] ?? "").replace(/^[ \t]+/, "");
    if (line === "" || line.startsWith("#")) continue;
    const { name, value } = LINE.exec(line)?.groups ?? {};
    if (name === undefined || value === undefined)
      throw invalid(
        `at line ${number}: ${line.includes("=") ? "empty variable name" : "missing '='"}`,
      );
    if (/[ \t]$/.test(name))
      throw invalid(`at line ${number}: whitespace before '=' is not allowed`);
    let found = "";
    if (!/^[ \t]/.test(value)) {
      let rest = value;
      if (!rest.startsWith("'"))
        throw invalid(`at line ${number}: value must be enclosed in single quotes`);
      while (!rest.includes("'", 1)) {
        at += 1;
        if (at >= lines.length) throw invalid(`starting at line ${number}: unclosed single quote`);
        rest += `\n${lines[at]}`;
      }
      const end = rest.indexOf("'", 1);
      if (!/^[ \t]*(#.*)?$/.test(rest.slice(end + 1)))
        throw invalid(`at line ${at + 1}: unexpected content after closing quote`);
      found = rest.slice(1, end);
    }
    if (name === key) return found;
  }
  return undefined;
}

function invalid(why: string): LongshoreError {
  return new LongshoreError("ContainerConfigInvalid", `invalid environment variable format ${why}`);
}

/** Opens one step of the path after the other below the one before, so that no link leads out of the volume. */
async function readInside(volumePath: string, path: string): Promise<string | undefined> {
  const steps = path.split("/").filter((step) => step !== "" && step !== ".");
  const last = steps.pop();
  if (last === undefined || steps.includes("..") || last === "..")
    throw new LongshoreError("ContainerConfigInvalid", `env file ${path} is no path in a volume`);
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK } = constants;
  const handles: FileHandle[] = [];
  const enter = async (at: string, flags: number): Promise<FileHandle> => {
    const handle = await open(at, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | flags);
    handles.push(handle);
    return handle;
  };
  try {
    let folder = await enter(volumePath, O_DIRECTORY);
    for (const step of steps)
      folder = await enter(`/proc/self/fd/${folder.fd}/${step}`, O_DIRECTORY);
    const file = await enter(`/proc/self/fd/${folder.fd}/${last}`, 0);
    if (!(await file.stat()).isFile()) throw new Error("it is no file");
    return await readWhole(file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    const message = `couldn't read env file ${path}: ${messageOf(error)}`;
    throw new LongshoreError("ContainerConfigInvalid", message, { cause: error });
  } finally {
    for (const handle of handles) await handle.close();
  }
}

async function readWhole(file: FileHandle): Promise<string> {
  const buffer = Buffer.alloc(MAX_BYTES + 1);
  const { bytesRead } = await file.read(buffer, 0, buffer.length, 0);
  if (bytesRead > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES} bytes`);
  return buffer.toString("utf8", 0, bytesRead);
}
