/**
 * The form's fields: what is typed, read as a customer's record, or what is wrong with it, field by field. The program checks
 * again; these rules only answer sooner. Decimal commas are welcome, since that is how French numbers are written.
 */
import type { Customer } from './types';

export const FIELDS = ['Names', 'Age', 'Total_Purchase', 'Account_Manager', 'Years', 'Num_Sites', 'Onboard_date', 'Location', 'Company'] as const;
export type Field = (typeof FIELDS)[number];
export type Typed = Record<Field, string>;
/** Why a field is refused; the catalogue has a sentence for each. */
export type Fault = { kind: 'required' | 'number' | 'date' | 'choice' } | { kind: 'range'; low: number; high: number } | { kind: 'long'; most: number };

/** As in contracts/test3.yaml; a test holds them to it. */
export const RANGES = {
  Age: [0, 130],
  Total_Purchase: [0, 1_000_000_000],
  Years: [0, 150],
  Num_Sites: [0, 10_000],
} as const satisfies Partial<Record<Field, readonly [number, number]>>;

/** Characters at most; see above. */
export const LONGEST = { Names: 200, Location: 500, Company: 200 } as const satisfies Partial<Record<Field, number>>;

export const EMPTY: Typed = { Names: '', Age: '', Total_Purchase: '', Account_Manager: '0', Years: '', Num_Sites: '', Onboard_date: '', Location: '', Company: '' };

/** `1 234,5`, `1234.5`, `1,234.5`: a number, or NaN. */
export function readNumber(text: string): number {
  let plain = text.replace(/[\s\u00a0\u202f']/g, '');
  if (plain.includes(',') && plain.includes('.')) plain = plain.replaceAll(',', '');
  else plain = plain.replace(',', '.');
  return /^[+-]?(\d+\.?\d*|\.\d+)$/.test(plain) ? Number(plain) : Number.NaN;
}

/** What a date field holds (`2013-08-30T07:00:40`), as the records have it (`2013-08-30 07:00:40`); undefined if it is none. */
export function readDate(text: string): string | undefined {
  const parts = /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2})(?::(\d{2})(?:\.\d+)?)?)?$/.exec(text.trim());
  if (!parts) return undefined;
  const written = `${parts[1]} ${parts[2] ?? '00:00'}:${parts[3] ?? '00'}`;
  const time = new Date(written.replace(' ', 'T') + 'Z');
  // 2013-02-31 is read as 3 March: it must come back as it went in.
  return Number.isNaN(time.getTime()) || time.toISOString().slice(0, 19).replace('T', ' ') !== written ? undefined : written;
}

export function faultOf(field: Field, text: string): Fault | undefined {
  const value = text.trim();
  switch (field) {
    case 'Names':
    case 'Location':
    case 'Company':
      if (value === '') return { kind: 'required' };
      return [...value].length > LONGEST[field] ? { kind: 'long', most: LONGEST[field] } : undefined;
    case 'Account_Manager':
      return value === '0' || value === '1' ? undefined : { kind: 'choice' };
    case 'Onboard_date': {
      if (value === '') return { kind: 'required' };
      return readDate(value) === undefined ? { kind: 'date' } : undefined;
    }
    default: {
      if (value === '') return { kind: 'required' };
      const number = readNumber(value);
      if (Number.isNaN(number)) return { kind: 'number' };
      const [low, high] = RANGES[field];
      return number < low || number > high ? { kind: 'range', low, high } : undefined;
    }
  }
}

export type Faults = Partial<Record<Field, Fault>>;

export function check(typed: Typed): Faults {
  const faults: Faults = {};
  for (const field of FIELDS) {
    const fault = faultOf(field, typed[field]);
    if (fault) faults[field] = fault;
  }
  return faults;
}

/** The record to send; call it only when `check` found nothing. */
export function toCustomer(typed: Typed): Customer {
  return {
    Names: typed.Names.trim(),
    Age: readNumber(typed.Age),
    Total_Purchase: readNumber(typed.Total_Purchase),
    Account_Manager: Number(typed.Account_Manager),
    Years: readNumber(typed.Years),
    Num_Sites: readNumber(typed.Num_Sites),
    Onboard_date: readDate(typed.Onboard_date) ?? typed.Onboard_date,
    Location: typed.Location.trim(),
    Company: typed.Company.trim(),
  };
}
