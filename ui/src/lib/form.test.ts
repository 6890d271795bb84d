import { expect, test } from 'vitest';
import contract from '../../../contracts/test3.yaml?raw';
import { SAMPLES } from '../pages/samples';
import { EMPTY, FIELDS, LONGEST, RANGES, check, faultOf, readDate, readNumber, toCustomer, type Field, type Typed } from './form';

const GOOD: Typed = { Names: ' Ada Lovelace ', Age: '37', Total_Purchase: '9 935,53', Account_Manager: '1', Years: '7.71', Num_Sites: '8', Onboard_date: '2011-08-29T18:37:54', Location: 'Nataliebury, WI', Company: 'King Ltd' };

test.each([
  ['42', 42],
  ['7,5', 7.5],
  ['7.5', 7.5],
  ['9\u202f935,53', 9935.53],
  ['1,234.5', 1234.5],
  ['-3', -3],
  ['.5', 0.5],
  ['', Number.NaN],
  ['many', Number.NaN],
  ['1e9', Number.NaN],
  ['0x10', Number.NaN],
  ['1,2,3', Number.NaN],
  ['Infinity', Number.NaN],
])('%s is the number %d', (text, number) => expect(readNumber(text)).toEqual(number));

test.each([
  ['2013-08-30T07:00:40', '2013-08-30 07:00:40'],
  ['2013-08-30 07:00:40', '2013-08-30 07:00:40'],
  ['2013-08-30T07:00', '2013-08-30 07:00:00'],
  ['2013-08-30', '2013-08-30 00:00:00'],
  ['2013-02-31', undefined],
  ['2013-13-01', undefined],
  ['yesterday', undefined],
  ['', undefined],
])('%s is the date %s', (text, date) => expect(readDate(text)).toBe(date));

test('a good form becomes the record', () => {
  expect(check(GOOD)).toEqual({});
  expect(toCustomer(GOOD)).toEqual({ Names: 'Ada Lovelace', Age: 37, Total_Purchase: 9935.53, Account_Manager: 1, Years: 7.71, Num_Sites: 8, Onboard_date: '2011-08-29 18:37:54', Location: 'Nataliebury, WI', Company: 'King Ltd' });
});

test('an empty form misses everything but the choice', () => {
  expect(Object.keys(check(EMPTY)).sort()).toEqual(FIELDS.filter((field) => field !== 'Account_Manager').sort());
});

test.each<[Field, string, string]>([
  ['Names', '   ', 'required'],
  ['Names', 'x'.repeat(201), 'long'],
  ['Age', '4000', 'range'],
  ['Age', '-4', 'range'],
  ['Age', 'old', 'number'],
  ['Total_Purchase', '-1', 'range'],
  ['Years', 'many', 'number'],
  ['Num_Sites', '1000000000000', 'range'],
  ['Account_Manager', '0.5', 'choice'],
  ['Onboard_date', 'yesterday', 'date'],
])('%s refuses %s: %s', (field, text, kind) => {
  expect(faultOf(field, text)?.kind).toBe(kind);
  expect(Object.keys(check({ ...GOOD, [field]: text }))).toEqual([field]);
});

test('the examples are the six rows of the file, and each of them is accepted', () => {
  expect(SAMPLES.map((one) => one.Names)).toEqual(['Andrew Mccall', 'Michele Wright', 'Jeremy Chang', 'Megan Ferguson', 'Taylor Young', 'Jessica Drake']);
  for (const one of SAMPLES) expect(check(one)).toEqual({});
});

test('the bounds are those of the contract, so that nothing is refused here that the program would take', () => {
  const bound = (field: string, name: string): number => {
    const part = contract.split(/\n {6}- name: /).find((one) => one.startsWith(`${field}\n`)) ?? '';
    return Number(new RegExp(`${name}: (\\d+)`).exec(part)?.[1] ?? Number.NaN);
  };
  for (const [field, [low, high]] of Object.entries(RANGES)) expect([field, low, high]).toEqual([field, bound(field, 'minimum'), bound(field, 'maximum')]);
  for (const [field, most] of Object.entries(LONGEST)) expect([field, most]).toEqual([field, bound(field, 'maxLength')]);
});
