/** The screens' one stream, what every page shares of it (connection, overview, info), and the clock of relative times. */
import { get } from './api';
import { stored } from './i18n.svelte';
import { StreamHub, type Connection } from './stream';
import type { Batch, Info, Overview } from './types';

export const hub = new StreamHub('/api/v1/stream', {
  open: (url) => new EventSource(url),
  frame: (run) => requestAnimationFrame(run),
  later: (run, ms) => setTimeout(run, ms),
  cancel: (timer) => clearTimeout(timer as number | undefined),
  random: Math.random,
});

class Live {
  connection = $state<Connection>('connecting');
  info = $state.raw<Info>();
  /** The newest overview that the stream sent; the page asks for the whole of it itself. */
  overview = $state.raw<Partial<Overview>>({});
  /** The present moment of the program's clock, to the second. */
  now = $state(Date.now());
  /** Who acts, for the records of approvals and alerts. */
  actor = $state(stored.get('vigie.by') ?? '');

  begin(): void {
    hub.onState((state) => (this.connection = state));
    hub.onBatch((batch) => {
      if (batch.overview) this.overview = { ...this.overview, ...batch.overview };
    });
    hub.onResync(() => void this.#loadInfo());
    hub.start();
    void this.#loadInfo();
    setInterval(() => (this.now = Date.now() + hub.clockOffset), 1000);
    addEventListener('online', () => hub.retryNow());
    addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') hub.retryNow();
    });
  }

  act(name: string): void {
    this.actor = name.trim().slice(0, 80);
    stored.set('vigie.by', this.actor);
  }

  /** The body of a request that changes something: who did it, where that is known. */
  get by(): { by?: string } {
    return this.actor ? { by: this.actor } : {};
  }

  get currency(): string {
    return this.info?.currency ?? 'EUR';
  }

  async #loadInfo(): Promise<void> {
    try {
      const [info, overview] = await Promise.all([get<Info>('/info'), get<Overview>('/overview')]);
      this.info = info;
      // What the stream has sent meanwhile is newer.
      this.overview = { ...overview, ...this.overview };
    } catch {
      // The pages say themselves when nothing answers; the next resync asks again.
    }
  }
}

export const live = new Live();

/** Listens while the component lives. */
export function onBatch(listener: (batch: Batch) => void): void {
  $effect(() => hub.onBatch(listener));
}

/** The same for lists that are read by eye: batches are gathered, since rows that change ten times a second cannot be read, only cost. */
export function onBatches(listener: (batches: Batch[]) => void, everyMs: number): void {
  $effect(() => {
    let gathered: Batch[] = [];
    let timer: ReturnType<typeof setTimeout> | undefined;
    let last = -Infinity;
    const flush = (): void => {
      timer = undefined;
      last = performance.now();
      const batches = gathered;
      gathered = [];
      listener(batches);
    };
    const stop = hub.onBatch((batch) => {
      gathered.push(batch);
      if (timer !== undefined) return;
      const wait = last + everyMs - performance.now();
      if (wait <= 0) flush();
      else timer = setTimeout(flush, wait);
    });
    return () => {
      stop();
      clearTimeout(timer);
    };
  });
}
