/** The form: the answer at once, for that request; bad input is refused field by field, in words. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openTab, violations, withBrowser } from '../harness/browser.mjs';
import { withProgram } from '../harness/program.mjs';
import { customer, features, fillForm } from '../harness/site.mjs';

const suite = { before, after };
const running = withProgram(suite);
const chrome = withBrowser(suite);

const expected = async (record) => (await running.program.json('/api/v1/score', { body: features(record) })).probability;
const shown = async (page) => {
  await page.locator('[data-answer]').waitFor();
  return Number(await page.locator('[data-answer] [data-probability], [data-answer][data-probability]').first().getAttribute('data-probability'));
};
const submit = (page) => page.locator('form button[type="submit"]').click();

test('two tabs that submit at once each get their own right answer, again and again', async (t) => {
  const { context, page: left, watched } = await openTab(t, chrome.browser, running.program);
  const right = await context.newPage();
  for (const [one, two] of [
    [customer({ Names: 'Andrew Mccall', Num_Sites: 8 }), customer({ Names: 'Michele Wright', Age: 23, Num_Sites: 15, Years: 8.2 })],
    [customer({ Names: 'Jeremy Chang', Age: 65, Account_Manager: 0 }), customer({ Names: 'Megan Ferguson', Age: 32, Num_Sites: 5 })],
    [customer({ Names: 'Taylor Young', Years: 2.1 }), customer({ Names: 'Jessica Drake', Years: 9.9, Num_Sites: 14 })],
  ]) {
    await Promise.all([left.goto(running.program.url('/form?lang=en')), right.goto(running.program.url('/form?lang=fr'))]);
    await Promise.all([fillForm(left, one), fillForm(right, two)]);
    await Promise.all([submit(left), submit(right)]);
    const [first, second] = await Promise.all([shown(left), shown(right)]);
    assert.ok(Math.abs(first - (await expected(one))) < 1e-9, `${one.Names}: ${first} is not ${await expected(one)}`);
    assert.ok(Math.abs(second - (await expected(two))) < 1e-9, `${two.Names}: ${second} is not ${await expected(two)}`);
    assert.ok(Math.abs(first - second) > 1e-3, 'the two customers were meant to differ');
  }
  watched.clean();
});

test('the answer gives its reasons in the language of the page', async (t) => {
  const texts = {};
  for (const language of ['en', 'fr']) {
    const { page, watched, go } = await openTab(t, chrome.browser, running.program, { language });
    await go(`/form?lang=${language}`);
    await fillForm(page, customer());
    await submit(page);
    await shown(page);
    texts[language] = await page.locator('[data-answer]').innerText();
    assert.deepEqual(await violations(page), []);
    watched.clean();
  }
  const { reasons } = await running.program.json('/api/v1/score', { body: features(customer()) });
  assert.ok(texts.en.includes(reasons[0].text_en), `${reasons[0].text_en} is not in ${texts.en}`);
  assert.ok(texts.fr.includes(reasons[0].text_fr), `${reasons[0].text_fr} is not in ${texts.fr}`);
});

test('the answer can be tried out: what if, and the smallest change that helps', async (t) => {
  const leaver = customer({ Num_Sites: 14, Names: 'Grace Murray' });
  const { score, smallest_change: smallest } = await running.program.json('/api/v1/form', { body: leaver });
  assert.equal(score.verdict, 'will_churn', 'fourteen sites are many');
  assert.ok(smallest && smallest.probability < score.probability, JSON.stringify(smallest));
  const { page, watched, go } = await openTab(t, chrome.browser, running.program, { language: 'en' });
  await go('/form?lang=en');
  await fillForm(page, leaver);
  await submit(page);
  await shown(page);
  const tried = page.locator('[data-what-if]');
  assert.ok((await tried.locator(`[data-smallest="${smallest.feature}"]`).innerText()).includes(smallest.text_en));
  await tried.getByRole('button', { name: 'Try it' }).click();
  await tried.getByText('With these values').waitFor();
  await tried.getByText('points').first().waitFor();
  assert.deepEqual(await violations(page), []);
  watched.clean();
});

test('forty people at the same moment get forty right answers', async () => {
  const records = Array.from({ length: 40 }, (_, i) => customer({ Names: `Person ${i}`, Age: 20 + i, Num_Sites: 3 + (i % 11) }));
  const answers = await Promise.all(records.map((body) => running.program.json('/api/v1/form', { body })));
  assert.equal(new Set(answers.map((a) => a.correlation_id)).size, records.length, 'each request has its own id');
  for (const [i, record] of records.entries()) {
    const { score } = answers[i];
    assert.ok(Math.abs(score.probability - (await expected(record))) < 1e-9, record.Names);
    assert.equal(score.features.Age, record.Age);
  }
});

for (const [what, change, field] of [
  ['an empty name', { Names: '' }, 'Names'],
  ['a negative age', { Age: -4 }, 'Age'],
  ['an absurd age', { Age: 4000 }, 'Age'],
  ['negative purchases', { Total_Purchase: -1 }, 'Total_Purchase'],
  ['a fraction of a manager', { Account_Manager: 0.5 }, 'Account_Manager'],
  ['words for a number', { Years: 'many' }, 'Years'],
  ['an absurd number of sites', { Num_Sites: 1e12 }, 'Num_Sites'],
  ['a date that is none', { Onboard_date: 'yesterday' }, 'Onboard_date'],
]) {
  test(`the API refuses ${what} and names the field in both languages`, async () => {
    const response = await fetch(running.program.url('/api/v1/form'), {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(customer(change)),
    });
    assert.equal(response.status, 422);
    assert.match(response.headers.get('content-type'), /^application\/problem\+json/);
    const problem = await response.json();
    const error = problem.errors.find((e) => e.field === field);
    assert.ok(error, JSON.stringify(problem));
    assert.ok(error.message_fr && error.message_en && error.message_fr !== error.message_en, JSON.stringify(error));
  });
}

test('the page shows what is wrong beside the field, and no answer', async (t) => {
  const { page, watched, go } = await openTab(t, chrome.browser, running.program, { allow: (text) => text.includes('422') });
  await go('/form?lang=en');
  await fillForm(page, customer({ Age: 4000 }));
  await submit(page);
  await page.locator('[data-error="Age"]').waitFor();
  assert.notEqual((await page.locator('[data-error="Age"]').innerText()).trim(), '');
  assert.equal(await page.locator('[data-answer]').count(), 0);
  assert.deepEqual(await violations(page), []);
  watched.clean();
});

test('script tags in a name are a name', async (t) => {
  const name = '<script>window.taken = true</script><img src=x onerror="window.taken=true">';
  const { page, watched, go } = await openTab(t, chrome.browser, running.program);
  await go('/form?lang=en');
  await fillForm(page, customer({ Names: name, Company: name }));
  await submit(page);
  await shown(page);
  await page.goto(running.program.url('/customers?lang=en'));
  await page.locator('main[data-page="customers"]').waitFor();
  assert.equal(await page.evaluate(() => globalThis.taken), undefined);
  watched.clean();
});
