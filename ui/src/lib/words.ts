/** A text of a catalogue by a key that comes from data: the key itself where there is none. */
export function named(texts: object, key: string | null | undefined): string {
  if (!key) return '';
  const found: unknown = Object.hasOwn(texts, key) ? (texts as Record<string, unknown>)[key] : undefined;
  return typeof found === 'string' ? found : key;
}

/** Raw text as indented JSON where it is JSON; otherwise as it is. */
export function pretty(value: unknown): string {
  if (value === null || value === undefined) return '';
  if (typeof value !== 'string') return JSON.stringify(value, null, 2);
  try {
    const parsed: unknown = JSON.parse(value);
    return typeof parsed === 'object' && parsed !== null ? JSON.stringify(parsed, null, 2) : value;
  } catch {
    return value;
  }
}

/** The same on one line, for tables. */
export function oneLine(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
