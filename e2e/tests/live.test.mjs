/** What is on the screen follows the log, by itself. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openTab, withBrowser } from '../harness/browser.mjs';
import { until, withProgram } from '../harness/program.mjs';

const suite = { before, after };
const running = withProgram(suite);
const chrome = withBrowser(suite);

const live = (page) =>
  page.locator('[data-live]').evaluateAll((found) => Object.fromEntries(found.map((e) => [e.dataset.live, e.textContent.trim()])));

for (const [path, expect] of [
  ['/', 'events-per-second'],
  ['/pages', 'pages'],
  ['/shop', 'shop-total'],
]) {
  test(`on ${path} the value ${expect} changes without a reload`, async (t) => {
    const { page, watched, go } = await openTab(t, chrome.browser, running.program);
    await go(`${path}?lang=en`);
    await page.locator(`[data-live="${expect}"]`).first().waitFor();
    const first = (await live(page))[expect];
    await until(`${expect} is something else than ${first}`, async () => (await live(page))[expect] !== first, { withinMs: 30_000 });
    watched.clean();
  });
}

test('the total on the shop page catches up with the total that the API gives', async (t) => {
  const { page, watched, go } = await openTab(t, chrome.browser, running.program);
  await go('/shop?lang=en');
  const { total } = await running.program.json('/api/v1/shop');
  assert.ok(total > 0);
  const shown = async () => Number((await live(page))['shop-total'].replace(/\D/g, ''));
  await until(`the page shows at least ${total}`, async () => (await shown()) >= total);
  // And not more than there is: what the page shows was true when it was shown.
  const now = await shown();
  assert.ok(now <= (await running.program.json('/api/v1/shop')).total, `${now} is more than there are events`);
  watched.clean();
});

test('a score that is published reaches the event stream', async () => {
  const abort = new AbortController();
  const response = await fetch(running.program.url('/api/v1/stream?topics=score'), { signal: abort.signal });
  assert.match(response.headers.get('content-type'), /^text\/event-stream/);
  const started = Date.now();
  let text = '';
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  try {
    while (!/"probability"/.test(text)) {
      assert.ok(Date.now() - started < 30_000, `no score within 30 s; got: ${text.slice(0, 300)}`);
      const { value, done } = await reader.read();
      assert.equal(done, false, 'the stream ended');
      text += decoder.decode(value, { stream: true });
    }
  } finally {
    abort.abort();
  }
  const message = text.split('\n\n').find((part) => part.includes('"probability"'));
  assert.match(message, /^id: ?\d+$/m);
  const data = JSON.parse(message.match(/^data: ?(.*)$/m)[1]);
  for (const score of data.score) {
    assert.ok(score.probability >= 0 && score.probability <= 1);
    assert.ok(score.customer_id);
  }
});
