/** Whoever acts by keyboard must not be thrown back to the top of the page when the button that was pressed gives way to another. */
import { tick } from 'svelte';

const usable = (row: Element | null): HTMLElement | null => row?.querySelector<HTMLElement>('.actions button:not(:disabled)') ?? null;

/** The nearest row with something to press: those that follow first, as one works down a list; then its own; then those before. */
function nearest(rows: Element[], at: number): HTMLElement | null {
  for (const row of [...rows.slice(at + 1), ...rows.slice(0, at + 1).reverse()]) {
    const found = row.isConnected ? usable(row) : null;
    if (found) return found;
  }
  return null;
}

/** Runs it; where the pressed button is gone afterwards, the nearest row's button has the focus. */
export async function keepFocus(event: Event, run: () => Promise<unknown>): Promise<void> {
  const button = event.currentTarget;
  const row = button instanceof Element ? button.closest('tr') : null;
  const rows = [...(row?.parentElement?.children ?? [])];
  await run();
  await tick();
  const lost = document.activeElement === document.body || document.activeElement === null;
  if (row && lost) nearest(rows, rows.indexOf(row))?.focus();
}
