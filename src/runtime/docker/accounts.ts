/**
 * The groups of a container's user as Kubernetes means them. The Engine adds those the image gives the user exactly where
 * no group is said; `Merge` wants them always and `Strict` never. So what the image says is read, once for each image,
 * from the first container made of it. Pure but for the reading. Called by containers.ts.
 */

import { text } from "node:stream/consumers";
import { extract } from "tar-stream";
import { hasCode } from "../../core/errors.ts";
import type { ContainerConfig } from "../runtime.ts";
import type { Engine } from "./engine.ts";

/** What an image says of users and groups. */
export interface Accounts {
  /** User of the image, with or without a group; empty = root. */
  readonly user: string;
  /** Texts of /etc/passwd and /etc/group. */
  readonly passwd: string;
  readonly group: string;
}

type Identity = Pick<ContainerConfig, "user" | "supplementalGroups">;

const MAX_BYTES = 1024 * 1024;

/** Whether what the image says makes a difference. */
export function needsAccounts({ user, hasStrictGroups }: ContainerConfig): boolean {
  const hasGroup = user?.includes(":") === true;
  return hasStrictGroups === true ? !hasGroup : hasGroup;
}

export function resolveGroups(config: ContainerConfig, accounts: Accounts): Identity {
  const [user = "", group] = (config.user ?? accounts.user).split(":");
  const users = accounts.passwd.split("\n").map((line) => line.split(":"));
  // A number is always the number, also where the image has a user of that name.
  const column = /^\d+$/.test(user) ? 2 : 0;
  const [name, , , primary = "0"] = users.find((fields) => fields[column] === (user || "0")) ?? [];
  const { supplementalGroups } = config;
  if (config.hasStrictGroups === true)
    return { user: `${user || "0"}:${group ?? primary}`, supplementalGroups };
  const own = accounts.group
    .split("\n")
    .map((line) => line.split(":"))
    .filter(([, , , members = ""]) => name !== undefined && members.split(",").includes(name))
    .flatMap(([, , gid = ""]) => (/^\d+$/.test(gid) ? [gid] : []));
  return {
    ...(config.user === undefined ? {} : { user: config.user }),
    supplementalGroups: [...new Set([...supplementalGroups, ...own])],
  };
}

/** @param id a container made of the image; it need not run. */
export async function readAccounts(
  engine: Engine,
  id: string,
  user: string,
  signal: AbortSignal,
): Promise<Accounts> {
  const read = (path: string): Promise<string> => readText(engine, id, path, signal);
  return { user, passwd: await read("/etc/passwd"), group: await read("/etc/group") };
}

/** Empty for what is missing, no plain file, or too long to be meant. */
async function readText(
  engine: Engine,
  id: string,
  path: string,
  signal: AbortSignal,
): Promise<string> {
  try {
    return await engine.call(`read ${path} of an image`, signal, async (docker) => {
      const archive = await docker.getContainer(id).getArchive({ path });
      const files = extract();
      archive.pipe(files);
      for await (const file of files) {
        const isPlain = file.header.type === "file" && (file.header.size ?? 0) <= MAX_BYTES;
        if (isPlain) return text(file);
        file.resume();
      }
      return "";
    });
  } catch (error) {
    if (!hasCode(error, "EngineNotFound")) throw error;
    return "";
  }
}
