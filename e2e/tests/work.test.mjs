/** What people come for: find a customer and see why; decide on proposals; handle alerts and anomalies. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openTab, withBrowser } from '../harness/browser.mjs';
import { until, withProgram } from '../harness/program.mjs';

const suite = { before, after };
const running = withProgram(suite);
const chrome = withBrowser(suite);
const api = (path, options) => running.program.json(`/api/v1${path}`, options);
const post = (path, body = { by: 'Test' }) => api(path, { method: 'POST', body });

test('customers are found by name, sorted by risk, and lead to their page', async (t) => {
  await until('customers', async () => (await api('/customers')).total > 10);
  const { items } = await api('/customers?sort=probability&order=desc&limit=5');
  const risks = items.map((c) => c.probability);
  assert.deepEqual(risks, [...risks].sort((a, b) => b - a));

  const wanted = items[2];
  const { page, watched, go } = await openTab(t, chrome.browser, running.program);
  await go('/customers?lang=en');
  await page.locator('main input[type="search"]').first().fill(wanted.name);
  const link = page.locator(`a[href*="/customers/${wanted.customer_id}"]`).first();
  await link.click();
  await page.locator('main[data-page="customer"]').waitFor();
  await page.locator('main').getByText(wanted.name).first().waitFor();
  watched.clean();
});

test('a customer\'s page has the reasons, the history and where the score comes from', async () => {
  const { items } = await api('/customers?limit=1');
  const found = await api(`/customers/${encodeURIComponent(items[0].customer_id)}`);
  assert.ok(found.score.reasons.length >= 5);
  assert.ok(found.score.reasons.every((r) => r.text_en && r.text_fr));
  assert.ok(found.history.length >= 1);
  const { origin } = found.score;
  const { items: messages } = await api(`/topics/${origin.topic}/messages?partition=${origin.partition}&from=${origin.offset}&limit=1`);
  assert.equal(messages[0].offset, origin.offset, 'the record behind the score can be read');
});

test('a proposal is approved and undone by a person, and both are kept', async () => {
  const proposed = await until('a proposal', async () => {
    const { items } = await api('/queue?limit=500');
    return items.find((a) => a.state === 'proposed');
  }, { withinMs: 60_000 });
  const id = encodeURIComponent(proposed.customer_id);
  const approved = await post(`/assignments/${id}/approve`, { by: 'Marie' });
  assert.deepEqual([approved.state, approved.by], ['approved', 'Marie']);
  await until('the queue says approved', async () => {
    const { items } = await api('/queue?limit=500');
    return items.find((a) => a.customer_id === proposed.customer_id)?.state === 'approved';
  });
  const undone = await post(`/assignments/${id}/undo`, { by: 'Marie' });
  assert.ok(['proposed', 'undone'].includes(undone.state), undone.state);
});

test('held-out customers are never proposed, and the comparison names its basis', async () => {
  const queue = await api('/queue?limit=500');
  assert.ok(queue.items.filter((a) => a.state === 'held_out').every((a) => !a.manager_id));
  if (queue.comparison) assert.ok(queue.comparison.basis);
  for (const manager of queue.managers) assert.ok(manager.assigned <= manager.capacity, JSON.stringify(manager));
});

test('an alert has its evidence in the log, and is acknowledged and resolved', async () => {
  const alert = await until('an alert', async () => (await api('/alerts?state=open&limit=1')).items[0], { withinMs: 90_000 });
  assert.ok(alert.value >= alert.threshold, JSON.stringify(alert));
  for (const { origin } of alert.evidence) {
    const { items } = await api(`/topics/${origin.topic}/messages?partition=${origin.partition}&from=${origin.offset}&limit=1`);
    assert.equal(items[0].offset, origin.offset);
  }
  const id = encodeURIComponent(alert.id);
  assert.equal((await post(`/alerts/${id}/acknowledge`)).state, 'acknowledged');
  assert.equal((await post(`/alerts/${id}/resolve`)).state, 'resolved');
  await until('it is no longer among the open ones', async () => !(await api('/alerts?state=open&limit=500')).items.some((a) => a.id === alert.id));
  assert.equal((await post(`/alerts/${id}/reopen`)).state, 'open');
});
