/**
 * A Unix socket in front of the Engine's that can be cut, closed, silenced, or made to change what is asked for: the
 * ways an Engine fails, without touching the one of the host.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { createConnection, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

export class EngineProxy {
  readonly #dir = mkdtempSync(join(tmpdir(), "runtime2-proxy-"));
  readonly #sockets = new Set<Socket>();
  readonly #server: Server;
  #isSilent = false;
  /** Changes requests, keeping their length. */
  rewrite: (text: string) => string = (text) => text;

  constructor(target = "/var/run/docker.sock") {
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#join(client, target));
  }

  get endpoint(): string {
    return `unix://${this.#dir}/docker.sock`;
  }

  async open(): Promise<void> {
    await new Promise<void>((resolve) =>
      this.#server.listen(join(this.#dir, "docker.sock"), resolve),
    );
  }

  /** Breaks every connection; new ones work. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** New connections are accepted and never answered. */
  silence(): void {
    this.#isSilent = true;
  }

  /** The Engine is gone. */
  close(): void {
    this.#server.close();
    this.cut();
    rmSync(this.#dir, { recursive: true, force: true });
  }

  #join(client: Socket, target: string): void {
    this.#track(client);
    if (this.#isSilent) return;
    const engine = createConnection({ path: target, allowHalfOpen: true });
    this.#track(engine);
    client.on("data", (chunk) => {
      engine.write(Buffer.from(this.rewrite(chunk.toString("latin1")), "latin1"));
    });
    client.on("end", () => engine.end());
    client.on("close", () => engine.destroy());
    engine.pipe(client);
    engine.on("close", () => client.destroy());
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    // A broken connection is what this is for.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#sockets.delete(socket));
  }
}
