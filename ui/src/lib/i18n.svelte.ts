/** The language of the screens: from `?lang=`, else what was chosen before, else the browser's. */
import { formats, type Formats } from './format';
import type { Messages } from './i18n/en';
import type { Lang, Words } from './types';

const KEY = 'vigie.lang';
const CATALOGUES: Record<Lang, () => Promise<Messages>> = {
  en: async () => (await import('./i18n/en')).en,
  fr: async () => (await import('./i18n/fr')).fr,
};

export const isLang = (value: unknown): value is Lang => value === 'fr' || value === 'en';

/** The language to begin with. Pure, so that its order can be tested. */
export function choose(search: string, stored: string | null, wanted: readonly string[]): Lang {
  const asked = new URLSearchParams(search).get('lang');
  if (isLang(asked)) return asked;
  if (isLang(stored)) return stored;
  for (const tag of wanted) {
    const lang = tag.slice(0, 2).toLowerCase();
    if (isLang(lang)) return lang;
  }
  return 'en';
}

/** localStorage throws where the reader has forbidden it; the choice then lasts as long as the page. */
export const stored = {
  get(key: string): string | null {
    try {
      return localStorage.getItem(key);
    } catch {
      return null;
    }
  },
  set(key: string, value: string): void {
    try {
      localStorage.setItem(key, value);
    } catch {
      // See above.
    }
  },
};

class I18n {
  lang = $state.raw<Lang>('en');
  // Set by `use` before anything is drawn.
  m = $state.raw<Messages>(undefined as unknown as Messages);
  f = $state.raw<Formats>(formats('en'));

  async use(lang: Lang, remember: boolean): Promise<void> {
    const m = await CATALOGUES[lang]();
    this.m = m;
    this.f = formats(lang);
    this.lang = lang;
    document.documentElement.lang = lang;
    if (remember) stored.set(KEY, lang);
  }

  begin(): Promise<void> {
    const asked = isLang(new URLSearchParams(location.search).get('lang'));
    return this.use(choose(location.search, stored.get(KEY), navigator.languages), asked);
  }

  /** A sentence that the program made in both languages, in the reader's. */
  say(words: Words | null | undefined): string {
    if (!words) return '';
    return typeof words === 'string' ? words : words[this.lang];
  }

  /** The same, from a pair of keys such as `text_fr` and `text_en`. */
  pick(fr: string | null | undefined, en: string | null | undefined): string {
    return (this.lang === 'fr' ? fr : en) ?? '';
  }
}

export const i18n = new I18n();
