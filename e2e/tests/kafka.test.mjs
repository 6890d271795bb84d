/** The same program on Apache Kafka: two instances share the work, either may die, Kafka's own tools read and write its topics. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { openTab, withBrowser } from '../harness/browser.mjs';
import { kafkaIsMissing, withKafka } from '../harness/kafka.mjs';
import { Program, until } from '../harness/program.mjs';
import { customer } from '../harness/site.mjs';

describe('on Apache Kafka', { skip: kafkaIsMissing() }, () => {
  const suite = { before, after };
  const kafka = withKafka(suite);
  const chrome = withBrowser(suite);
  const two = {};
  const folders = [];

  before(async () => {
    const start = async (args) => {
      const data = await mkdtemp(path.join(tmpdir(), 'vigie-e2e-'));
      folders.push(data);
      return Program.start({ data, args: ['--log', kafka.url, ...args] });
    };
    // Without page views of its own: what is counted comes from Kafka's producer.
    two.first = await start(['--page-rate', '0']);
    // The second sends nothing by itself: it takes its share of what is there.
    two.second = await start(['--role', 'process,sink,serve']);
  });
  after(async () => {
    await two.first?.kill();
    await two.second?.kill();
    for (const data of folders) await rm(data, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 });
  });

  test('both instances say where the log is and that they are ready', async () => {
    for (const program of [two.first, two.second]) {
      const info = await program.json('/api/v1/info');
      assert.ok(JSON.stringify(info).includes('kafka://'), JSON.stringify(info));
    }
  });

  test('both take a share of the tasks', async () => {
    await until(
      'each instance runs tasks',
      async () => {
        const shares = await Promise.all(
          [two.first, two.second].map(async (program) => (await program.json('/api/v1/operations')).tasks.length),
        );
        return shares.every((tasks) => tasks > 0);
      },
      { withinMs: 60_000, everyMs: 500 },
    );
  });

  test('a customer typed into one instance is scored, and shown by the other', async () => {
    const { score } = await two.second.json('/api/v1/form', { body: customer({ Names: 'Grace Hopper', Company: 'Kafka Test Ltd' }) });
    assert.ok(score.probability > 0 && score.probability < 1, JSON.stringify(score).slice(0, 300));
    await until(
      'the first instance shows the customer',
      async () => (await two.first.json('/api/v1/customers?search=Kafka%20Test')).total > 0,
      { withinMs: 30_000 },
    );
  });

  test('an event from Kafka’s console producer is counted, and its count is read by the console consumer', async () => {
    const event = { name: 'P9', user: 'U1', date: Date.now(), duration: 5000 };
    await kafka.tool('console-producer', ['--topic', 'R2'], `${JSON.stringify(event)}\n`);
    const read = await until(
      'P9 on R4',
      async () => {
        const text = await kafka.tool('console-consumer', [
          '--topic', 'R4', '--from-beginning', '--timeout-ms', '8000', '--isolation-level', 'read_committed', '--formatter-property', 'print.headers=true', '--formatter-property', 'print.key=true',
        ]);
        return text.includes('P9') && text;
      },
      { withinMs: 90_000, everyMs: 1000 },
    );
    assert.match(read, /P9/);
  });

  test('the screens work on an instance that sends nothing', async (t) => {
    const { page, go, watched } = await openTab(t, chrome.browser, two.second);
    await go('/operations');
    await page.locator('h1').waitFor();
    await page.waitForFunction(() => document.querySelectorAll('table tr').length > 5);
    watched.clean();
  });

  test('when one instance is killed the other takes over its tasks', async () => {
    const tasks = async () => (await two.second.json('/api/v1/operations')).tasks.length;
    const mine = await tasks();
    await two.first.kill();
    await until('the second instance runs more tasks than before', async () => (await tasks()) > mine, { withinMs: 90_000, everyMs: 500 });
    const { score } = await until(
      'a customer is scored again',
      () => two.second.json('/api/v1/form', { body: customer({ Names: 'Joan Clarke', Age: 51 }) }),
      { withinMs: 60_000, everyMs: 1000 },
    );
    assert.ok(score.probability > 0 && score.probability < 1);
  });
});
