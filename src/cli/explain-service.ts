/**
 * `longshore explain service NAMESPACE/NAME`: what becomes of traffic to a Service on this node and why, from the API
 * objects and the rules in the kernel; `--trace` follows one packet. Reads with the agent's credentials and needs no
 * running agent, because a Service that does not work is often one whose agent does not. Exit codes: 0 explained, 1 could
 * not be, 3 no such Service, 5 the kernel is not in step with the API.
 */

import type { ApiClient } from "../api/client.ts";
import { ENDPOINT_SLICES, NODES, SERVICES } from "../api/resources.ts";
import type { Node, Service } from "../api/types.ts";
import { type Family, familyOf, formatAddress, parseCidr } from "../core/ip.ts";
import type { Origin } from "../proxy/expected-path.ts";
import { explainService, type PortExplanation } from "../proxy/explain.ts";
import { addressesOf } from "../proxy/node-options.ts";
import { type ReadKernel, readConnections, readKernel } from "../proxy/read-kernel.ts";
import { type Packet, tracePacket } from "../proxy/trace/tracer.ts";
import { bad, ip, oneOf, whole } from "./config-values.ts";
import { type Connections, formatService, formatTrace } from "./explain-service-text.ts";
import type { Host } from "./host.ts";
import { connectProxy } from "./proxy-client.ts";

type Flags = Readonly<Record<string, unknown>>;

const NO_SERVICE = 3;
const NOT_IN_STEP = 5;
/** From ranges for documentation: nobody has them. */
const OUTSIDE = { IPv4: "203.0.113.9", IPv6: "2001:db8::9" } as const;

export async function runExplainService(host: Host, flags: Flags): Promise<number> {
  const output = oneOf("text", "json")(flags.output ?? "text", "--output");
  if (flags.trace !== undefined) return runTrace(host, flags.trace as readonly string[], output);
  const [namespace, name] = parseName(String(flags.service));
  const { client, nodeName } = await connectProxy(host, flags);
  try {
    const byName = { namespace, fieldSelector: `metadata.name=${name}` };
    const [service] = (await client.list(SERVICES, byName, host.stop)).items;
    if (service === undefined) {
      host.stderr(`longshore: there is no Service ${namespace}/${name}\n`);
      return NO_SERVICE;
    }
    const { code, text } = await explain(host, { client, nodeName, service, output });
    host.stdout(text);
    return code;
  } finally {
    client.close();
  }
}

interface Question {
  readonly client: ApiClient;
  readonly nodeName: string;
  readonly service: Service;
  readonly output: "text" | "json";
}

async function explain(
  host: Host,
  { client, nodeName, service, output }: Question,
): Promise<{ readonly code: number; readonly text: string }> {
  const { namespace, name } = service.metadata;
  const labelSelector = `kubernetes.io/service-name=${name},!service.kubernetes.io/headless`;
  const { items } = await client.list(ENDPOINT_SLICES, { namespace, labelSelector }, host.stop);
  const fieldSelector = `metadata.name=${nodeName}`;
  const [node] = (await client.list(NODES, { fieldSelector }, host.stop)).items;
  const zone = node?.metadata.labels?.["topology.kubernetes.io/zone"];
  const place = { nodeName, ...(zone === undefined ? {} : { zone }) };
  const ports: PortExplanation[] = [];
  const skipped: string[] = [];
  const connections: Connections[] = [];
  for (const family of familiesOf(service)) {
    const kernel = await readKernel(host.exec, family, host.stop);
    const nodeIp =
      addressesOf(node).find((address) => familyOf(address) === family) ?? kernel.addresses[0];
    const explained = explainService({
      ...{ service, endpointSlices: items, place, family, kernel },
      sources: sourcesOf(node, family, nodeIp),
      ...(nodeIp === undefined ? {} : { nodeIp }),
    });
    ports.push(...explained.ports);
    skipped.push(...explained.skipped);
    for (const port of explained.ports) connections.push(...(await connectionsOf(host, port)));
  }
  const isInStep = ports.every((port) => port.paths.every((path) => path.difference === undefined));
  const explanation = { ports, skipped };
  return {
    code: isInStep ? 0 : NOT_IN_STEP,
    text:
      output === "json"
        ? `${JSON.stringify({ namespace, name, ...explanation, connections }, null, 2)}\n`
        : formatService(`${namespace}/${name} on ${nodeName}`, explanation, connections),
  };
}

async function connectionsOf(host: Host, port: PortExplanation): Promise<readonly Connections[]> {
  const { protocol, family } = port;
  const fronts = new Map(
    port.paths.map(({ destination, port: number }) => [
      `${destination} ${number}`,
      { destination, number },
    ]),
  );
  const found: Connections[] = [];
  for (const { destination, number } of fronts.values()) {
    const to = { family, protocol, ip: destination, port: number };
    const lines = await readConnections(host.exec, to, host.stop);
    found.push({ to: `${protocol} to ${destination} port ${number}`, lines });
  }
  return found;
}

function familiesOf(service: Service): readonly Family[] {
  const { ipFamilies = [], clusterIP = "" } = service.spec ?? {};
  if (ipFamilies.length > 0) return ipFamilies as readonly Family[];
  return [familyOf(clusterIP) ?? "IPv4"];
}

/** An address of each kind to ask from. */
function sourcesOf(
  node: Node | undefined,
  family: Family,
  nodeIp: string | undefined,
): Partial<Record<Origin, string>> {
  const { podCIDRs = [], podCIDR } = node?.spec ?? {};
  const range = [...podCIDRs, ...(podCIDR === undefined ? [] : [podCIDR])]
    .map(parseCidr)
    .find((cidr) => cidr?.family === family);
  // High in the range, where pods come last.
  const pod = range && formatAddress({ family, value: range.base + 250n });
  return {
    ...(pod === undefined ? {} : { "a pod": pod }),
    ...(nodeIp === undefined ? {} : { "this node": nodeIp }),
    outside: OUTSIDE[family],
  };
}

async function runTrace(
  host: Host,
  words: readonly string[],
  output: "text" | "json",
): Promise<number> {
  if (words.length !== 4) throw bad("--trace", words, "SOURCE DESTINATION PORT PROTOCOL");
  const [source = "", destination = "", port = "", protocol = ""] = words;
  const packet: Packet = {
    source: ip(source, "--trace SOURCE"),
    destination: ip(destination, "--trace DESTINATION"),
    port: whole(1, 65_535)(port, "--trace PORT"),
    protocol: oneOf("tcp", "udp", "sctp")(protocol.toLowerCase(), "--trace PROTOCOL"),
  };
  const family = familyOf(destination) ?? "IPv4";
  if (familyOf(source) !== family) throw bad("--trace SOURCE", source, `an ${family} address`);
  const kernel: ReadKernel = await readKernel(host.exec, family, host.stop);
  const ways = tracePacket(kernel, packet);
  const head = `${protocol} from ${source}${kernel.isLocal(source) ? " (this node)" : ""} to ${destination} port ${port}`;
  host.stdout(output === "json" ? `${JSON.stringify(ways, null, 2)}\n` : formatTrace(head, ways));
  return 0;
}

function parseName(text: string): readonly [string, string] {
  const [first = "", second, ...rest] = text.split("/");
  const form = /^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/;
  const [namespace, name] = second === undefined ? ["default", first] : [first, second];
  if (rest.length > 0 || !form.test(namespace) || !form.test(name))
    throw bad("service", text, "NAMESPACE/NAME");
  return [namespace, name];
}
