/** The program goes away and comes back: the screen says so and recovers; no count is wrong after a kill -9. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { launch, openTab } from '../harness/browser.mjs';
import { Program, folder, until } from '../harness/program.mjs';
import { messages } from '../harness/site.mjs';

/** Errors that a page cannot help while nobody answers. */
const refused = (text) => /ERR_CONNECTION|ERR_EMPTY_RESPONSE|ERR_INCOMPLETE|Failed to load resource|ERR_NETWORK/.test(text);

test('the page says that the connection is broken, and recovers without a reload', async (t) => {
  const program = await Program.start({ data: await folder(t) });
  t.after(() => program.kill());
  const browser = await launch();
  t.after(() => browser.close());
  const { page, watched, go } = await openTab(t, browser, program, { allow: refused });
  await go('/shop?lang=en');
  await page.locator('[data-connection="open"]').first().waitFor({ state: 'attached' });
  await page.evaluate(() => (globalThis.stillTheSameDocument = true));

  assert.deepEqual(await program.stop(), { code: 0, signal: null });
  await page.locator('[data-connection="broken"]').first().waitFor({ state: 'attached' });

  await program.restart();
  await page.locator('[data-connection="open"]').first().waitFor({ state: 'attached', timeout: 30_000 });
  const total = () => page.locator('[data-live="shop-total"]').first().innerText();
  const first = await total();
  await until(`the total moves on from ${first}`, async () => (await total()) !== first, { withinMs: 30_000 });
  assert.equal(await page.evaluate(() => globalThis.stillTheSameDocument), true);
  watched.clean();
});

/** What the log holds, counted here from the messages themselves, not by the program's own recount. */
async function shopEventsOnTheLog(program) {
  const all = await messages(program, 'evenements');
  const byType = {};
  for (const { value } of all) byType[value.event_type] = (byType[value.event_type] ?? 0) + 1;
  return { events: all.length, byType };
}

test('kill -9 in the middle, again and again, and every count is right', async (t) => {
  const program = await Program.start({ data: await folder(t) });
  t.after(() => program.kill());

  // Moments drawn from a seed, so that a failure can be repeated; printed, so that it can be found.
  let state = 20260;
  const random = () => ((state = (state * 48271) % 2147483647) / 2147483647);
  for (let round = 0; round < 4; round += 1) {
    const pause = Math.round(700 + random() * 3000);
    t.diagnostic(`round ${round}: killed after ${pause} ms`);
    await new Promise((resolve) => setTimeout(resolve, pause));
    assert.equal((await program.kill()).signal, 'SIGKILL');
    await program.restart();
  }

  const recount = await until(
    'the recount says that log and stores are equal',
    async () => {
      const found = await program.json('/api/v1/recount');
      return found.equal && found;
    },
    { withinMs: 60_000, everyMs: 300 },
  );
  const names = recount.checks.map(({ name }) => name).join(' ');
  for (const part of [/shop/, /type/, /user/, /sales/, /users of/, /page|window/, /score/, /alert/, /anomal/]) assert.match(names, part);
  for (const check of recount.checks) assert.ok(check.equal, JSON.stringify(check));
  assert.ok(
    recount.checks.some(({ from_log: n }) => Number(n) > 0),
    'the recount counted something',
  );

  // The same with our own eyes: what the shop page says lies between two counts of the log.
  const before = await shopEventsOnTheLog(program);
  const shop = await until('the shop has caught up with the first count', async () => {
    const now = await program.json('/api/v1/shop');
    return now.total >= before.events && now;
  });
  const after = await shopEventsOnTheLog(program);
  assert.ok(shop.total <= after.events, `the store says ${shop.total}, the log only has ${after.events}`);
  for (const [type, { count }] of Object.entries(shop.by_type)) {
    assert.ok(count >= (before.byType[type] ?? 0) && count <= (after.byType[type] ?? 0), `${type}: ${before.byType[type]} <= ${count} <= ${after.byType[type]}`);
  }
});
