/**
 * Probes and lifecycle hooks of a container: their handlers, numbers and stop signal, in upstream's words. Pure;
 * problems are collected. Called by container-lists.ts for the containers that may have them.
 */

import { checkPort, checkPortOrName, checkTexts } from "./container-validation.ts";
import {
  checkEnum,
  checkObject,
  child,
  type Field,
  forbiddenField,
  integerOf,
  invalidValue,
  objectsOf,
  type Problems,
  required,
  textOf,
} from "./field-errors.ts";

/** What of the pod decides about the hooks of its containers. */
export interface PodFacts {
  /** Undefined when the pod's own is no number, which is reported elsewhere. */
  readonly graceSeconds: number | undefined;
  /** spec.os.name, or "". */
  readonly os: string;
}

export const PROBES = ["livenessProbe", "readinessProbe", "startupProbe"];
const PROBE_NUMBERS = [
  "initialDelaySeconds",
  "timeoutSeconds",
  "periodSeconds",
  "successThreshold",
  "failureThreshold",
];
const PROBE_HANDLERS = ["exec", "httpGet", "tcpSocket", "grpc"];
const HOOK_HANDLERS = ["exec", "httpGet", "tcpSocket", "sleep"];
const HEADER_NAME = /^[-A-Za-z0-9]+$/;
const SIGNALS =
  "ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ";
const LINUX_SIGNALS = [
  ...SIGNALS.split(" "),
  ...Array.from({ length: 16 }, (_, index) => `RTMIN${index === 0 ? "" : `+${index}`}`),
  ...Array.from({ length: 15 }, (_, index) => `RTMAX${index === 0 ? "" : `-${index}`}`),
].map((name) => `SIG${name}`);

export function validateProbes(container: Field, pod: PodFacts, problems: Problems): void {
  for (const name of PROBES) validateProbe(child(container, name), pod, problems);
}

function validateProbe(probe: Field, pod: PodFacts, problems: Problems): void {
  if (probe.value === undefined || !checkObject(probe, problems)) return;
  validateHandler(probe, PROBE_HANDLERS, pod, problems);
  for (const name of PROBE_NUMBERS) {
    const field = child(probe, name);
    const number = integerOf(field, problems);
    if (number !== undefined && number < 0)
      problems.push(invalidValue(field, "must be greater than or equal to 0"));
  }
  const isReadiness = probe.path.endsWith(".readinessProbe");
  const successes = child(probe, "successThreshold");
  if (!isReadiness && typeof successes.value === "number" && successes.value > 1)
    problems.push(invalidValue(successes, "must be 1"));
  const grace = child(probe, "terminationGracePeriodSeconds");
  const seconds = integerOf(grace, problems);
  if (seconds === undefined) return;
  if (seconds <= 0) problems.push(invalidValue(grace, "must be greater than 0"));
  if (isReadiness) problems.push(invalidValue(grace, "must not be set for readinessProbes"));
}

export function validateLifecycle(lifecycle: Field, pod: PodFacts, problems: Problems): void {
  if (!checkObject(lifecycle, problems)) return;
  for (const name of ["postStart", "preStop"]) {
    const hook = child(lifecycle, name);
    if (hook.value === undefined || !checkObject(hook, problems)) continue;
    validateHandler(hook, HOOK_HANDLERS, pod, problems);
  }
  const signal = child(lifecycle, "stopSignal");
  if (signal.value === undefined) return;
  if (pod.os === "")
    problems.push(
      forbiddenField(signal, "may not be set for containers with empty `spec.os.name`"),
    );
  else checkEnum(signal, pod.os === "windows" ? ["SIGKILL", "SIGTERM"] : LINUX_SIGNALS, problems);
}

function validateHandler(
  holder: Field,
  kinds: readonly string[],
  pod: PodFacts,
  problems: Problems,
): void {
  const given = kinds
    .map((kind) => ({ kind, field: child(holder, kind) }))
    .filter(({ field }) => field.value !== undefined);
  const [first, ...others] = given;
  if (first === undefined) problems.push(required(holder, "must specify a handler type"));
  else if (checkObject(first.field, problems)) HANDLERS[first.kind]?.(first.field, problems, pod);
  for (const { field } of others)
    problems.push(forbiddenField(field, "may not specify more than 1 handler type"));
}

const HANDLERS: Readonly<
  Record<string, (field: Field, problems: Problems, pod: PodFacts) => void>
> = {
  exec: validateExec,
  httpGet: validateHttpGet,
  tcpSocket: (field, problems) => checkPortOrName(child(field, "port"), problems),
  grpc: (field, problems) => {
    checkPort(child(field, "port"), true, problems);
    textOf(child(field, "service"), problems);
  },
  sleep: validateSleep,
};

function validateExec(exec: Field, problems: Problems): void {
  const command = child(exec, "command");
  checkTexts(command, problems);
  const isEmpty = Array.isArray(command.value) && command.value.length === 0;
  if (command.value === undefined || isEmpty) problems.push(required(command));
}

function validateHttpGet(get: Field, problems: Problems): void {
  checkPortOrName(child(get, "port"), problems);
  checkEnum(child(get, "scheme"), ["HTTP", "HTTPS"], problems);
  for (const name of ["path", "host"]) textOf(child(get, name), problems);
  const headers = child(get, "httpHeaders");
  for (const header of objectsOf(headers, problems)) {
    textOf(child(header, "value"), problems);
    const name = textOf(child(header, "name"), problems) ?? "";
    if (HEADER_NAME.test(name)) continue;
    const rule =
      "a valid HTTP header must consist of alphanumeric characters or '-' (e.g. 'X-Header-Name', regex used for validation is '[-A-Za-z0-9]+')";
    problems.push(invalidValue({ path: headers.path, value: name }, rule));
  }
}

function validateSleep(sleep: Field, problems: Problems, pod: PodFacts): void {
  const seconds = integerOf(child(sleep, "seconds"), problems) ?? 0;
  const limit = pod.graceSeconds;
  if (limit === undefined || (seconds >= 0 && seconds <= limit)) return;
  const rule = `must be non-negative and less than terminationGracePeriodSeconds (${limit})`;
  problems.push(invalidValue({ path: sleep.path, value: seconds }, rule));
}
