import { beforeEach, describe, expect, test } from 'vitest';
import { KEPT, StreamHub, merge, type Connection } from './stream';
import type { Batch } from './types';

/** A source that the test drives. */
class Source {
  readyState = 0;
  onopen: (() => void) | null = null;
  onerror: (() => void) | null = null;
  closed = false;
  #listeners = new Map<string, ((event: { data: string }) => void)[]>();
  addEventListener(type: string, listener: (event: { data: string }) => void): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }
  close(): void {
    this.closed = true;
    this.readyState = 2;
  }
  open(): void {
    this.readyState = 1;
    this.onopen?.();
  }
  fail(readyState: 0 | 2): void {
    this.readyState = readyState;
    this.onerror?.();
  }
  send(type: string, data: unknown): void {
    for (const listener of this.#listeners.get(type) ?? []) listener({ data: typeof data === 'string' ? data : JSON.stringify(data) });
  }
}

let sources: Source[];
let frames: (() => void)[];
let timers: { run: () => void; ms: number; live: boolean }[];
let batches: Batch[];
let states: Connection[];
let resyncs: number;
let hub: StreamHub;
const source = (): Source => sources.at(-1) as Source;
const frame = (): void => {
  for (const run of frames.splice(0)) run();
};
const elapse = (): void => {
  for (const timer of timers.splice(0)) if (timer.live) timer.run();
};

beforeEach(() => {
  [sources, frames, timers, batches, states, resyncs] = [[], [], [], [], [], 0];
  hub = new StreamHub(
    '/stream',
    {
      open: () => {
        const made = new Source();
        sources.push(made);
        return made as unknown as EventSource;
      },
      frame: (run) => frames.push(run),
      later: (run, ms) => {
        const timer = { run, ms, live: true };
        timers.push(timer);
        return timer;
      },
      cancel: (timer) => {
        if (timer) (timer as { live: boolean }).live = false;
      },
      random: () => 1,
    },
    () => 1000,
  );
  hub.onBatch((batch) => batches.push(batch));
  hub.onState((state) => states.push(state));
  hub.onResync(() => (resyncs += 1));
  hub.start();
});

describe('coalescing', () => {
  test('many messages between two frames are one batch', () => {
    source().open();
    for (let i = 1; i <= 1000; i += 1) source().send('batch', { at: i, shop_total: i, user: 2, score: [{ customer_id: `c${i}` }], overview: { anomalies: i } });
    expect(batches).toHaveLength(0);
    expect(frames).toHaveLength(1);
    frame();
    expect(batches).toHaveLength(1);
    expect(batches[0]).toMatchObject({ at: 1000, shop_total: 1000, user: 2000, overview: { anomalies: 1000 } });
    expect(batches[0]?.score).toHaveLength(KEPT);
    expect(batches[0]?.score?.at(-1)?.customer_id).toBe('c1000');
    frame();
    expect(batches).toHaveLength(1);
  });

  test('an absent key stays absent', () => {
    source().send('batch', { at: 1, score: [] });
    frame();
    expect(batches[0]).toEqual({ at: 1 });
  });

  test('a message that does not parse changes nothing', () => {
    for (const data of ['{', 'null', '3', '']) source().send('batch', data);
    frame();
    expect(batches).toEqual([]);
  });

  test('merging leaves its second argument alone', () => {
    const from: Batch = { at: 2, overview: { customers: 1 } };
    merge({ at: 1, overview: { customers: 0, at_risk: 3 } }, from);
    expect(from).toEqual({ at: 2, overview: { customers: 1 } });
  });

  test('the difference of the clocks is known', () => {
    source().send('batch', { at: 4000 });
    expect(hub.clockOffset).toBe(3000);
  });
});

describe('connection', () => {
  test('the first opening asks nobody to fetch again, an opening after a break does', () => {
    source().open();
    expect([states, resyncs]).toEqual([['open'], 0]);
    source().fail(0);
    expect(states).toEqual(['open', 'broken']);
    // The browser reconnects by itself, with Last-Event-ID: no second source.
    expect(sources).toHaveLength(1);
    expect(timers).toHaveLength(0);
    source().open();
    expect([states, resyncs]).toEqual([['open', 'broken', 'open'], 1]);
  });

  test('where the browser gives up, the hub tries again, waiting longer each time', () => {
    const waits: number[] = [];
    for (let i = 0; i < 7; i += 1) {
      source().fail(2);
      waits.push(timers[0]?.ms ?? -1);
      elapse();
    }
    expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 10_000, 10_000]);
    expect(sources).toHaveLength(8);
    source().open();
    expect(hub.state).toBe('open');
    source().fail(2);
    expect(timers[0]?.ms).toBe(500);
  });

  test('an old source has no say any more', () => {
    const old = source();
    old.fail(2);
    elapse();
    source().open();
    old.fail(2);
    old.send('batch', { at: 1 });
    expect(hub.state).toBe('open');
    expect(frames).toHaveLength(0);
  });

  test('resync drops what waits and asks to fetch again', () => {
    source().open();
    source().send('batch', { at: 1, shop_total: 5 });
    source().send('resync', '');
    frame();
    expect([batches, resyncs]).toEqual([[], 1]);
  });

  test('the reader can try at once', () => {
    source().fail(2);
    hub.retryNow();
    expect(sources).toHaveLength(2);
    elapse();
    expect(sources).toHaveLength(2);
  });

  test('a stopped hub stays stopped', () => {
    const one = source();
    hub.stop();
    one.fail(2);
    elapse();
    expect([sources.length, one.closed]).toEqual([1, true]);
  });
});
