/** The users platform: what the service sent, counted by ourselves, is what the tables and the page say. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { launch, openTab } from '../harness/browser.mjs';
import { Program, folder, until } from '../harness/program.mjs';
import { messages } from '../harness/site.mjs';

const recorded = JSON.parse(readFileSync(new URL('../../data/randomuser_response_111.json', import.meta.url))).results;

test('users are counted once, by country and gender, over all batches; the last ten are the last ten', async (t) => {
  // A batch every second in place of every ten, so that several have come in.
  process.env.VIGIE_SOURCES__USERS_INTERVAL_S = '1';
  t.after(() => delete process.env.VIGIE_SOURCES__USERS_INTERVAL_S);
  const program = await Program.start({ data: await folder(t) });
  t.after(() => program.kill());
  await until('three batches', async () => (await messages(program, 'random_user_data')).length >= 3, { withinMs: 30_000 });

  // The source goes on meanwhile, so tables and log are compared at a moment at which both say the same number of users.
  const { found, onTheLog } = await until('tables and log agree on the number of users', async () => {
    const found = await program.json('/api/v1/users');
    const onTheLog = new Set((await messages(program, 'users')).map(({ key }) => key));
    return found.total === onTheLog.size && { found, onTheLog };
  });

  // Personal fields are masked in what we read; what the service sent is in the recording.
  const sent = new Map(recorded.map((user) => [user.login.uuid, user]));
  const countries = {};
  for (const id of onTheLog) {
    assert.ok(sent.has(id), `${id} is not in the recording`);
    const country = (countries[sent.get(id).location.country] ??= { count: 0, sum: 0 });
    country.count += 1;
    country.sum += sent.get(id).dob.age;
  }
  assert.equal(found.recorded, true);
  assert.equal(found.countries.length, Object.keys(countries).length);
  for (const { country, count_users: count, avg_age: mean } of found.countries) {
    assert.equal(count, countries[country].count, country);
    assert.ok(Math.abs(mean - countries[country].sum / countries[country].count) < 1e-9, `${country}: ${mean}`);
  }
  assert.equal(found.genders.reduce((sum, { count_users: n }) => sum + n, 0), found.total);
  assert.equal(found.latest.length, 10);
  const times = found.latest.map((user) => user.ingestion_time);
  assert.deepEqual(times, [...times].sort((a, b) => b - a), 'newest first');
  assert.equal(new Set(found.latest.map((user) => user.user_id)).size, 10);

  const browser = await launch();
  t.after(() => browser.close());
  const { page, watched, go } = await openTab(t, browser, program);
  await go('/users?lang=en');
  await page.locator('[data-live="users-total"]').waitFor();
  const main = page.locator('main');
  await main.getByText(found.countries[0].country).first().waitFor();
  watched.clean();
});
