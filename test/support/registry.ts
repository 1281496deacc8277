/**
 * Debian's docker-registry on a loopback port of the host, with two users, behind a door of ours that counts what is
 * asked for and can be shut in the ways in which registries fail. The Engine takes 127.0.0.1 without TLS.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually, run } from "./node-container.ts";

/** bcrypt of `wonderland` and `builder`. */
export const HTPASSWD = [
  "alice:$2b$04$abcdefghijklmnopqrstuujZkTwHUiJ9XdZPwKfcfDo7dMp5DjlTu",
  "bob:$2b$04$abcdefghijklmnopqrstuu/GACL4BASs5qZJ2H5JEo0yW9XEj5.iq",
].join("\n");
export const PASSWORDS = { alice: "wonderland", bob: "builder" } as const;

export function registryConfig(root: string, address: string): string {
  return JSON.stringify({
    version: "0.1",
    log: { level: "error" },
    storage: { filesystem: { rootdirectory: `${root}/data` } },
    http: { addr: address, relativeurls: true },
    auth: { htpasswd: { realm: "test", path: `${root}/htpasswd` } },
  });
}

/** `pass`, answer 503, or take what is asked for a blob and never answer. */
type Door = "pass" | "unavailable" | "silent";

export class Registry {
  /** User and image of each manifest that was asked for and there: one for each pull. */
  readonly pulls: string[] = [];
  readonly #root: string;
  readonly #process: ChildProcess;
  readonly #server = createServer((incoming, answer) => this.#onRequest(incoming, answer));
  readonly #held = new Set<ServerResponse>();
  #door: Door = "pass";
  readonly #made = new Set<string>();
  #backend = "";

  private constructor(root: string) {
    this.#root = root;
    this.#process = spawn("docker-registry", ["serve", join(root, "config.yml")], {
      stdio: ["ignore", "ignore", "ignore"],
    });
  }

  static async start(): Promise<Registry> {
    const root = await mkdtemp(join(tmpdir(), "longshore-registry-"));
    await writeFile(join(root, "htpasswd"), HTPASSWD);
    const port = await freePort();
    await writeFile(join(root, "config.yml"), registryConfig(root, `127.0.0.1:${port}`));
    const registry = new Registry(root);
    registry.#backend = `http://127.0.0.1:${port}`;
    await new Promise<void>((done) => registry.#server.listen(0, "127.0.0.1", done));
    await eventually("the registry answers", async () => {
      const answer = await fetch(`http://${registry.host}/v2/`);
      return answer.status === 401;
    });
    return registry;
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Requests that wait in front of the silent door. */
  get held(): number {
    return this.#held.size;
  }

  /** What waits in front of it is turned away: the Engine (20.10) does not let go of it by itself. */
  shut(door: Door): void {
    this.#door = door;
    for (const answer of this.#held) answer.destroy();
  }

  /** An image of its own content, in the registry and not on the Engine. Returns its name. */
  async push(path: string, megabytes = 0): Promise<string> {
    const image = `${this.host}/${path}`;
    await this.#sh(`
      d=$(mktemp -d); echo ${image} >$d/name
      [ ${megabytes} = 0 ] || head -c ${megabytes}000000 /dev/urandom >$d/ballast
      tar -C $d -c . | docker import - ${image} >/dev/null; rm -r $d
      echo ${PASSWORDS.alice} | docker --config ${this.#root}/docker login -u alice --password-stdin ${this.host} >/dev/null 2>&1
      docker --config ${this.#root}/docker push -q ${image} >/dev/null; docker rmi ${image} >/dev/null`);
    this.#made.add(image);
    this.pulls.length = 0;
    return image;
  }

  /** Takes an image off the Engine. */
  async forget(image: string): Promise<void> {
    await this.#sh(`docker rmi -f ${image} >/dev/null 2>&1 || true`);
  }

  async stop(): Promise<void> {
    for (const image of this.#made) await this.forget(image);
    this.#process.kill();
    this.#server.closeAllConnections();
    this.#server.close();
    await rm(this.#root, { recursive: true });
  }

  async #sh(script: string): Promise<void> {
    const { code, stderr } = await run(["bash", "-euc", script]);
    if (code !== 0) throw new Error(stderr);
  }

  #onRequest(incoming: IncomingMessage, answer: ServerResponse): void {
    const { url = "", method, headers } = incoming;
    if (this.#door === "unavailable") {
      answer.writeHead(503).end();
      return;
    }
    if (this.#door === "silent" && url.includes("/blobs/")) {
      this.#held.add(answer);
      answer.on("close", () => this.#held.delete(answer));
      return;
    }
    const inner = request(`${this.#backend}${url}`, { method, headers }, (given) => {
      const user = Buffer.from(headers.authorization?.slice(6) ?? "", "base64").toString();
      const path = /^\/v2\/(.+)\/manifests\//.exec(url)?.[1];
      if (path !== undefined && method === "HEAD" && given.statusCode === 200)
        this.pulls.push(`${user.split(":")[0]} ${path}`);
      answer.writeHead(given.statusCode ?? 500, given.headers);
      given.pipe(answer);
    });
    inner.on("error", () => answer.destroy());
    incoming.pipe(inner);
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  await new Promise((done) => server.close(done));
  return port;
}
