/** Numbers, dates and durations in the reader's language. Pure: the present moment is an argument. */
import type { Lang } from './types';

const LOCALE: Record<Lang, string> = { fr: 'fr-FR', en: 'en-GB' };
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** What is further away than this is told by its date, since "in 300 days" helps nobody. */
const FAR = 7 * DAY;
/** Clocks of two machines differ by less than this. */
export const AHEAD = MINUTE;

export interface Formats {
  lang: Lang;
  locale: string;
  /** A whole number with its thousands grouped. */
  int(value: number): string;
  /** At most `digits` decimals. */
  num(value: number, digits?: number): string;
  /** 1,234,567 as 1.2M, for tight places. */
  compact(value: number): string;
  /** A share of 1 in per cent. */
  percent(share: number, digits?: number): string;
  /** The same, always with a sign, in points. */
  points(share: number, digits?: number): string;
  signed(value: number, digits?: number): string;
  /** Signed, always with `digits` decimals, for numbers under one another. */
  fixed(value: number, digits?: number): string;
  /** A probability in per cent: what is not quite 0 or 1 is not shown as if it were. */
  chance(share: number): string;
  money(value: number, currency: string): string;
  bytes(value: number): string;
  ms(value: number): string;
  duration(ms: number): string;
  date(ms: number): string;
  clock(ms: number): string;
  /** Day and time, short, for axes of a day or two. */
  hour(ms: number): string;
  exact(ms: number): string;
  /** Day and time to the minute, for moments that are not near. */
  moment(ms: number): string;
  ago(ms: number, now: number): string;
  list(items: string[]): string;
  /** A country that is named in English, in the reader's language; as it is where the name is not known. */
  country(english: string): string;
}

export function formats(lang: Lang): Formats {
  const locale = LOCALE[lang];
  const cache = new Map<string, Intl.NumberFormat>();
  const number = (options: Intl.NumberFormatOptions): Intl.NumberFormat => {
    const key = JSON.stringify(options);
    let found = cache.get(key);
    if (!found) cache.set(key, (found = new Intl.NumberFormat(locale, options)));
    return found;
  };
  const dates = (options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat => new Intl.DateTimeFormat(locale, { hourCycle: 'h23', ...options });
  const day = dates({ year: 'numeric', month: 'short', day: 'numeric' });
  const clock = dates({ hour: '2-digit', minute: '2-digit', second: '2-digit' });
  const hour = dates({ weekday: 'short', hour: '2-digit', minute: '2-digit' });
  const moment = dates({ year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' });
  const exact = dates({
    weekday: 'short',
    year: 'numeric',
    month: 'short',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    fractionalSecondDigits: 3,
    timeZoneName: 'short',
  });
  const relative = new Intl.RelativeTimeFormat(locale, { numeric: 'auto', style: 'short' });
  const list = new Intl.ListFormat(locale, { type: 'conjunction' });
  const unit = (value: number, name: string, digits: number, unitDisplay: 'short' | 'narrow' | 'long' = 'short'): string =>
    number({ style: 'unit', unit: name, unitDisplay, maximumFractionDigits: digits }).format(value);
  /** Two units side by side: English has a narrow form that reads well, French has not. */
  const two = (value: number, name: string): string => unit(Math.floor(value), name, 0, lang === 'en' ? 'narrow' : 'short');

  const formats: Formats = {
    lang,
    locale,
    int: (value) => number({ maximumFractionDigits: 0 }).format(value),
    num: (value, digits = 2) => number({ maximumFractionDigits: digits }).format(value),
    compact: (value) => number({ notation: 'compact', maximumFractionDigits: 1 }).format(value),
    percent: (share, digits = 1) => number({ style: 'percent', minimumFractionDigits: digits, maximumFractionDigits: digits }).format(share),
    points: (share, digits = 1) =>
      number({ minimumFractionDigits: digits, maximumFractionDigits: digits, signDisplay: 'exceptZero' }).format(share * 100),
    signed: (value, digits = 2) => number({ maximumFractionDigits: digits, signDisplay: 'exceptZero' }).format(value),
    fixed: (value, digits = 2) => number({ minimumFractionDigits: digits, maximumFractionDigits: digits, signDisplay: 'exceptZero' }).format(value),
    chance(share) {
      if (share > 0 && share < 0.0005) return `< ${formats.percent(0.001)}`;
      if (share < 1 && share >= 0.9995) return `> ${formats.percent(0.999)}`;
      return formats.percent(share);
    },
    money(value, currency) {
      // Cents matter for a price, not for a year's sales.
      const digits = Math.abs(value) < 1000 && !Number.isInteger(value) ? 2 : 0;
      return number({ style: 'currency', currency, maximumFractionDigits: digits, minimumFractionDigits: digits }).format(value);
    },
    bytes(value) {
      for (const [size, name] of [
        [2 ** 30, 'gigabyte'],
        [2 ** 20, 'megabyte'],
        [2 ** 10, 'kilobyte'],
      ] as const) {
        if (Math.abs(value) >= size) return unit(value / size, name, 1);
      }
      return unit(value, 'byte', 0, 'long');
    },
    ms(value) {
      if (Math.abs(value) < 10) return unit(value, 'millisecond', 1);
      if (Math.abs(value) < SECOND) return unit(value, 'millisecond', 0);
      return formats.duration(value);
    },
    duration(ms) {
      const sign = ms < 0 ? '-' : '';
      const value = Math.abs(ms);
      if (value < SECOND) return sign + unit(value, 'millisecond', 0);
      if (value < MINUTE) return sign + unit(value / SECOND, 'second', 1);
      if (value < HOUR) return sign + two(value / MINUTE, 'minute') + ' ' + two((value % MINUTE) / SECOND, 'second');
      if (value < DAY) return sign + two(value / HOUR, 'hour') + ' ' + two((value % HOUR) / MINUTE, 'minute');
      return sign + two(value / DAY, 'day') + ' ' + two((value % DAY) / HOUR, 'hour');
    },
    date: (ms) => day.format(ms),
    clock: (ms) => clock.format(ms),
    hour: (ms) => hour.format(ms),
    exact: (ms) => exact.format(ms),
    moment: (ms) => moment.format(ms),
    ago(ms, now) {
      const delta = ms - now;
      const distance = Math.abs(delta);
      // What lies ahead is another clock's (a scenario's): "in 5 days" would be taken for a plan.
      if (delta > AHEAD || distance >= FAR) return moment.format(ms);
      if (distance >= DAY) return relative.format(Math.trunc(delta / DAY), 'day');
      if (distance >= HOUR) return relative.format(Math.trunc(delta / HOUR), 'hour');
      if (distance >= MINUTE) return relative.format(Math.trunc(delta / MINUTE), 'minute');
      // Clocks of two machines differ by a little: that is no reason to speak of the future.
      return relative.format(Math.min(0, Math.trunc(delta / SECOND)), 'second');
    },
    list: (items) => list.format(items),
    country: (english) => (lang === 'en' ? english : countries(locale).get(english) ?? english),
  };
  return formats;
}

const countryNames = new Map<string, Map<string, string>>();

/** English names of countries to those of `locale`, made once: the language data knows regions by code only. */
function countries(locale: string): Map<string, string> {
  const found = countryNames.get(locale);
  if (found) return found;
  const options = { type: 'region', fallback: 'none' } as const;
  const [english, other] = [new Intl.DisplayNames('en', options), new Intl.DisplayNames(locale, options)];
  const letters = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZ'];
  const made = new Map<string, string>();
  for (const code of letters.flatMap((a) => letters.map((b) => a + b))) {
    const [from, to] = [english.of(code), other.of(code)];
    if (from && to) made.set(from, to);
  }
  // Renamed in the language data, not in everybody's.
  const turkey = other.of('TR');
  if (turkey) made.set('Turkey', turkey);
  countryNames.set(locale, made);
  return made;
}
