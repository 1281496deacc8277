/** The shared node of the end-to-end tier: started once, handed to the test files by ID, removed at the end. */

import type { TestProject } from "vitest/node";
import { NodeContainer, run } from "../support/node-container.ts";

declare module "vitest" {
  export interface ProvidedContext {
    nodeId: string;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const node = await NodeContainer.start();
  await node.up();
  project.provide("nodeId", node.id);
  return async () => {
    if (process.env.LONGSHORE_KEEP_NODE !== undefined) return;
    await node.stop();
    await run(["docker", "network", "rm", "longshore-e2e"]);
  };
}
