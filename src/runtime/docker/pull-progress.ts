/**
 * Watches over one pull: says every ten seconds how far it is, and ends one whose Engine has been silent for too long
 * (cri-dockerd's image-pull-progress-deadline). Used by images.ts.
 */

import type { Clock, Timer } from "../../core/clock.ts";

/** One message of the Engine's answer to a pull. */
export interface PullMessage {
  readonly id?: string;
  readonly status?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
  readonly error?: string;
  readonly errorDetail?: { readonly code?: number; readonly message?: string };
}

export interface PullWatchOptions {
  readonly clock: Clock;
  readonly silenceMs: number;
  readonly onReport: (summary: string) => void;
  readonly onSilence: () => void;
}

interface Layer {
  readonly isDone: boolean;
  readonly current: number;
  readonly total: number;
}

const REPORT_MS = 10_000;
const DONE = ["Pull complete", "Already exists"];
const MEGABYTE = 1_000_000;

export class PullWatch {
  readonly #options: PullWatchOptions;
  readonly #layers = new Map<string, Layer>();
  #heardAt: number;
  #timer: Timer;

  constructor(options: PullWatchOptions) {
    this.#options = options;
    this.#heardAt = options.clock.monotonic();
    this.#timer = this.#arm();
  }

  onMessage({ id, status = "", progressDetail }: PullMessage): void {
    this.#heardAt = this.#options.clock.monotonic();
    if (id === undefined || /^Pulling from /.test(status)) return;
    const known = this.#layers.get(id) ?? { isDone: false, current: 0, total: 0 };
    // The sizes of an extraction are those of its download again.
    const isDownload = status === "Downloading";
    this.#layers.set(id, {
      isDone: DONE.includes(status),
      current: isDownload ? (progressDetail?.current ?? known.current) : known.current,
      total: isDownload ? (progressDetail?.total ?? known.total) : known.total,
    });
  }

  stop(): void {
    this.#timer.cancel();
  }

  #arm(): Timer {
    const { clock, silenceMs } = this.#options;
    const left = this.#heardAt + silenceMs - clock.monotonic();
    return clock.after(Math.min(REPORT_MS, left), () => this.#look());
  }

  #look(): void {
    const { clock, silenceMs, onReport, onSilence } = this.#options;
    if (clock.monotonic() - this.#heardAt >= silenceMs) {
      onSilence();
      return;
    }
    onReport(this.#summary());
    this.#timer = this.#arm();
  }

  #summary(): string {
    const layers = [...this.#layers.values()];
    const sum = (values: readonly number[]): string =>
      (values.reduce((total, value) => total + value, 0) / MEGABYTE).toFixed(1);
    const done = layers.filter(({ isDone }) => isDone).length;
    const bytes = `${sum(layers.map(({ current }) => current))} of ${sum(layers.map(({ total }) => total))} MB`;
    return layers.length === 0
      ? "waiting for the registry"
      : `${done} of ${layers.length} layers, ${bytes} downloaded`;
  }
}
