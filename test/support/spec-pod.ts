/** A pod's spec on the real Engine, without API server, network or volumes: what its container is given and says. */

import { randomUUID } from "node:crypto";
import type { Container as ContainerSpec, Pod } from "../../src/api/types.ts";
import type { PodCgroupPort } from "../../src/cgroups/pod-cgroups.ts";
import { computeSandboxConfig, inheritedOf } from "../../src/pods/sandbox-config.ts";
import { computeContainerConfig } from "../../src/runtime/container-config.ts";
import type { Container, PodIdentity, Runtime } from "../../src/runtime/runtime.ts";
import { IMAGE } from "../builders/runtime.ts";
import { never, removePod } from "./runtime.ts";

export interface SpecRun {
  readonly pod: Pod;
  /** Both streams of the first container. */
  readonly output: string;
  readonly container: Container;
}

export class SpecPods {
  readonly #runtime: Runtime;
  readonly #cgroups: PodCgroupPort | undefined;
  readonly #made: PodIdentity[] = [];

  constructor(runtime: Runtime, cgroups?: PodCgroupPort) {
    this.#runtime = runtime;
    this.#cgroups = cgroups;
  }

  /** Runs a shell script to its end as the first container of a pod. */
  async run(script: string, of: Partial<ContainerSpec>, spec: Partial<Pod["spec"]> = {}) {
    const started = await this.start({ command: ["sh", "-c", script], ...of }, spec);
    let output = "";
    for await (const { data } of this.#runtime.logs(started.id, { follow: true }, never()))
      output += data.toString();
    const { containers } = await this.#runtime.list(never(), started.pod.metadata.uid);
    const container = containers.find(({ id }) => id === started.id) as Container;
    return { pod: started.pod, output, container } satisfies SpecRun;
  }

  /** Starts the first container of a pod. */
  async start(of: Partial<ContainerSpec>, spec: Partial<Pod["spec"]> = {}) {
    const container: ContainerSpec = { name: "main", image: IMAGE, ...of };
    const pod: Pod = {
      ...{ apiVersion: "v1", kind: "Pod" },
      metadata: {
        ...{ name: "h-resources", namespace: "test", uid: randomUUID(), resourceVersion: "1" },
      },
      spec: { ...spec, containers: [container, ...(spec.containers ?? [])] },
    };
    const { name, namespace, uid } = pod.metadata;
    this.#made.push({ name, namespace, uid });
    const placement = (await this.#cgroups?.ensurePod(pod, never())) ?? {};
    const sandbox = await this.#runtime.runSandbox(
      computeSandboxConfig(pod, {
        ...{ attempt: 0, ips: spec.hostNetwork === true ? [] : ["10.1.2.3"] },
        ...{ clusterDomain: "cluster.local", runtimeHandler: undefined, placement },
      }),
      never(),
    );
    const image = await this.#runtime.inspectImage(container.image ?? IMAGE, never());
    const config = computeContainerConfig({
      ...{ pod, container, kind: "app", attempt: 0, sandboxId: sandbox.id },
      ...{ imageId: image?.id ?? "", imageUser: image?.user ?? "", env: new Map() },
      ...{ command: container.command, args: container.args, volumes: new Map() },
      ...{
        subPaths: new Map(),
        extraMounts: [],
        hasRecursiveReadOnly: false,
        memoryCapacity: 8 * 1024 ** 3,
      },
      ...inheritedOf(sandbox),
    });
    const id = await this.#runtime.createContainer(config, never());
    await this.#runtime.startContainer(id, never());
    return { pod, sandbox, id };
  }

  async removeAll(): Promise<void> {
    for (const pod of this.#made.splice(0)) await removePod(this.#runtime, pod);
  }
}
