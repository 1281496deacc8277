/**
 * Runs one probe of one container instance: first when initialDelaySeconds since the container's start are over,
 * then once per period, never two at a time, until it goes on hold or is stopped. Promises that after `stop` resolved
 * nothing of it runs. Made and stopped by manager.ts only.
 */

import type { Probe } from "../api/types.ts";
import type { Clock, Timer } from "../core/clock.ts";
import { type ProbeKind, type ProbeReport, secondsOf } from "./probes.ts";
import { computeVerdict, initialState, type ProbeOutcome, type ProbeState } from "./verdict.ts";

export interface WorkerOptions {
  readonly kind: ProbeKind;
  readonly probe: Probe;
  /** Milliseconds since the epoch. */
  readonly startedAt: number;
  /** It ran before the agent started. */
  readonly isAdopted: boolean;
  /** This instance passed the probe before the agent restarted. */
  readonly hasPassed: boolean;
  readonly clock: Clock;
  /** [0, 1). */
  readonly random: () => number;
  /** Runs the probe once; does not throw. */
  readonly run: (signal: AbortSignal) => Promise<ProbeOutcome>;
  /** False while a startup probe holds back the others. */
  readonly mayRun: () => boolean;
  /** The result changed. */
  readonly onChange: () => void;
}

export class ProbeWorker {
  readonly #options: WorkerOptions;
  readonly #periodMs: number;
  readonly #controller = new AbortController();
  #state: ProbeState;
  #last: ProbeReport["last"];
  #timer: Timer | undefined;
  #turn: Promise<void> | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#periodMs = secondsOf(options.probe.periodSeconds, 10) * 1000;
    this.#state = initialState(options.kind, options.hasPassed);
  }

  get state(): ProbeState {
    return this.#state;
  }

  report(): Omit<ProbeReport, "containerId"> {
    const { result, streak } = this.#state;
    const last = this.#last === undefined ? {} : { last: this.#last };
    return { kind: this.#options.kind, result, streak, ...last };
  }

  start(): void {
    const { isAdopted, random } = this.#options;
    // Containers found running when the agent starts must not all be probed at the same instant.
    this.#schedule(Math.max(this.#delayMs(), isAdopted ? random() * this.#periodMs : 0));
  }

  /** Runs now instead of at the next tick: the startup probe passed. */
  poke(): void {
    if (this.#turn === undefined) this.#schedule(this.#delayMs());
  }

  async stop(): Promise<void> {
    this.#controller.abort();
    this.#timer?.cancel();
    await this.#turn;
  }

  /** What is left of initialDelaySeconds; all of it when the clock was set back to before the start. */
  #delayMs(): number {
    const { clock, startedAt, probe } = this.#options;
    const age = Math.max(0, clock.now() - startedAt);
    return Math.max(0, secondsOf(probe.initialDelaySeconds, 0) * 1000 - age);
  }

  #schedule(delayMs: number): void {
    this.#timer?.cancel();
    if (this.#controller.signal.aborted || this.#state.isOnHold) return;
    this.#timer = this.#options.clock.after(delayMs, () => {
      this.#turn = this.#runTurn();
    });
  }

  async #runTurn(): Promise<void> {
    const { clock, kind, probe, run, mayRun, onChange } = this.#options;
    const begun = clock.monotonic();
    const before = this.#state;
    if (mayRun()) {
      const outcome = await run(this.#controller.signal);
      if (this.#controller.signal.aborted) return;
      // What a healthy program answers is nobody's business.
      const message = outcome.kind === "success" ? "" : outcome.message;
      this.#last = { at: clock.now(), outcome: outcome.kind, message };
      this.#state = computeVerdict(kind, before, outcome, probe);
    }
    this.#turn = undefined;
    this.#schedule(Math.max(0, this.#periodMs - (clock.monotonic() - begun)));
    if (this.#state.result !== before.result || this.#state.isOnHold) onChange();
  }
}
