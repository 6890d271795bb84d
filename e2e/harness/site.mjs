/** The pages of the program, as the server and the screens agreed on them. */

export const PAGES = [
  { path: '/', page: 'overview' },
  { path: '/customers', page: 'customers' },
  { path: '/form', page: 'form' },
  { path: '/queue', page: 'queue' },
  { path: '/pages', page: 'pages' },
  { path: '/shop', page: 'shop' },
  { path: '/users', page: 'users' },
  { path: '/alerts', page: 'alerts' },
  { path: '/anomalies', page: 'anomalies' },
  { path: '/operations', page: 'operations' },
  { path: '/model', page: 'model' },
];

/** All pages, one customer's included: the first one that the program knows. */
export async function allPages(program) {
  const { items } = await program.json('/api/v1/customers?limit=1');
  return [...PAGES, { path: `/customers/${encodeURIComponent(items[0].customer_id)}`, page: 'customer' }];
}

/** A new customer, as the form takes it. Different numbers give different scores. */
export function customer(changes = {}) {
  return {
    Names: 'Ada Lovelace',
    Age: 37,
    Total_Purchase: 9935.53,
    Account_Manager: 1,
    Years: 7.71,
    Num_Sites: 8,
    Onboard_date: '2011-08-29 18:37:54',
    Location: '38612 Johnny Stravenue, Nataliebury, WI 15717-8316',
    Company: 'King Ltd',
    ...changes,
  };
}

/** The five columns that the score depends on. */
export function features({ Age, Total_Purchase, Account_Manager, Years, Num_Sites }) {
  return { Age, Total_Purchase, Account_Manager, Years, Num_Sites };
}

/** Types a customer into the form of `page`, whatever kind of field each one is. */
export async function fillForm(page, record) {
  for (const [name, value] of Object.entries(record)) {
    const field = page.locator(`form [name="${name}"]`).first();
    const kind = await field.evaluate((element) => (element.tagName === 'INPUT' ? element.type : element.tagName.toLowerCase()));
    if (kind === 'checkbox') await field.setChecked(Boolean(value));
    else if (kind === 'radio') await page.locator(`form [name="${name}"][value="${value}"]`).check();
    else if (kind === 'select') await field.selectOption(String(value));
    else if (kind === 'date') await field.fill(String(value).slice(0, 10));
    else if (kind === 'datetime-local') await field.fill(String(value).replace(' ', 'T'));
    else await field.fill(String(value));
  }
}

/** Every message that a topic holds now, read through the message browser, as {partition, offset, key, value} with a parsed value. */
export async function messages(program, topic) {
  const { topics } = await program.json('/api/v1/operations');
  const { partitions } = topics.find(({ name }) => name === topic);
  const all = [];
  for (let partition = 0; partition < partitions; partition += 1) {
    for (let from = 0; ; ) {
      const { items } = await program.json(`/api/v1/topics/${topic}/messages?partition=${partition}&from=${from}&limit=500`);
      if (items.length === 0) break;
      all.push(...items.map((item) => ({ ...item, value: typeof item.value === 'string' ? JSON.parse(item.value) : item.value })));
      from = items.at(-1).offset + 1;
    }
  }
  return all;
}
