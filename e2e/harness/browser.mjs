/**
 * The real browser: Debian's chromium, a fresh profile each time, nothing that talks to the outside.
 *
 * Every page is watched from its first request: console errors, uncaught exceptions and requests that leave the program's own
 * address are collected, and `watched.clean()` fails on any.
 */
import assert from 'node:assert/strict';
import axe from 'axe-core';
import { chromium } from 'playwright-core';

export const LANGUAGES = ['en', 'fr'];
const LOCALES = { en: 'en-US', fr: 'fr-FR' };

export async function launch() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/** A browser for one test file. */
export function withBrowser(suite) {
  const state = {};
  suite.before(async () => {
    state.browser = await launch();
  });
  suite.after(() => state.browser?.close());
  return state;
}

/** What a page did that it must not do. `allow(text)` says which console errors a test provokes on purpose. */
class Watch {
  errors = [];
  outside = [];

  constructor(page, origin, allow) {
    page.on('console', (message) => {
      if (message.type() !== 'error') return;
      const text = `${message.text()} (${message.location().url})`;
      if (!allow?.(text)) this.errors.push(`console: ${text}`);
    });
    page.on('pageerror', (error) => this.errors.push(`uncaught: ${error.stack ?? error.message}`));
    page.on('request', (request) => {
      const url = request.url();
      if (!url.startsWith(`${origin}/`) && !/^(data|blob|about):/.test(url)) this.outside.push(url);
    });
  }

  clean() {
    assert.deepEqual(this.errors, [], 'errors in the browser');
    assert.deepEqual(this.outside, [], 'requests that leave the program');
  }
}

/** A tab of its own (own cookies and storage) in one of the two languages. Closed when the test ends. */
export async function openTab(t, browser, program, { language = 'en', width = 1280, height = 900, allow, ...options } = {}) {
  const context = await browser.newContext({
    locale: LOCALES[language],
    viewport: { width, height },
    reducedMotion: 'reduce',
    ...options,
  });
  t.after(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  const watched = new Watch(page, program.address, allow);
  return { page, watched, context, go: (path) => page.goto(program.url(path), { waitUntil: 'load' }) };
}

/** axe-core's findings on the page as it is now, one readable line each. It runs beside the page, so the page's own policy does not stop it. */
export async function violations(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
  return violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id} (${rule.impact}): ${rule.help}: ${node.target.join(' ')}: ${node.html.slice(0, 160)}`));
}

/** What makes the page wider than its window, one line an element: nothing where nothing has to be scrolled sideways. */
export function sidewaysOverflow(page) {
  return page.evaluate(() => {
    const root = document.documentElement;
    if (root.scrollWidth <= root.clientWidth) return [];
    const wide = [...document.querySelectorAll('body *')]
      .filter((element) => element.getBoundingClientRect().right > root.clientWidth + 0.5)
      .map((element) => `${element.tagName} .${element.className} to ${Math.round(element.getBoundingClientRect().right)} px: ${element.textContent.trim().slice(0, 80)}`);
    return [`${root.scrollWidth} px in a window of ${root.clientWidth}`, ...wide.slice(0, 10)];
  });
}
