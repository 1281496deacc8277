import { describe, expect, test } from "vitest";
import type { EndpointSlice, Service } from "../../../src/api/types.ts";
import { formatService, formatTrace } from "../../../src/cli/explain-service-text.ts";
import { forbidden } from "../../../src/cli/proxy-checks.ts";
import type { Origin } from "../../../src/proxy/expected-path.ts";
import { type ExplainInput, explainService } from "../../../src/proxy/explain.ts";
import type { ProxyRulesOptions } from "../../../src/proxy/options.ts";
import { renderRuleSet } from "../../../src/proxy/render.ts";
import { computeProxyRules } from "../../../src/proxy/rules.ts";
import { parseSavedRules } from "../../../src/proxy/trace/saved-rules.ts";
import { type Kernel, tracePacket } from "../../../src/proxy/trace/tracer.ts";
import { makeService, makeSlice } from "../../builders/services.ts";
import { asSaved } from "../../support/packetflow.ts";

const NODE_IP = "192.0.2.1";
const SOURCES = { "a pod": "10.1.0.250", "this node": NODE_IP, outside: "203.0.113.9" } as const;
const FRONT = {
  type: "NodePort",
  ports: [{ protocol: "TCP", port: 80, nodePort: 30_080 }],
} as const;
const front = { ...FRONT, ports: [...FRONT.ports] };

/** The API's objects, and the kernel that holds the rules of `written` (default: of the same). */
function inputOf(
  service: Service,
  endpointSlices: readonly EndpointSlice[],
  written: readonly EndpointSlice[] = endpointSlices,
  change: Partial<ProxyRulesOptions & Kernel> = {},
): ExplainInput {
  const place = { nodeName: "this-node", zone: "a" };
  const { rules } = computeProxyRules(
    { services: [service], endpointSlices: written },
    {
      ...{ family: "IPv4", ...place, nodeIp: NODE_IP, interfaceIps: [NODE_IP] },
      ...{ nodePortAddresses: [], detectLocal: { kind: "Cidr", cidr: "10.1.0.0/16" } },
      ...{ masqueradeAll: false, masqueradeBit: 14, localhostNodePorts: true },
      ...{ randomFully: true, dropInvalid: true },
      ...change,
    },
  );
  const kernel = {
    rules: parseSavedRules(asSaved(renderRuleSet(rules))),
    isLocal: (ip: string) => ip === NODE_IP || ip.startsWith("127."),
    isRecent: () => false,
    interfaceOf: () => "eth0",
    ...change,
  };
  return {
    service,
    endpointSlices,
    place,
    family: "IPv4",
    kernel,
    sources: SOURCES,
    nodeIp: NODE_IP,
  };
}

function pathOf(input: ExplainInput, from: Origin, kind = "clusterIP") {
  const path = explainService(input).ports[0]?.paths.find(
    (each) => each.from === from && each.kind === kind,
  );
  if (path === undefined) throw new Error(`no path from ${from} to ${kind}`);
  return path;
}

const web = (spec: Partial<NonNullable<Service["spec"]>> = {}) =>
  makeService({ name: "web", clusterIp: "10.96.0.1", spec });
const here = makeSlice({ service: "web", name: "web-1", ips: ["10.1.0.1"], port: 8080 });
const elsewhere = (change: object = {}): EndpointSlice => {
  const slice = makeSlice({ service: "web", name: "web-2", ips: ["10.1.9.1"], port: 8080 });
  return {
    ...slice,
    endpoints: (slice.endpoints ?? []).map((one) => ({ ...one, nodeName: "other", ...change })),
  };
};
const ending = { conditions: { ready: false, serving: true, terminating: true } };
const dead = { conditions: { ready: false, serving: false, terminating: true } };

describe("explaining a Service", () => {
  test.each<
    [string, ExplainInput, Origin, "clusterIP" | "nodePort", string, readonly string[], string]
  >([
    [
      "a pod reaches every endpoint",
      inputOf(web(), [here, elsewhere()]),
      "a pod",
      "clusterIP",
      "delivered",
      ["10.1.0.1:8080", "10.1.9.1:8080"],
      "every ready endpoint",
    ],
    [
      "nobody is there",
      inputOf(web(), []),
      "this node",
      "clusterIP",
      "REJECT",
      [],
      "no endpoint is ready, and none serves while it ends",
    ],
    [
      "all are dead",
      inputOf(web(), [elsewhere(dead)]),
      "a pod",
      "clusterIP",
      "REJECT",
      [],
      "no endpoint is ready, and none serves while it ends",
    ],
    [
      "all are ending",
      inputOf(web(), [elsewhere(ending)]),
      "a pod",
      "clusterIP",
      "delivered",
      ["10.1.9.1:8080"],
      "no endpoint is ready: those that still serve while they end",
    ],
    [
      "internal policy Local, and none here",
      inputOf(web({ internalTrafficPolicy: "Local" }), [elsewhere()]),
      "a pod",
      "clusterIP",
      "DROP",
      [],
      "internalTrafficPolicy is Local and no endpoint is on this node",
    ],
    [
      "internal policy Local",
      inputOf(web({ internalTrafficPolicy: "Local" }), [here, elsewhere()]),
      "a pod",
      "clusterIP",
      "delivered",
      ["10.1.0.1:8080"],
      "internalTrafficPolicy is Local: the endpoints on this node",
    ],
    [
      "external policy Local from outside",
      inputOf(web({ ...front, externalTrafficPolicy: "Local" }), [here, elsewhere()]),
      "outside",
      "nodePort",
      "delivered",
      ["10.1.0.1:8080"],
      "externalTrafficPolicy is Local: the endpoints on this node",
    ],
    [
      "external policy Local from outside, and none here",
      inputOf(web({ ...front, externalTrafficPolicy: "Local" }), [elsewhere()]),
      "outside",
      "nodePort",
      "DROP",
      [],
      "externalTrafficPolicy is Local and no endpoint is on this node",
    ],
    [
      "external policy Local from a pod",
      inputOf(web({ ...front, externalTrafficPolicy: "Local" }), [elsewhere()]),
      "a pod",
      "nodePort",
      "delivered",
      ["10.1.9.1:8080"],
      "externalTrafficPolicy is Local, but from a pod: every ready endpoint",
    ],
    [
      "hints name this zone",
      inputOf(web(), [
        elsewhere({ hints: { forZones: [{ name: "a" }] } }),
        { ...here, endpoints: [{ addresses: ["10.1.0.1"], hints: { forZones: [{ name: "b" }] } }] },
      ]),
      "a pod",
      "clusterIP",
      "delivered",
      ["10.1.9.1:8080"],
      "the ready endpoints whose hints name this zone",
    ],
  ])("%s", (_what, input, from, kind, verdict, targets, why) => {
    const path = pathOf(input, from, kind);
    expect(path).toMatchObject({ verdict, targets, doubts: [] });
    expect(path.why[0]).toBe(why);
    expect(path.difference).toBeUndefined();
  });

  test("a refusal names its rule, and a masqueraded source the rule that marked it", () => {
    expect(pathOf(inputOf(web(), []), "a pod").why).toContain(
      "REJECT by filter KUBE-SERVICES: default/web has no endpoints",
    );
    const input = inputOf(web(front), [here]);
    expect(pathOf(input, "a pod")).toMatchObject({ isMasqueraded: false });
    expect(pathOf(input, "a pod", "nodePort")).toMatchObject({
      isMasqueraded: true,
      why: [
        "every ready endpoint",
        "the source becomes this node's address (masquerade traffic for default/web external destinations)",
      ],
    });
  });

  test("rules that are behind the API are a difference", () => {
    const path = pathOf(inputOf(web(), [here, elsewhere()], [here]), "a pod");
    expect(path.difference).toBe(
      "the API asks for 10.1.0.1:8080, 10.1.9.1:8080, the kernel has 10.1.0.1:8080",
    );
    expect(pathOf(inputOf(web(), [here], []), "a pod").difference).toBe(
      "the API asks for 10.1.0.1:8080, the kernel has REJECT",
    );
  });

  test("a rule of others that lets a packet pass before it is refused is a difference, and named", () => {
    const input = inputOf(web(), []);
    const { rules } = input.kernel;
    const forward = rules.get("filter")?.get("FORWARD");
    const accept = { chain: "FORWARD", text: "-A FORWARD -i eth0 -j ACCEPT", packets: 1 };
    const chains = new Map(rules.get("filter"));
    chains.set("FORWARD", { policy: "ACCEPT", rules: [accept, ...(forward?.rules ?? [])] });
    const kernel = { ...input.kernel, rules: new Map(rules).set("filter", chains) };
    const path = pathOf({ ...input, kernel }, "a pod");
    expect(path.verdict).toBe("unchanged");
    expect(path.difference).toBe(
      "the API asks for REJECT, the kernel has no rule that takes or stops it",
    );
    expect(path.why[1]).toContain("-A FORWARD -i eth0 -j ACCEPT lets it pass");
  });

  test("what the node itself sends to an external address is refused by nobody, upstream neither", () => {
    const balanced: Service = {
      ...web({ type: "LoadBalancer" }),
      status: { loadBalancer: { ingress: [{ ip: "198.51.100.7" }] } },
    };
    const input = inputOf(balanced, []);
    expect(pathOf(input, "outside", "loadBalancer").verdict).toBe("REJECT");
    const own = pathOf(input, "this node", "loadBalancer");
    expect(own).toMatchObject({ verdict: "unchanged" });
    expect(own.difference).toBeUndefined();
  });

  test("source ranges that do not admit a source are no difference", () => {
    const balanced: Service = {
      ...web({ type: "LoadBalancer", loadBalancerSourceRanges: ["10.0.0.0/8"] }),
      status: { loadBalancer: { ingress: [{ ip: "198.51.100.7" }] } },
    };
    const input = inputOf(balanced, [here]);
    const outside = pathOf(input, "outside", "loadBalancer");
    expect(outside).toMatchObject({ verdict: "DROP", targets: [] });
    expect(outside.difference).toBeUndefined();
    expect(outside.why).toEqual([
      "loadBalancerSourceRanges do not admit 203.0.113.9",
      expect.stringMatching(
        /^DROP by filter KUBE-PROXY-FIREWALL: default\/web traffic not accepted/,
      ),
    ]);
    expect(pathOf(input, "a pod", "loadBalancer").targets).toEqual(["10.1.0.1:8080"]);
  });

  test("a client that affinity keeps where it was is no difference", () => {
    const sticky = web({ sessionAffinity: "ClientIP" });
    const lists = new Set<string>();
    const isRecent = (list: string) => lists.add(list).size === 1;
    const path = pathOf(inputOf(sticky, [here, elsewhere()], undefined, { isRecent }), "a pod");
    expect(path.targets).toEqual(["10.1.0.1:8080"]);
    expect(path.difference).toBeUndefined();
    expect(path.why).toContain("session affinity: that is where it went before");
  });

  test("a NodePort is tried on an address that nodePortAddresses chose", () => {
    const options = { interfaceIps: [NODE_IP, "192.0.2.77"], nodePortAddresses: ["192.0.2.64/26"] };
    const isLocal = (ip: string) => ip.startsWith("192.0.2.");
    const input = inputOf(web(front), [here], undefined, { ...options, isLocal });
    const path = pathOf(input, "outside", "nodePort");
    expect(path).toMatchObject({ destination: "192.0.2.77", verdict: "delivered" });
    expect(path.difference).toBeUndefined();
  });

  test("endpoints have their conditions, place, hints and use", () => {
    const hinted = elsewhere({
      ...ending,
      hints: { forZones: [{ name: "b" }], forNodes: [{ name: "n" }] },
    });
    const [port] = explainService(inputOf(web(), [here, hinted])).ports;
    expect(port?.endpoints).toEqual([
      { target: "10.1.0.1:8080", facts: ["ready", "serving", "local", "used"] },
      {
        target: "10.1.9.1:8080",
        facts: [
          "not ready",
          "serving",
          "terminating",
          "elsewhere",
          "hints zone b",
          "hints node n",
          "unused",
        ],
      },
    ]);
  });

  test("rules are those of the port alone", () => {
    const [port] = explainService(inputOf(web(front), [here])).ports;
    const texts = port?.rules.map(({ rule }) => rule.text) ?? [];
    expect(texts).toHaveLength(8);
    expect(texts.every((text) => text.includes("default/web") || text.includes("KUBE-EXT-"))).toBe(
      true,
    );
  });

  test("what got no rules is said, and a headless Service has none", () => {
    const odd = web({ externalIPs: ["300.1.1.1"] });
    expect(explainService(inputOf(odd, [])).skipped).toEqual(['address "300.1.1.1"']);
    const headless = explainService(inputOf(web({ clusterIP: "None" }), []));
    expect(headless.ports).toEqual([]);
    expect(formatService("default/web", headless, [])).toContain("has no rules: headless");
  });
});

describe("the text", () => {
  test("says where each goes, how many connections there are, and stops after fifty", () => {
    const ips = Array.from({ length: 60 }, (_, i) => `10.1.0.${i + 1}`);
    const input = inputOf(web(), [makeSlice({ service: "web", ips, port: 8080 })]);
    const connections = [
      { to: "tcp to 10.96.0.1 port 80", lines: ["tcp 6 src=…"] },
      { to: "udp", lines: undefined },
    ];
    const text = formatService("default/web", explainService(input), connections);
    expect(text).toContain("Endpoints: 60\n");
    expect(text).toContain("… and 10 more");
    expect(text).toMatch(
      /from a pod \(10\.1\.0\.250\) to clusterIP 10\.96\.0\.1:80 goes to (\S+ or ){5}55 more, source kept/,
    );
    expect(text).toContain("tcp to 10.96.0.1 port 80: 1\n    tcp 6 src=…");
    expect(text).toContain("udp: unknown, conntrack is not installed");
  });

  test("of a trace has each way with its rules and its share", () => {
    const { kernel } = inputOf(web(), [here, elsewhere()]);
    const packet = {
      source: "10.1.0.9",
      destination: "10.96.0.1",
      port: 80,
      protocol: "tcp",
    } as const;
    const text = formatTrace("head", tracePacket(kernel, packet));
    expect(text).toMatch(/^head\n50\.0 % delivered 10\.1\.0\.1:8080\n/);
    expect(text).toMatch(/nat \[0\] -A KUBE-SEP-\S+ .*--to-destination 10\.1\.9\.1:8080/);
  });
});

test("credentials that may not list are mended by a command for the user the server named", () => {
  const words = 'endpointslices.discovery.k8s.io is forbidden: User "system:node:n" cannot list';
  expect(forbidden("proxy credentials", words)).toMatchObject({
    state: "failed",
    remedy: expect.stringContaining("--clusterrole=system:node-proxier --user=system:node:n"),
  });
});
