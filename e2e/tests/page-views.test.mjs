/** S3's own paths, to the letter: whoever has a screen for them can point it here. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openTab, withBrowser } from '../harness/browser.mjs';
import { until, withProgram } from '../harness/program.mjs';

const suite = { before, after };
const running = withProgram(suite);
const chrome = withBrowser(suite);

/** Reads `count` messages of /analytics, each with the moment at which it came. */
async function analytics(count) {
  const abort = new AbortController();
  const response = await fetch(running.program.url('/analytics'), { signal: abort.signal });
  assert.equal(response.status, 200);
  assert.match(response.headers.get('content-type'), /^text\/event-stream/);
  const messages = [];
  let rest = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body) {
    rest += decoder.decode(chunk, { stream: true });
    const parts = rest.split('\n\n');
    rest = parts.pop();
    for (const part of parts) {
      const data = part.match(/^data: ?(.*)$/m);
      if (data) messages.push({ at: Date.now(), counts: JSON.parse(data[1]) });
    }
    if (messages.length >= count) break;
  }
  abort.abort();
  return messages.slice(0, count);
}

test('GET /publish/{topic}/{name} publishes one event of that name and returns it', async () => {
  for (const topic of ['R1', 'R2']) {
    const before = Date.now();
    const event = await running.program.json(`/publish/${topic}/P1`);
    assert.deepEqual(Object.keys(event).sort(), ['date', 'duration', 'name', 'user']);
    assert.equal(event.name, 'P1');
    assert.ok(['U1', 'U2'].includes(event.user), event.user);
    assert.ok(Math.abs(event.date - before) < 60_000, `date ${event.date} is not now`);
    assert.ok(Number.isInteger(event.duration) && event.duration >= 0 && event.duration < 9000, `duration ${event.duration}`);
    const { items } = await running.program.json(`/api/v1/topics/${topic}/messages?from=earliest&limit=500`).then(async (all) =>
      all.total > 500 ? running.program.json(`/api/v1/topics/${topic}/messages?from=latest&limit=500`) : all,
    );
    const found = items.find(({ value }) => {
      const parsed = typeof value === 'string' ? JSON.parse(value) : value;
      return parsed.date === event.date && parsed.duration === event.duration && parsed.name === 'P1';
    });
    assert.ok(found, `the event is not on ${topic}`);
  }
});

test('only the two page-view topics can be written from a browser', async () => {
  for (const topic of ['evenements', 'churn-scores', 'nonsense']) {
    const response = await fetch(running.program.url(`/publish/${topic}/P1`));
    assert.equal(response.status, 404, topic);
    const problem = await response.json();
    assert.ok(problem.detail.includes(topic) && problem.hint, JSON.stringify(problem));
  }
});

test('/analytics sends one message a second, with P1 and P2 always there', async () => {
  const messages = await analytics(5);
  for (const { counts } of messages) {
    for (const page of ['P1', 'P2']) assert.ok(Number.isInteger(counts[page]) && counts[page] >= 0, JSON.stringify(counts));
  }
  const took = messages.at(-1).at - messages[0].at;
  assert.ok(took > 3000 && took < 6500, `five messages took ${took} ms`);
});

test('the counts are exact: views longer than 100 ms, by page, in five-second windows of their own date', async () => {
  const name = 'P77';
  const events = [];
  for (let i = 0; i < 120; i += 1) events.push(await running.program.json(`/publish/R2/${name}`));
  const expect = {};
  for (const { date, duration } of events) {
    const start = Math.floor(date / 5000) * 5000;
    if (duration > 100) expect[start] = (expect[start] ?? 0) + 1;
  }
  const found = await until(`windows ${JSON.stringify(expect)}`, async () => {
    const { window_ms, windows } = await running.program.json('/api/v1/pages/series?windows=60');
    assert.equal(window_ms, 5000);
    const got = Object.fromEntries(windows.filter((w) => w.counts[name]).map((w) => [w.start, w.counts[name]]));
    return JSON.stringify(got) === JSON.stringify(expect) && got;
  });
  assert.deepEqual(found, Object.fromEntries(Object.entries(expect).map(([k, v]) => [k, v])));
});

test('/analytics shows the current window of any page, and the next window starts from nothing', async () => {
  const name = 'P88';
  // Published early in a window, so that a message falls into it after them.
  await new Promise((resolve) => setTimeout(resolve, 5000 - (Date.now() % 5000) + 100));
  const stream = analytics(12);
  for (let i = 0; i < 20; i += 1) await running.program.json(`/publish/R2/${name}`);
  const seen = (await stream).map(({ counts }) => counts[name] ?? 0);
  assert.ok(Math.max(...seen) > 0, `never counted: ${seen}`);
  assert.equal(seen.at(-1), 0, `still counted ten seconds later: ${seen}`);
});

test('R3 has the mapped events: the name by its length, the user hidden', async () => {
  const event = await running.program.json('/publish/R2/P123');
  const mapped = await until('the mapped event', async () => {
    const { items } = await running.program.json('/api/v1/pages/mapped?limit=200');
    return items.find((e) => e.date === event.date && e.duration === event.duration && e.name === 'L:4');
  });
  assert.equal(mapped.user, 'UUUUUU');
});

test('R4 has the key of S3: => window start, window end, name; the value is the count', async () => {
  const { items } = await running.program.json('/api/v1/topics/R4/messages?from=latest&limit=20');
  assert.ok(items.length > 0);
  for (const { key, value } of items) {
    assert.match(key, /^=>.+P\w+$/, key);
    assert.ok(Number(value) > 0, `${key}: ${value}`);
  }
});

test('the page draws the curves and offers them as a table', async (t) => {
  const { page, watched, go } = await openTab(t, chrome.browser, running.program);
  await go('/pages?lang=en');
  await page.locator('main[data-page="pages"] canvas').first().waitFor();
  watched.clean();
});
