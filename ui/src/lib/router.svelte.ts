/** The address bar as state: where the reader is, and going elsewhere without loading the document again. */
import { isInternal, match, type Route } from './router';

class Router {
  #url = $state.raw(new URL(location.href));
  route: Route = $derived(match(this.#url.pathname));
  query = $derived(this.#url.searchParams);
  path = $derived(this.#url.pathname);
  /** Counts navigations by the reader, so that the shell can move the focus and the view. */
  moves = $state(0);

  start(): void {
    addEventListener('popstate', () => {
      this.#url = new URL(location.href);
      this.moves += 1;
    });
    document.addEventListener('click', (event) => {
      if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
      const link = (event.target as Element | null)?.closest?.('a');
      if (!(link instanceof HTMLAnchorElement) || link.target || link.hasAttribute('download') || link.getAttribute('href')?.startsWith('#')) return;
      const url = new URL(link.href);
      if (!isInternal(url, location.origin)) return;
      event.preventDefault();
      this.go(url.pathname + url.search);
    });
  }

  go(to: string): void {
    const samePage = new URL(to, location.href).pathname === location.pathname;
    history.pushState(null, '', to);
    this.#url = new URL(location.href);
    if (!samePage) this.moves += 1;
  }

  /** Keeps a page's filters in its address; an empty value removes the key. No new entry in the history. */
  setQuery(changes: Record<string, string | number | undefined>): void {
    const url = new URL(location.href);
    for (const [key, value] of Object.entries(changes)) {
      if (value === undefined || value === '') url.searchParams.delete(key);
      else url.searchParams.set(key, String(value));
    }
    history.replaceState(null, '', url.pathname + url.search + url.hash);
    this.#url = url;
  }
}

export const router = new Router();
