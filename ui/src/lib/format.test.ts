import { describe, expect, test } from 'vitest';
import { formats } from './format';

/** Any kind of blank is a blank: which one a language uses depends on the version of its data. */
const plain = (text: string): string => text.replace(/[\u00a0\u202f]/g, ' ');
const en = formats('en');
const fr = formats('fr');
const NOW = Date.UTC(2026, 5, 15, 12, 0, 0);
const DAY = 86_400_000;

function check(make: (f: typeof en) => string, english: string, french: string): void {
  expect(plain(make(en))).toBe(english);
  expect(plain(make(fr))).toBe(french);
}

describe('numbers', () => {
  test.each([
    [(f: typeof en) => f.int(1234567), '1,234,567', '1 234 567'],
    [(f: typeof en) => f.num(0.12345), '0.12', '0,12'],
    [(f: typeof en) => f.num(0.12345, 4), '0.1235', '0,1235'],
    [(f: typeof en) => f.percent(0.1944), '19.4%', '19,4 %'],
    [(f: typeof en) => f.percent(0), '0.0%', '0,0 %'],
    [(f: typeof en) => f.percent(0.5, 0), '50%', '50 %'],
    [(f: typeof en) => f.chance(0.1944), '19.4%', '19,4 %'],
    [(f: typeof en) => f.chance(0.0001), '< 0.1%', '< 0,1 %'],
    [(f: typeof en) => f.chance(0.9999), '> 99.9%', '> 99,9 %'],
    [(f: typeof en) => f.chance(0), '0.0%', '0,0 %'],
    [(f: typeof en) => f.fixed(0.4), '+0.40', '+0,40'],
    [(f: typeof en) => f.fixed(-0.001), '0.00', '0,00'],
    [(f: typeof en) => f.points(0.053), '+5.3', '+5,3'],
    [(f: typeof en) => f.points(-0.053), '-5.3', '-5,3'],
    [(f: typeof en) => f.points(0), '0.0', '0,0'],
    [(f: typeof en) => f.signed(1.5), '+1.5', '+1,5'],
    [(f: typeof en) => f.money(11066.8, 'EUR'), '€11,067', '11 067 €'],
    [(f: typeof en) => f.money(512.4, 'EUR'), '€512.40', '512,40 €'],
    [(f: typeof en) => f.money(500, 'EUR'), '€500', '500 €'],
    [(f: typeof en) => f.bytes(512), '512 bytes', '512 octets'],
    [(f: typeof en) => f.bytes(81_000_000), '77.2 MB', '77,2 Mo'],
  ])('%s', (make, english, french) => check(make, english, french));
});

describe('countries', () => {
  test.each([
    ['Germany', 'Germany', 'Allemagne'],
    ['United States', 'United States', 'États-Unis'],
    ['Turkey', 'Turkey', 'Turquie'],
    ['Nowhere', 'Nowhere', 'Nowhere'],
  ])('%s', (name, english, french) => check((f) => f.country(name), english, french));
});

describe('durations', () => {
  test.each([
    [3.25, '3.3 ms', '3,3 ms'],
    [420, '420 ms', '420 ms'],
    [1500, '1.5 sec', '1,5 s'],
    [125_000, '2m 5s', '2 min 5 s'],
    [3_725_000, '1h 2m', '1 h 2 min'],
    [2 * DAY + 3_600_000, '2d 1h', '2 j 1 h'],
  ])('%d ms', (ms, english, french) => {
    // English abbreviations have changed between versions of the language data: "secs", "hrs".
    expect(plain(en.ms(ms)).replace(/\b(sec|hr|min)s\b/g, '$1')).toBe(english);
    expect(plain(fr.ms(ms))).toBe(french);
  });
});

describe('relative times', () => {
  test.each([
    [0, 'now', 'maintenant'],
    [400, 'now', 'maintenant'],
    [-30_000, '30 sec ago', 'il y a 30 s'],
    [-5 * 60_000, '5 min ago', 'il y a 5 min'],
    [-DAY, 'yesterday', 'hier'],
    [5000, 'now', 'maintenant'],
    [-30 * DAY, '16 May 2026, 12:00', '16 mai 2026, 12:00'],
    [2 * DAY, '17 Jun 2026, 12:00', '17 juin 2026, 12:00'],
    [120_000, '15 Jun 2026, 12:02', '15 juin 2026, 12:02'],
  ])('%d ms from now', (delta, english, french) => {
    expect(plain(en.ago(NOW + delta, NOW)).replace('secs', 'sec').replace('mins', 'min')).toBe(english);
    expect(plain(fr.ago(NOW + delta, NOW))).toBe(french);
  });

  test('the exact time has milliseconds and a time zone', () => {
    expect(en.exact(NOW + 7)).toMatch(/2026.*[.,]007.*(UTC|GMT|[A-Z]{2,})/);
    expect(fr.exact(NOW + 7)).toMatch(/juin 2026.*,007/);
  });
});
