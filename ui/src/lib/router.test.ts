import { expect, test } from 'vitest';
import { choose } from './i18n.svelte';
import { PAGES, href, isInternal, match } from './router';

test('every page has an address that leads back to it', () => {
  for (const page of PAGES) {
    const id = page === 'customer' ? 'c0a/é 1?' : '';
    expect(match(new URL(href(page, id), 'http://x').pathname)).toEqual({ page, id });
  }
});

test.each([
  ['/', 'overview', ''],
  ['/customers/', 'customers', ''],
  ['/customers/c1', 'customer', 'c1'],
  ['/customers/c1/more', 'unknown', ''],
  ['/customers/%E0%A4%A', 'unknown', ''],
  ['/overview', 'unknown', ''],
  ['/nowhere', 'unknown', ''],
  ['/customer', 'unknown', ''],
])('%s is %s', (path, page, id) => expect(match(path)).toEqual({ page, id }));

test('a query leaves out what is empty', () => {
  expect(href('customers', '', { risk: 'high', search: '', offset: undefined })).toBe('/customers?risk=high');
});

test.each([
  ['http://x/alerts?state=all', true],
  ['http://x/nowhere', false],
  ['http://x/api/v1/openapi.json', false],
  ['http://y/alerts', false],
])('%s stays within the screens: %s', (url, inside) => expect(isInternal(new URL(url), 'http://x')).toBe(inside));

test.each([
  ['?lang=fr', 'en', ['en-GB'], 'fr'],
  ['?lang=de', 'fr', ['en-GB'], 'fr'],
  ['', null, ['de-DE', 'fr-CA', 'en'], 'fr'],
  ['', 'xx', ['de-DE'], 'en'],
  ['', null, [], 'en'],
])('language of %s, %s, %s is %s', (search, stored, wanted, lang) => expect(choose(search, stored, wanted)).toBe(lang));
