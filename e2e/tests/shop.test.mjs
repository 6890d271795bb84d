/** Shop events: statistics, alerts and patterns are what a count over the log says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Program, folder, until } from '../harness/program.mjs';
import { messages } from '../harness/site.mjs';

/** Starts a quick shop, lets it run, and stops its sources by starting again without them, so that nothing moves while we count. */
async function closedShop(t) {
  const data = await folder(t);
  const program = await Program.start({ data, args: ['--shop-speed', '40', '--agency-rate', '0', '--page-rate', '0'] });
  t.after(() => program.kill());
  await until('600 events', async () => (await program.json('/api/v1/shop')).total >= 600, { withinMs: 60_000 });
  await program.stop();
  await program.restart({ args: ['--shop-speed', '0', '--agency-rate', '0', '--page-rate', '0'] });
  return program;
}

test('statistics, alerts and patterns equal a count over the log', async (t) => {
  const program = await closedShop(t);
  const events = await messages(program, 'evenements');
  const shop = await until('the statistics have all events', async () => {
    const now = await program.json('/api/v1/shop');
    return now.total === events.length && now;
  });

  const sum = (of) => events.reduce((total, { value }) => total + of(value), 0);
  const purchases = events.filter(({ value }) => value.event_type === 'achat');
  assert.equal(shop.purchases, purchases.length);
  assert.equal(Math.round(shop.sales * 100), sum((e) => Math.round((e.price ?? 0) * 100)));
  for (const [type, { count }] of Object.entries(shop.by_type)) assert.equal(count, sum((e) => (e.event_type === type ? 1 : 0)), type);
  for (const { user, count } of shop.by_user) assert.equal(count, sum((e) => (e.user_id === user ? 1 : 0)), user);

  const alerts = (await program.json('/api/v1/alerts?state=all&limit=500')).items;
  const of = (rule) => alerts.filter((alert) => alert.rule === rule);
  const place = ({ partition, offset }) => `${partition}-${offset}`;
  assert.deepEqual(
    of('large-purchase').map(({ evidence: [{ origin }] }) => place(origin)).sort(),
    purchases.filter(({ value }) => value.price > 500).map(place).sort(),
    'one alert for each purchase above 500 EUR, none besides',
  );
  // Three logins of one user within any minute of event time: counted over every login as the last of three.
  const byUser = {};
  for (const { value } of events) {
    if (value.event_type === 'connexion') (byUser[value.user_id] ??= []).push(Date.parse(value.timestamp));
  }
  const suspicious = Object.entries(byUser).filter(([, times]) => {
    times.sort((a, b) => a - b);
    return times.some((at, i) => i >= 2 && at - times[i - 2] <= 60_000);
  });
  assert.deepEqual([...new Set(of('repeated-logins').map(({ subject }) => subject))].sort(), suspicious.map(([user]) => user).sort());

  const found = await messages(program, 'session-patterns');
  const sessions = (pattern) => new Set(found.filter(({ value }) => value.pattern === pattern).map(({ value }) => value.session_id));
  const inOrder = (list) => {
    const at = ['navigation', 'panier', 'achat'];
    let step = 0;
    for (const { value } of list) if (value.event_type === at[step]) step += 1;
    return step === at.length;
  };
  const bySession = {};
  for (const event of events) (bySession[event.value.session_id] ??= []).push(event);
  const complete = Object.entries(bySession)
    .filter(([, list]) => inOrder(list.sort((a, b) => Date.parse(a.value.timestamp) - Date.parse(b.value.timestamp))))
    .map(([id]) => id);
  assert.deepEqual([...sessions('PARCOURS_COMPLET')].sort(), complete.sort());
});
