/** Which page an address means. Pure; `router.svelte.ts` ties it to the browser's history. */

export const PAGES = [
  'overview',
  'customers',
  'customer',
  'form',
  'queue',
  'pages',
  'shop',
  'users',
  'alerts',
  'anomalies',
  'operations',
  'model',
] as const;

export type PageName = (typeof PAGES)[number];
export type Route = { page: PageName; id: string } | { page: 'unknown'; id: string };

/** The address of a page; a customer's needs the id. */
export function href(page: PageName, id = '', query: Record<string, string | number | undefined> = {}): string {
  const path = page === 'overview' ? '/' : page === 'customer' ? `/customers/${encodeURIComponent(id)}` : `/${page}`;
  const search = new URLSearchParams();
  for (const [key, value] of Object.entries(query)) if (value !== undefined && value !== '') search.set(key, String(value));
  const tail = search.toString();
  return tail ? `${path}?${tail}` : path;
}

export function match(pathname: string): Route {
  const parts = pathname.split('/').filter((part) => part !== '');
  const [first, second] = parts;
  if (first === undefined) return { page: 'overview', id: '' };
  if (first === 'customers' && second !== undefined && parts.length === 2) {
    try {
      return { page: 'customer', id: decodeURIComponent(second) };
    } catch {
      return { page: 'unknown', id: '' };
    }
  }
  const page = PAGES.find((name) => name === first);
  if (parts.length === 1 && page && page !== 'overview' && page !== 'customer') return { page, id: '' };
  return { page: 'unknown', id: '' };
}

/** Whether a click on this link stays within the screens (and may be answered without loading the document). */
export function isInternal(url: URL, origin: string): boolean {
  return url.origin === origin && match(url.pathname).page !== 'unknown';
}
