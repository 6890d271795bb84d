/**
 * The names of customers whose ids come alone (events, alerts, patterns). Learnt from the scores that pass, from one list of those who
 * changed last, and, for what is still missing, one by one, a few at a time: the newest wishes first, since the reader looks at those.
 */
import { get } from './api';
import { hub } from './live.svelte';
import type { CustomerRow, Page } from './types';

const KEPT = 5000;
const WISHES = 60;
const AT_ONCE = 2;
const LIST = 500;
const CUSTOMER = /^c[0-9a-f]{16}$/;

export const isCustomer = (id: string): boolean => CUSTOMER.test(id);

class Names {
  #known = $state.raw<ReadonlyMap<string, string>>(new Map());
  #asked = new Set<string>();
  #wishes: string[] = [];
  #busy = 0;
  #list: Promise<void> | undefined;

  constructor() {
    hub.onBatch((batch) => {
      // Only once somebody asks for names are they kept.
      if (this.#list && batch.score?.length) this.#learn(batch.score.filter((score) => this.#known.get(score.customer_id) !== score.name));
    });
  }

  /** The customer's name; the id itself while, or where, there is none. */
  of(id: string): string {
    const found = this.#known.get(id);
    if (found === undefined && isCustomer(id)) this.#wish(id);
    return found ?? id;
  }

  #wish(id: string): void {
    if (this.#asked.has(id)) return;
    this.#asked.add(id);
    this.#wishes = [...this.#wishes, id].slice(-WISHES);
    this.#list ??= get<Page<CustomerRow>>('/customers', { sort: 'updated', order: 'desc', limit: LIST })
      .then((page) => this.#learn(page.items))
      .catch(() => undefined);
    void this.#list.then(() => this.#next());
  }

  async #next(): Promise<void> {
    while (this.#busy < AT_ONCE) {
      const id = this.#wishes.pop();
      if (id === undefined) return;
      if (this.#known.has(id)) continue;
      this.#busy += 1;
      try {
        const page = await get<Page<CustomerRow>>('/customers', { search: id, limit: 1 });
        this.#learn(page.items);
      } catch {
        // The id stands for itself; the next time that it is shown, it is asked for again.
        this.#asked.delete(id);
      }
      this.#busy -= 1;
    }
  }

  #learn(news: readonly { customer_id: string; name: string }[]): void {
    if (news.length === 0) return;
    this.#known = new Map([...this.#known, ...news.map((one) => [one.customer_id, one.name] as const)].slice(-KEPT));
  }
}

export const names = new Names();
