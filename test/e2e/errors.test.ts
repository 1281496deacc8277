/** What `longshore agent` says when it cannot work: one clear line each, and an exit code or a documented retry. */

import { expect, test } from "vitest";
import { useCluster } from "../support/cluster.ts";

const cluster = useCluster();
const KUBECONFIG = "/var/lib/longshore/controlplane/node.kubeconfig";

const fatal = [
  {
    sentence: "no kubeconfig at all",
    line: "longshore agent",
    says: /--kubeconfig FILE/,
  },
  {
    sentence: "a kubeconfig that is not there",
    line: "longshore agent --kubeconfig /nowhere",
    says: /\/nowhere/,
  },
  {
    sentence: "a kubeconfig that is not YAML",
    line: "echo '{{{' >/tmp/bad; longshore agent --kubeconfig /tmp/bad",
    says: /\/tmp\/bad/,
  },
  {
    sentence: "a malformed config file",
    line: "echo 'kind: AgentConfiguration' >/tmp/c; longshore agent --config /tmp/c",
    says: /\/tmp\/c must start with/,
  },
  {
    sentence: "an unknown field of the config file",
    line: "printf 'apiVersion: longshore.dev/v1alpha1\\nkind: AgentConfiguration\\nmaxPod: 3\\n' >/tmp/c; longshore agent --config /tmp/c",
    says: /unknown field maxPod/,
  },
  {
    sentence: "a flag out of range",
    line: `longshore agent --kubeconfig ${KUBECONFIG} --max-pods 0`,
    says: /maxPods.*whole number/,
  },
  {
    sentence: "a taken port",
    line: `longshore agent --kubeconfig ${KUBECONFIG} --hostname-override node1 --root-dir /tmp/other --proxy=off`,
    says: /10250/,
  },
  {
    sentence: "no Docker Engine",
    line: `longshore agent --kubeconfig ${KUBECONFIG} --container-runtime-endpoint unix:///nowhere.sock --root-dir /tmp/other --port 10350 --healthz-port 0`,
    says: /nowhere\.sock/,
  },
] as const;

for (const { sentence, line, says } of fatal) {
  test(`${sentence} ends the agent with one line and exit code 1`, async () => {
    const result = await cluster.node.exec(["timeout", "40", "bash", "-c", line]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(says);
    const own = result.stderr.split("\n").filter((text) => text.startsWith("longshore: "));
    expect(own).toHaveLength(1);
  });
}

test("an unreachable API server is retried, and said once", async () => {
  const script = `sed 's#127.0.0.1:6443#127.0.0.1:1#' ${KUBECONFIG} >/tmp/away; timeout 8 longshore agent --kubeconfig /tmp/away --hostname-override other --root-dir /tmp/other2 --port 10351 --healthz-port 0 --proxy-mode off`;
  const result = await cluster.node.exec(["bash", "-c", script]);
  // Ended by timeout(1), not by itself.
  expect(result.code).toBe(124);
  const warnings = result.stderr.split("\n").filter((line) => line.includes('"level":40'));
  expect(warnings.filter((line) => line.includes('"reflector":"pods"'))).toHaveLength(1);
  expect(result.stderr).toMatch(/127\.0\.0\.1:1/);
});

test("longshore check names what the host lacks, with consequence and remedy", async () => {
  const result = await cluster.node.exec(["longshore", "check"]);
  expect(result.stdout).toMatch(/ok\s+\S* ?Docker Engine|Docker Engine: \d+/);
  expect(result.stdout).toMatch(/OOM scores: no CAP_SYS_RESOURCE\n\s+consequence: .+\n\s+remedy: /);
});
