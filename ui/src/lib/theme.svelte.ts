/** Light or dark: the system's choice until the reader makes one. */
import { stored } from './i18n.svelte';

export type Theme = 'system' | 'light' | 'dark';
const KEY = 'vigie.theme';

class ThemeChoice {
  choice = $state<Theme>('system');
  #system = $state(false);
  dark = $derived(this.choice === 'dark' || (this.choice === 'system' && this.#system));

  begin(): void {
    const found = stored.get(KEY);
    this.choice = found === 'light' || found === 'dark' ? found : 'system';
    this.#apply();
    const media = matchMedia('(prefers-color-scheme: dark)');
    this.#system = media.matches;
    media.addEventListener('change', (event) => (this.#system = event.matches));
  }

  set(theme: Theme): void {
    this.choice = theme;
    stored.set(KEY, theme);
    this.#apply();
  }

  #apply(): void {
    if (this.choice === 'system') delete document.documentElement.dataset['theme'];
    else document.documentElement.dataset['theme'] = this.choice;
  }
}

export const theme = new ThemeChoice();
