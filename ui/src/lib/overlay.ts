/**
 * What was decided a moment ago, laid over what the stores say: a store hears of a change a little after the log, and a list fetched
 * in between would show the old state again.
 */

export interface Dated {
  updated_at: number;
}

/** The list with whatever is newer in `known`; what `known` leaves out stays. */
export function overlay<T extends Dated, N extends Dated>(items: T[], known: ReadonlyMap<string, N>, key: (item: T) => string): T[] {
  return items.map((item) => {
    const newer = known.get(key(item));
    return newer && newer.updated_at >= item.updated_at ? { ...item, ...newer } : item;
  });
}

/** `known` with more put in; the newest of each stays, and only as many as are of use. */
export function learn<N extends Dated>(known: ReadonlyMap<string, N>, news: N[], key: (item: N) => string, most = 500): Map<string, N> {
  const all = new Map(known);
  for (const one of news) {
    const id = key(one);
    if ((all.get(id)?.updated_at ?? -Infinity) <= one.updated_at) {
      all.delete(id);
      all.set(id, one);
    }
  }
  return new Map([...all].slice(-most));
}
