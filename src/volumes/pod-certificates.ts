/**
 * Keys and certificates of podCertificate sources: for each source of a pod a key made here, a PodCertificateRequest,
 * and what its signer makes of it; renewed from beginRefreshAt on with another key, the old pair staying until then.
 * A request that is denied or has failed is final, as upstream has it. Held in memory only: after a restart of the
 * agent new ones are asked for. Called in each turn of a pod by volume-manager.ts.
 */

import { type EventSink, involvedPod } from "../api/events.ts";
import type { Pod, PodCertificateRequest, Volume } from "../api/types.ts";
import type { Clock } from "../core/clock.ts";
import { assertNever, LongshoreError } from "../core/errors.ts";
import type { Logger } from "../core/logger.ts";
import { readPem, writePem } from "./pem.ts";
import { generateCertificateKey } from "./pod-certificate-key.ts";
import type { CertificateSource } from "./volumes.ts";

type ProjectedSource = NonNullable<NonNullable<Volume["projected"]>["sources"]>[number];
export type PodCertificateSource = NonNullable<ProjectedSource["podCertificate"]>;

/** PEM. */
export interface Credentials {
  readonly key: Buffer;
  readonly chain: Buffer;
}

/** A request under way. Times in milliseconds since the epoch. */
interface Pending {
  readonly privateKey: string;
  readonly request: string;
  /** One that is not there by then has been deleted. */
  readonly abandonAt: number;
}

interface Issued {
  readonly kind: "issued";
  readonly credentials: Credentials;
  readonly refreshAt: number;
  /** Monotonic: whatever the clock or the signer says, it is not asked again before. */
  readonly restUntil: number;
  readonly notAfter: number;
  readonly refresh?: Pending;
  /** Reasons of events already told. */
  readonly told: readonly string[];
}

type State =
  | { readonly kind: "waiting"; readonly pending: Pending }
  | Issued
  | { readonly kind: "refused"; readonly message: string };

const ABANDON_MS = 10 * 60_000;
const OVERDUE_MS = 10 * 60_000;
/** The pod's next turn comes with what is issued: with a certificate that is old already they would not end. */
const REST_MS = 60_000;
/** Spreads the renewals of many pods. */
const JITTER_MS = 5 * 60_000;

export interface PodCertificatesOptions {
  readonly objects: CertificateSource;
  readonly events: EventSink;
  readonly clock: Clock;
  readonly random: () => number;
  readonly log: Logger;
}

export class PodCertificates {
  readonly #options: PodCertificatesOptions;
  readonly #states = new Map<string, Map<string, State>>();

  constructor(options: PodCertificatesOptions) {
    this.#options = options;
  }

  /** `place` names the source in the pod. Throws VolumeNotReady until a certificate is there, and when it is refused. */
  async get(
    pod: Pod,
    place: string,
    source: PodCertificateSource,
    signal: AbortSignal,
  ): Promise<Credentials> {
    const states = this.#states.get(pod.metadata.uid) ?? new Map<string, State>();
    this.#states.set(pod.metadata.uid, states);
    const ask = (): Promise<Pending> => this.#ask(pod, source, signal);
    const state = await this.#next(pod, states.get(place), ask);
    states.set(place, state);
    if (state.kind === "issued") return state.credentials;
    throw new LongshoreError(
      "VolumeNotReady",
      state.kind === "refused" ? state.message : "credential bundle is not issued yet",
    );
  }

  forget(podUid: string): void {
    this.#states.delete(podUid);
  }

  async #next(pod: Pod, state: State | undefined, ask: () => Promise<Pending>): Promise<State> {
    if (state === undefined) return { kind: "waiting", pending: await ask() };
    switch (state.kind) {
      case "waiting":
        if (this.#isLost(pod, state.pending)) return { kind: "waiting", pending: await ask() };
        return this.#outcome(pod, state.pending) ?? state;
      case "issued":
        return this.#nextOfIssued(pod, state, ask);
      case "refused":
        return state;
      default:
        return assertNever(state);
    }
  }

  async #nextOfIssued(pod: Pod, state: Issued, ask: () => Promise<Pending>): Promise<State> {
    const { clock } = this.#options;
    if (clock.now() < state.refreshAt || clock.monotonic() < state.restUntil) return state;
    const { refresh } = state;
    if (refresh !== undefined && !this.#isLost(pod, refresh))
      return this.#outcome(pod, refresh) ?? this.#tellLateness(pod, state);
    try {
      return this.#tellLateness(pod, { ...state, refresh: await ask() });
    } catch (err) {
      this.#options.log.warn({ pod: pod.metadata.name, err }, "pod certificate not renewed yet");
      return this.#tellLateness(pod, state);
    }
  }

  async #ask(pod: Pod, source: PodCertificateSource, signal: AbortSignal): Promise<Pending> {
    const { objects, clock } = this.#options;
    const { signerName, maxExpirationSeconds, userAnnotations } = source;
    const { privateKey, proof } = await generateCertificateKey(source.keyType, pod.metadata.uid);
    const request = await objects.requestPodCertificate(
      pod,
      {
        ...{ signerName, proof },
        ...(maxExpirationSeconds === undefined ? {} : { maxExpirationSeconds }),
        ...(userAnnotations === undefined ? {} : { userAnnotations }),
      },
      signal,
    );
    return { privateKey, request, abandonAt: clock.now() + ABANDON_MS };
  }

  #find(pod: Pod, { request }: Pending): PodCertificateRequest | undefined {
    return this.#options.objects.findPodCertificateRequest(pod.metadata.namespace, request);
  }

  #isLost(pod: Pod, pending: Pending): boolean {
    return this.#find(pod, pending) === undefined && this.#options.clock.now() > pending.abandonAt;
  }

  /** Undefined while the signer has not decided. */
  #outcome(pod: Pod, pending: Pending): State | undefined {
    const {
      conditions = [],
      certificateChain = "",
      ...times
    } = this.#find(pod, pending)?.status ?? {};
    const decision = conditions.find(({ type }) => ["Issued", "Denied", "Failed"].includes(type));
    if (decision === undefined) return undefined;
    const { type, reason = "", message = "" } = decision;
    if (type !== "Issued") {
      const why = `reason=${JSON.stringify(reason)} message=${JSON.stringify(message)}`;
      const what = `PodCertificateRequest ${pod.metadata.namespace}/${pending.request}`;
      const verb = type === "Denied" ? "was denied" : "failed";
      this.#options.events.record(involvedPod(pod), "Warning", type, `${what} ${verb}, ${why}`);
      const past = type === "Denied" ? "denied" : "failed";
      return {
        kind: "refused",
        message: `PodCertificateRequest was permanently ${past}: ${why}`,
      };
    }
    return {
      kind: "issued",
      credentials: {
        key: Buffer.from(pending.privateKey),
        chain: writePem("CERTIFICATE", readPem(certificateChain)),
      },
      restUntil: this.#options.clock.monotonic() + REST_MS,
      refreshAt: Date.parse(times.beginRefreshAt ?? "") + this.#options.random() * JITTER_MS,
      notAfter: Date.parse(times.notAfter ?? ""),
      told: [],
    };
  }

  /** Once each for a pair that is not renewed in time. */
  #tellLateness(pod: Pod, state: Issued): Issued {
    const now = this.#options.clock.now();
    const due = [
      [
        state.refreshAt + OVERDUE_MS,
        "CertificateOverdueForRefresh",
        "PodCertificate refresh overdue",
      ],
      [state.notAfter, "CertificateExpired", "PodCertificate expired"],
    ] as const;
    const news = due.filter(([at, reason]) => now > at && !state.told.includes(reason));
    for (const [, reason, message] of news)
      this.#options.events.record(involvedPod(pod), "Warning", reason, message);
    return { ...state, told: [...state.told, ...news.map(([, reason]) => reason)] };
  }
}
