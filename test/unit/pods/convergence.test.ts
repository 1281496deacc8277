import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { PodAction } from "../../../src/pods/actions.ts";
import type { ContainerOperations, OperationState } from "../../../src/pods/operations.ts";
import { computePodActions } from "../../../src/pods/plan.ts";
import type { PodSnapshot, WorkerPhase } from "../../../src/pods/snapshot.ts";
import { computePodStatus } from "../../../src/pods/status.ts";
import type { Container, RuntimeState, Sandbox } from "../../../src/runtime/runtime.ts";
import { makeContainer, makePod, makeSandbox, makeSnapshot, NOW } from "./support.ts";

const HOOK = { exec: { command: ["true"] } };
const POD = makePod({
  initContainers: [{ name: "init" }, { name: "proxy", restartPolicy: "Always" }],
  containers: [{ name: "web", lifecycle: { postStart: HOOK, preStop: HOOK } }, { name: "side" }],
});
const INIT = ["init", "proxy"];

const STATES = ["created", "running", "exited"] as const;

const anyState: fc.Arbitrary<RuntimeState> = fc.record({
  sandboxes: fc
    .array(fc.constantFrom("created", "ready", "exited"), { maxLength: 3 })
    .map((states) =>
      states.map((state, attempt) => makeSandbox({ id: `s${attempt}`, attempt, state })),
    ),
  containers: fc
    .array(
      fc.record({
        name: fc.constantFrom("init", "proxy", "web", "side"),
        state: fc.constantFrom(...STATES),
        sandbox: fc.integer({ min: 0, max: 3 }),
        exitCode: fc.constantFrom(0, 1),
        specHash: fc.constantFrom("hash", "old"),
        error: fc.constantFrom("", "cannot run"),
      }),
      { maxLength: 8 },
    )
    .map((items) =>
      items.map(({ name, state, sandbox, exitCode, specHash, error }, attempt) =>
        makeContainer({
          name,
          attempt,
          state,
          exitCode,
          specHash,
          kind: INIT.includes(name) ? "init" : "app",
          sandboxId: `s${sandbox}`,
          error: state === "created" ? error : "",
        }),
      ),
    ),
});

/** What the agent remembers between rounds. */
interface Memory {
  readonly replaced: Set<string>;
  readonly operations: Map<string, ContainerOperations>;
}

const DONE: OperationState = { status: "done", since: NOW, graceSeconds: 30 };

/** What executing one action makes of the world; init containers succeed as soon as they are started. */
function perform(state: RuntimeState, action: PodAction, memory: Memory): RuntimeState {
  const change = <T extends { id: string }>(items: readonly T[], id: string, fields: Partial<T>) =>
    items.map((item) => (item.id === id ? { ...item, ...fields } : item));
  const without = <T extends { id: string }>(items: readonly T[], id: string) =>
    items.filter((item) => item.id !== id);
  const { sandboxes, containers } = state;
  switch (action.kind) {
    case "create-sandbox": {
      const { attempt } = action;
      const made: Sandbox = makeSandbox({ id: `s${attempt}`, attempt });
      return { containers, sandboxes: [...sandboxes, made] };
    }
    case "stop-sandbox":
      return { containers, sandboxes: change(sandboxes, action.id, { state: "exited" }) };
    case "remove-sandbox":
      return { containers, sandboxes: without(sandboxes, action.id) };
    case "start-container": {
      const { name, attempt, containerKind: kind, sandboxId } = action;
      const isInit = name === "init";
      if (name === "web") memory.operations.set(`${name}-${attempt}`, { "post-start": DONE });
      const made = makeContainer({
        name,
        attempt,
        kind,
        sandboxId,
        state: isInit ? "exited" : "running",
      });
      return { sandboxes, containers: [...containers, made] };
    }
    case "run-pre-stop":
      if (action.reason === "definition-changed") memory.replaced.add(action.id);
      memory.operations.set(action.id, {
        ...memory.operations.get(action.id),
        "pre-stop": { ...DONE, graceSeconds: action.graceSeconds },
      });
      return state;
    case "kill-container":
      if (action.reason === "definition-changed") memory.replaced.add(action.id);
      return {
        sandboxes,
        containers: change<Container>(containers, action.id, { state: "exited", finishedAt: NOW }),
      };
    case "remove-container":
      return { sandboxes, containers: without(containers, action.id) };
    default:
      return state;
  }
}

/** An init container found running does its work. */
function succeed({ sandboxes, containers }: RuntimeState, init: Container): RuntimeState {
  const done: Container = { ...init, state: "exited", exitCode: 0, finishedAt: NOW };
  return { sandboxes, containers: containers.map((other) => (other === init ? done : other)) };
}

interface Run {
  readonly state: RuntimeState;
  readonly rounds: number;
  readonly last: PodSnapshot;
}

/** Rounds of plan and perform, some actions failing while `failures` lasts, until nothing is left to do. */
function converge(start: RuntimeState, failures: readonly boolean[], phase: WorkerPhase): Run {
  const memory: Memory = { replaced: new Set(), operations: new Map() };
  const fails = [...failures];
  let observed = start;
  for (let rounds = 0; rounds < 100; rounds++) {
    const snapshot = makeSnapshot({ pod: POD, phase, observed, ...memory, endingSince: NOW });
    const { actions } = computePodActions(snapshot);
    const init = observed.containers.find(
      ({ name, state }) => name === "init" && state === "running",
    );
    if (actions.length === 0 && init === undefined)
      return { state: observed, rounds, last: snapshot };
    if (actions.length === 0 && init !== undefined) observed = succeed(observed, init);
    for (const action of actions) {
      if (fails.shift() !== true) observed = perform(observed, action, memory);
    }
  }
  throw new Error("does not converge");
}

const failures = fc.array(fc.boolean(), { maxLength: 20 });

describe("plan and apply repeated", () => {
  test("bring any observed state to a running pod, and then do nothing", () => {
    fc.assert(
      fc.property(anyState, failures, (start, failing) => {
        const { state, last } = converge(start, failing, "sync");
        expect(computePodStatus(last).phase).toBe("Running");
        const running = state.containers.filter((container) => container.state === "running");
        expect(running.map(({ name }) => name).sort()).toEqual(["proxy", "side", "web"]);
        expect(state.sandboxes).toHaveLength(1);
        expect(running.every(({ sandboxId }) => sandboxId === state.sandboxes[0]?.id)).toBe(true);
        expect(converge(state, [], "sync").rounds).toBe(0);
      }),
      { numRuns: 300 },
    );
  });

  test("leave nothing running of a pod that ends, and never make anything", () => {
    fc.assert(
      fc.property(anyState, failures, (start, failing) => {
        const { state } = converge(start, failing, "terminating");
        expect(state.containers.filter((container) => container.state === "running")).toEqual([]);
        expect(state.sandboxes.filter((sandbox) => sandbox.state === "ready")).toEqual([]);
        expect(state.containers).toHaveLength(start.containers.length);
      }),
      { numRuns: 200 },
    );
  });

  test("never publish a terminal phase for a pod that is kept running", () => {
    fc.assert(
      fc.property(anyState, (observed) => {
        expect(["Pending", "Running"]).toContain(
          computePodStatus(makeSnapshot({ pod: POD, observed })).phase,
        );
      }),
      { numRuns: 300 },
    );
  });
});
