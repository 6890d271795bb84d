/**
 * The one event stream of the screens: it connects, says whether it is connected, recovers by itself, and hands out
 * what came in at most once a frame.
 *
 * Invariants: between two frames memory is bounded (lists keep their newest entries), a message that does not parse
 * changes nothing, and after every break listeners are told to fetch again, because what happened meanwhile may be
 * lost. Short breaks are the browser's own business: it reconnects and sends `Last-Event-ID`.
 */
import type { Batch } from './types';

export type Connection = 'connecting' | 'open' | 'broken';
type Listener = (batch: Batch) => void;

/** What the hub needs from its surroundings, so that tests can bring their own. */
export interface Surroundings {
  open(url: string): EventSource;
  frame(run: () => void): void;
  later(run: () => void, ms: number): unknown;
  cancel(timer: unknown): void;
  random(): number;
}

const LISTS = ['score', 'shop', 'pages', 'alert', 'anomaly', 'pattern', 'assignment', 'outcome'] as const;
/** Entries of one kind that are kept between two frames; a hidden tab has no frames for hours. */
export const KEPT = 500;
const FIRST_WAIT = 500;
const LONGEST_WAIT = 10_000;
/** `EventSource.CLOSED`; the constant itself is not there where tests run. */
const CLOSED = 2;

export class StreamHub {
  #listeners = new Set<Listener>();
  #resyncs = new Set<() => void>();
  #states = new Set<(state: Connection) => void>();
  #source: EventSource | undefined;
  #pending: Batch | undefined;
  #waiting: unknown;
  #attempts = 0;
  #everOpen = false;
  #stopped = true;
  state: Connection = 'connecting';
  /** How far the program's clock is ahead of this one's, from the newest message. */
  clockOffset = 0;

  constructor(
    private readonly url: string,
    private readonly around: Surroundings,
    private readonly now: () => number = Date.now,
  ) {}

  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    this.#connect();
  }

  stop(): void {
    this.#stopped = true;
    this.around.cancel(this.#waiting);
    this.#waiting = undefined;
    this.#source?.close();
    this.#source = undefined;
  }

  /** Tries at once instead of at the end of the wait: the reader asked for it, or the network came back. */
  retryNow(): void {
    if (this.#stopped || this.state === 'open') return;
    this.around.cancel(this.#waiting);
    this.#attempts = 0;
    this.#connect();
  }

  onBatch(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Told when what is on the screen may be stale and should be fetched again. */
  onResync(listener: () => void): () => void {
    this.#resyncs.add(listener);
    return () => this.#resyncs.delete(listener);
  }

  onState(listener: (state: Connection) => void): () => void {
    this.#states.add(listener);
    return () => this.#states.delete(listener);
  }

  #connect(): void {
    this.#source?.close();
    this.#waiting = undefined;
    const source = this.around.open(this.url);
    this.#source = source;
    source.onopen = () => {
      if (source !== this.#source) return;
      const back = this.#everOpen && this.state !== 'open';
      this.#everOpen = true;
      this.#attempts = 0;
      this.#become('open');
      if (back) this.#resync();
    };
    source.onerror = () => {
      if (source !== this.#source) return;
      this.#become('broken');
      // CONNECTING: the browser tries again by itself. CLOSED: it has given up, so we do it.
      if (source.readyState === CLOSED) this.#connectLater();
    };
    source.addEventListener('batch', (event) => {
      if (source === this.#source) this.#take((event as MessageEvent<string>).data);
    });
    source.addEventListener('resync', () => {
      if (source === this.#source) this.#resync();
    });
  }

  #connectLater(): void {
    if (this.#stopped || this.#waiting !== undefined) return;
    const wait = Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** this.#attempts);
    this.#attempts += 1;
    // Half of the wait is drawn at random: many tabs must not come back at the same instant.
    this.#waiting = this.around.later(() => this.#connect(), wait / 2 + (wait / 2) * this.around.random());
  }

  #become(state: Connection): void {
    if (this.state === state) return;
    this.state = state;
    for (const listener of this.#states) listener(state);
  }

  #resync(): void {
    this.#pending = undefined;
    for (const listener of this.#resyncs) listener();
  }

  #take(data: string): void {
    let batch: Batch;
    try {
      batch = JSON.parse(data) as Batch;
    } catch {
      return;
    }
    if (typeof batch !== 'object' || batch === null) return;
    if (typeof batch.at === 'number') this.clockOffset = batch.at - this.now();
    if (this.#pending) {
      merge(this.#pending, batch);
    } else {
      this.#pending = merge({ at: batch.at }, batch);
      this.around.frame(() => this.#flush());
    }
  }

  #flush(): void {
    const batch = this.#pending;
    this.#pending = undefined;
    if (!batch) return;
    for (const listener of this.#listeners) listener(batch);
  }
}

/** Adds what is new to what waits for the next frame. */
export function merge(into: Batch, from: Batch): Batch {
  for (const key of LISTS) {
    const more = from[key];
    if (!more?.length) continue;
    const all = [...((into[key] as unknown[] | undefined) ?? []), ...more];
    (into as unknown as Record<string, unknown>)[key] = all.length > KEPT ? all.slice(-KEPT) : all;
  }
  if (from.user) into.user = (into.user ?? 0) + from.user;
  if (from.shop_total !== undefined) into.shop_total = from.shop_total;
  if (from.overview) into.overview = { ...into.overview, ...from.overview };
  into.at = from.at;
  return into;
}
