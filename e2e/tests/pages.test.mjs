/**
 * Every page, in both languages, light and dark, wide and narrow: it says what it is, axe finds nothing, nothing scrolls sideways,
 * the console stays empty and no request leaves the program.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { LANGUAGES, openTab, sidewaysOverflow, violations, withBrowser } from '../harness/browser.mjs';
import { until, withProgram } from '../harness/program.mjs';
import { PAGES, allPages } from '../harness/site.mjs';

const suite = { before, after };
const running = withProgram(suite);
const chrome = withBrowser(suite);

/** Opens a page and waits until it shows what it is about. */
async function open(t, path, options) {
  const tab = await openTab(t, chrome.browser, running.program, options);
  await tab.go(path);
  await tab.page.locator('main[data-page]').waitFor();
  await tab.page.locator('h1').waitFor();
  return tab;
}

const paths = async () => {
  await until('the first customer is there', async () => (await running.program.json('/api/v1/customers?limit=1')).total > 0);
  return allPages(running.program);
};

for (const language of LANGUAGES) {
  for (const [look, options] of Object.entries({
    'wide and light': { colorScheme: 'light' },
    'narrow and dark': { colorScheme: 'dark', width: 360, height: 740 },
  })) {
    test(`every page in ${language}, ${look}`, async (t) => {
      for (const { path, page: name } of await paths()) {
        await t.test(path.replace(/\/customers\/.+/, '/customers/{id}'), async (t) => {
          const { page, watched } = await open(t, `${path}?lang=${language}`, { language, ...options });
          assert.equal(await page.locator('html').getAttribute('lang'), language);
          assert.equal(await page.locator('main[data-page]').getAttribute('data-page'), name);
          assert.equal(await page.locator('h1').count(), 1, 'one h1');
          assert.notEqual((await page.locator('h1').innerText()).trim(), '');
          assert.notEqual(await page.title(), '');
          // Live updates come in meanwhile: what axe judges is the page with its data.
          await page.locator('[data-connection="open"]').first().waitFor({ state: 'attached' });
          await page.waitForTimeout(400);
          assert.deepEqual(await violations(page), []);
          assert.deepEqual(await sidewaysOverflow(page), [], 'the page scrolls sideways');
          watched.clean();
        });
      }
    });
  }
}

test('the two languages differ, and no key of a text is left untranslated', async (t) => {
  for (const { path } of PAGES) {
    const said = {};
    for (const language of LANGUAGES) {
      const { page } = await open(t, `${path}?lang=${language}`, { language });
      said[language] = await page.locator('body').innerText();
      assert.doesNotMatch(said[language], /\b(undefined|NaN|null|\[object Object\])\b/, `${path} in ${language}`);
    }
    assert.notEqual(said.en, said.fr, path);
  }
});

test('without ?lang the browser\'s language counts, the switch changes it, and it is remembered', async (t) => {
  const { page, watched } = await open(t, '/', { language: 'fr' });
  assert.equal(await page.locator('html').getAttribute('lang'), 'fr');
  await page.locator('button[data-lang="en"]').click();
  await page.locator('html[lang="en"]').waitFor({ state: 'attached' });
  await page.goto(running.program.url('/alerts'));
  await page.locator('main[data-page="alerts"]').waitFor();
  assert.equal(await page.locator('html').getAttribute('lang'), 'en');
  watched.clean();
});

test('every page can be reached by links alone, without loading the document again', async (t) => {
  const { page, watched } = await open(t, '/?lang=en', {});
  await page.evaluate(() => (globalThis.stillTheSameDocument = true));
  for (const { path, page: name } of PAGES) {
    await page.locator(`nav a[href="${path}"]`).first().click();
    await page.locator(`main[data-page="${name}"]`).waitFor();
    assert.equal(new URL(page.url()).pathname, path);
  }
  await page.goBack();
  await page.locator(`main[data-page="${PAGES.at(-2).page}"]`).waitFor();
  assert.equal(await page.evaluate(() => globalThis.stillTheSameDocument), true);
  watched.clean();
});

test('the keyboard reaches the content: the first stop skips the navigation', async (t) => {
  const { page } = await open(t, '/?lang=en', {});
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  const inMain = await page.evaluate(() => document.activeElement?.closest('main') !== null || document.activeElement?.matches('main'));
  assert.ok(inMain, 'the first Tab and Enter lead into <main>');
});

test('an unknown address says so and offers a way back', async (t) => {
  const { page, watched } = await openTab(t, chrome.browser, running.program, { allow: (text) => text.includes('404') });
  await page.goto(running.program.url('/nowhere?lang=en'));
  await page.locator('h1').waitFor();
  assert.ok((await page.locator('a[href="/"]').count()) > 0);
  watched.clean();
});

test('an unknown customer says so', async (t) => {
  const { page, watched } = await openTab(t, chrome.browser, running.program, { allow: (text) => text.includes('404') });
  await page.goto(running.program.url('/customers/nobody?lang=en'));
  await page.getByRole('alert').first().waitFor();
  watched.clean();
});
