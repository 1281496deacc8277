/** Conformance's race of many volumes: five pods of fifty ConfigMaps each, at once. */

import { expect, test } from "vitest";
import { IDLE, podManifest, shell, useCluster } from "../support/cluster.ts";

const cluster = useCluster();
const NAMES = Array.from({ length: 50 }, (_, index) => `many-${index}`);
const PODS = ["a", "b", "c", "d", "e"].map((name) => `racer-${name}`);

test("five pods with fifty ConfigMap volumes each become Ready and show every key", async () => {
  await cluster.apply(
    ...NAMES.map((name) => ({
      ...{ apiVersion: "v1", kind: "ConfigMap", metadata: { name }, data: { key: `${name}\n` } },
    })),
  );
  const volumeMounts = NAMES.map((name) => ({ name, mountPath: `/etc/many/${name}` }));
  const volumes = NAMES.map((name) => ({
    ...{ name, configMap: { name, items: [{ key: "key", path: "path" }] } },
  }));
  const started = performance.now();
  await cluster.apply(
    ...PODS.map((name) =>
      podManifest(name, { containers: [shell("main", IDLE, { volumeMounts })], volumes }),
    ),
  );
  await Promise.all(PODS.map((name) => cluster.ready(name, 120_000)));
  // For docs/performance.md; a test asserts no time.
  console.info(`5 pods of 50 ConfigMap volumes: ${Math.round(performance.now() - started)} ms`);
  for (const name of PODS) {
    const text = await cluster.kubectl("exec", name, "--", "sh", "-c", "cat /etc/many/*/path");
    expect(text.trim().split("\n").sort()).toEqual(NAMES.toSorted());
  }
});
