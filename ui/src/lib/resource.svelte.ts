/**
 * Something fetched: its data, whether it is on its way, what went wrong. What was shown before stays until the new
 * answer is there, so that nothing flickers; an answer that was overtaken by a newer question is dropped.
 */
import { untrack } from 'svelte';
import { ApiError } from './api';
import { hub } from './live.svelte';
import type { Batch } from './types';

/** See `refresh`. */
const SETTLE_MS = 300;

export class Resource<T> {
  data = $state.raw<T>();
  error = $state.raw<ApiError>();
  loading = $state(false);
  #abort: AbortController | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #last = 0;
  readonly #fetcher: (signal: AbortSignal) => Promise<T>;

  constructor(fetcher: (signal: AbortSignal) => Promise<T>) {
    this.#fetcher = fetcher;
  }

  reload = async (): Promise<void> => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.loading = true;
    this.#last = performance.now();
    try {
      const data = await this.#fetcher(abort.signal);
      if (this.#abort !== abort) return;
      this.data = data;
      this.error = undefined;
    } catch (error) {
      if (this.#abort !== abort || abort.signal.aborted) return;
      this.error = error instanceof ApiError ? error : new ApiError('unreadable', 0, '', String(error), '');
    }
    this.loading = false;
  };

  /** Reloads soon, at most once in `everyMs`, however often it is asked. */
  refresh(everyMs: number): void {
    if (this.#timer !== undefined) return;
    // News come from the log; the stores that answer hear of it a moment later.
    const wait = Math.max(SETTLE_MS, this.#last + everyMs - performance.now());
    this.#timer = setTimeout(() => {
      // A hidden tab waits until it is looked at again.
      if (document.visibilityState === 'hidden') {
        this.#timer = undefined;
        return;
      }
      void this.reload();
    }, wait);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#abort?.abort();
    this.#abort = undefined;
  }
}

export interface Refresh {
  /** Whether a batch means that the data has changed. */
  when?: (batch: Batch) => unknown;
  /** At most this often, for `when`. */
  everyMs?: number;
  /** Ask again after this long, whatever happens. */
  pollMs?: number;
}

/** A resource of a component: fetched again when what `fetcher` reads from state changes, and after a break of the stream. */
export function resource<T>(fetcher: (signal: AbortSignal) => Promise<T>, { when, everyMs = 2000, pollMs }: Refresh = {}): Resource<T> {
  const found = new Resource(fetcher);
  $effect(() => {
    // The fetcher runs synchronously up to its request, so that effect knows what it depends on.
    void track(found);
    return () => found.stop();
  });
  $effect(() => hub.onResync(() => void found.reload()));
  $effect(() => {
    if (!when) return;
    return hub.onBatch((batch) => {
      if (when(batch)) found.refresh(everyMs);
    });
  });
  $effect(() => {
    if (pollMs === undefined) return;
    const timer = setInterval(() => {
      if (document.visibilityState === 'visible' && !found.loading) void found.reload();
    }, pollMs);
    const shown = (): void => {
      if (document.visibilityState === 'visible') void found.reload();
    };
    document.addEventListener('visibilitychange', shown);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', shown);
    };
  });
  return found;
}

/** Reading its own state must not make the effect depend on it. */
function track<T>(found: Resource<T>): Promise<void> {
  return found.reload();
}

/** Runs without becoming dependent on what it reads. */
export const quietly = untrack;
