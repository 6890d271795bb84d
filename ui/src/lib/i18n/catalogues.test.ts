import { describe, expect, test } from 'vitest';
import { en } from './en';
import { fr } from './fr';

type Tree = { [key: string]: string | Tree | ((...args: never[]) => string) };

/** Every text with its path; a text that is made from parts is made from marked ones. */
function texts(tree: Tree, path = ''): Map<string, string> {
  const found = new Map<string, string>();
  for (const [key, value] of Object.entries(tree)) {
    const at = path ? `${path}.${key}` : key;
    if (typeof value === 'string') found.set(at, value);
    else if (typeof value === 'function') {
      const args = Array.from({ length: value.length }, (_, i) => `‹${i}›`) as never[];
      found.set(at, value(...args));
    } else for (const [inner, text] of texts(value, at)) found.set(inner, text);
  }
  return found;
}

const english = texts(en as unknown as Tree);
const french = texts(fr as unknown as Tree);

/** Words that are the same in both languages. */
const SAME = new Set([
  'app.name', 'app.menu', 'app.toasts', 'app.version', 'app.title', 'nav.anomalies', 'common.none', 'common.total', 'common.pause', 'common.actions', 'common.paging',
  'overview.tiles.anomalies', 'overview.sources', 'overview.source.name', 'overview.rate', 'customers.columns.sites', 'customers.columns.updated', 'customer.pointsChange', 
  'pages.columns.date', 'shop.columns.type', 'shop.columns.session', 'shop.filterType', 'anomalies.columns.topic', 'users.source', 'operations.topics',
  'operations.topicColumns.name', 'operations.topicColumns.partitions', 'operations.groupColumns.partition', 'operations.taskColumns.partition', 'operations.partition', 'operations.topic',
  'operations.node.topics', 'model.version', 'model.metric.auc', 'model.calibration', 'model.coefficients', 'model.columnColumns.coefficient', 'model.role.date', 'model.role.treatment', 'operations.recountColumns.verdict',
  'models.auc', 'models.points', 'learning.verdict.stable', 'learning.columns.verdict',
]);

describe('catalogues', () => {
  test('both hold the same texts', () => {
    expect([...french.keys()].sort()).toEqual([...english.keys()].sort());
    expect(english.size).toBeGreaterThan(400);
  });

  test('no text is empty', () => {
    for (const [key, text] of [...english, ...french]) expect(text.trim() === '' && !key.endsWith('colon'), key).toBe(false);
  });

  test('a text keeps all of its parts in both languages', () => {
    for (const [key, text] of english) {
      const parts = (one: string): string[] => [...new Set(one.match(/‹\d›/g))].sort();
      // A count that only chooses between singular and plural need not be shown.
      expect(parts(french.get(key) ?? '').filter((part) => part !== '‹0›'), key).toEqual(parts(text).filter((part) => part !== '‹0›'));
    }
  });

  test('what is the same in both languages is so on purpose', () => {
    const same = [...english].filter(([key, text]) => french.get(key) === text && /[a-z]{3}/i.test(text) && !SAME.has(key)).map(([key]) => key);
    expect(same).toEqual([]);
    expect([...SAME].filter((key) => english.get(key) === undefined || english.get(key) !== french.get(key))).toEqual([]);
  });

  test('French puts an unbreakable blank before high punctuation', () => {
    for (const [key, text] of french) expect(/(?<=\p{L}) [:;?!%»]/u.test(text), `${key}: ${text}`).toBe(false);
  });

  test('singular and plural', () => {
    expect(en.customers.changed(1, '1')).toContain('1 score has');
    expect(en.customers.changed(2, '2')).toContain('2 scores have');
    expect(fr.anomalies.newOnes(0, '0')).toBe('0 nouvelle anomalie');
    expect(fr.anomalies.newOnes(2, '2')).toBe('2 nouvelles anomalies');
  });
});
