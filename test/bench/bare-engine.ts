/**
 * The least that a pod costs on an Engine, without any agent: the calls for one sandbox and one container, in the two
 * ways there are. `bridge` is how cri-dockerd makes a sandbox (Docker's own network); `own` is how Longshore does, without
 * its plumbing. What bench.ts compares with.
 */

import { randomUUID } from "node:crypto";
import Docker from "dockerode";

const IMAGE = "busybox:latest";
const COMMAND = ["sleep", "36000"];

export type Kind = "bridge" | "own";

export interface BarePod {
  readonly sandbox: Docker.Container;
  readonly container: Docker.Container;
}

export class BareEngine {
  readonly #docker = new Docker({ socketPath: "/var/run/docker.sock" });
  #pause: string | undefined;

  /** The image of the sandbox's program, which the agent has loaded. */
  async #pauseImage(): Promise<string> {
    if (this.#pause === undefined) {
      const images = await this.#docker.listImages({ filters: { reference: ["longshore/pause"] } });
      this.#pause = images[0]?.RepoTags?.[0];
    }
    if (this.#pause === undefined) throw new Error("the agent has not loaded its sandbox image");
    return this.#pause;
  }

  async startPod(kind: Kind): Promise<BarePod> {
    const name = `bench-${randomUUID()}`;
    const sandbox = await this.#docker.createContainer({
      name: `${name}-sandbox`,
      Image: await this.#pauseImage(),
      Cmd: kind === "bridge" ? ["stay"] : [],
      HostConfig: {
        NetworkMode: kind === "bridge" ? "bridge" : "host",
        IpcMode: "shareable",
        ...(kind === "bridge"
          ? {}
          : { CapAdd: ["SYS_ADMIN"], SecurityOpt: ["seccomp=unconfined", "apparmor=unconfined"] }),
        LogConfig: { Type: "none", Config: {} },
      },
    });
    await sandbox.start();
    await sandbox.inspect();
    const container = await this.#docker.createContainer({
      name: `${name}-container`,
      Image: IMAGE,
      Cmd: COMMAND,
      HostConfig: {
        NetworkMode: `container:${sandbox.id}`,
        IpcMode: `container:${sandbox.id}`,
      },
    });
    await container.start();
    await container.inspect();
    return { sandbox, container };
  }

  /** SIGTERM, which the program ignores, SIGKILL after one second, and both containers removed. */
  async stopPod({ sandbox, container }: BarePod): Promise<void> {
    await container.stop({ t: 1 });
    await sandbox.stop({ t: 1 });
    await Promise.all([container.remove({ v: true }), sandbox.remove({ v: true })]);
  }
}

export async function inParallel<T, R>(
  items: readonly T[],
  width: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const queue = [...items.entries()];
  const lane = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift())
      results[next[0]] = await work(next[1]);
  };
  await Promise.all(Array.from({ length: width }, lane));
  return results;
}
