/** Counts of page views per window: what was fetched, what the stream has added, and windows in which nothing happened. */
import type { PageCount, PageWindow } from './types';

/** The windows with newer counts put in; the newest count of a page in a window is the one that holds. */
export function addCounts(windows: PageWindow[], news: PageCount[], size: number): PageWindow[] {
  const all = new Map(windows.map((window) => [window.start, window]));
  for (const { page, window_start: start, window_end: end, count } of news) {
    const window = all.get(start) ?? { start, end: end || start + size, counts: {}, closed: false };
    all.set(start, { ...window, counts: { ...window.counts, [page]: count } });
  }
  return [...all.values()].sort((a, b) => a.start - b.start);
}

/** The newest `most` windows up to the one of `now`, none left out: a window without a view is a zero, not a gap. */
export function windowsUntil(windows: PageWindow[], now: number, size: number, most: number): PageWindow[] {
  const known = new Map(windows.map((window) => [window.start, window]));
  const last = Math.max(Math.floor(now / size) * size, windows.at(-1)?.start ?? 0);
  const first = Math.max(windows[0]?.start ?? last, last - (most - 1) * size);
  const all: PageWindow[] = [];
  for (let start = first; start <= last; start += size) {
    const window = known.get(start) ?? { start, end: start + size, counts: {}, closed: false };
    all.push({ ...window, closed: window.closed || window.end <= now });
  }
  return all;
}

/** The window in which `now` lies. */
export function currentWindow(windows: PageWindow[], now: number, size: number): PageWindow {
  const start = Math.floor(now / size) * size;
  return windows.find((window) => window.start === start) ?? { start, end: start + size, counts: {}, closed: false };
}

/** `always`, then every other page that has a view, by name. */
export function pageNames(windows: PageWindow[], always: string[]): string[] {
  const found = new Set(windows.flatMap((window) => Object.keys(window.counts)));
  return [...always, ...[...found].filter((name) => !always.includes(name)).sort((a, b) => a.localeCompare(b, undefined, { numeric: true }))];
}
