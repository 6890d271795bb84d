import { settled } from './recount';
import { describe, expect, test } from 'vitest';
import { api } from './api';
import { parseCsv, toCsv } from './csv';
import { learn, overlay } from './overlay';
import { layered } from './layout';
import { stepGraph, wholeGraph } from './topology';
import { addCounts, currentWindow, pageNames, windowsUntil } from './windows';
import { named, oneLine, pretty } from './words';

describe('CSV', () => {
  test('what is written is read back', () => {
    const rows = [['a', 'b,"c"\r\nd', ''], ['é', '-5', '1.5']];
    expect(parseCsv(toCsv(['x', 'y', 'z'], rows))).toEqual([['x', 'y', 'z'], ...rows]);
  });
  test('a cell cannot become a formula', () => {
    expect(toCsv(['a'], [['=1+1'], ['@x'], ['-3'], [null]])).toBe("a\r\n'=1+1\r\n'@x\r\n-3\r\n\r\n");
  });
});

describe('layout', () => {
  const node = (id: string) => ({ id, width: 100, height: 30 });
  test('each node stands right of those that lead to it, and none overlaps another', () => {
    const { nodes, edges } = layered(['a', 'b', 'c', 'd'].map(node), [['a', 'b'], ['b', 'd'], ['a', 'c'], ['c', 'd'], ['x', 'a']]);
    const layer = Object.fromEntries(nodes.map((one) => [one.id, one.layer]));
    expect(layer).toEqual({ a: 0, b: 1, c: 1, d: 2 });
    expect(edges).toHaveLength(4);
    const [b, c] = [nodes.find((one) => one.id === 'b'), nodes.find((one) => one.id === 'c')];
    expect(Math.abs((b?.y ?? 0) - (c?.y ?? 0))).toBeGreaterThanOrEqual(30);
  });
  test('a cycle is drawn, not followed for ever', () => {
    const { nodes, edges } = layered(['a', 'b'].map(node), [['a', 'b'], ['b', 'a']]);
    expect([nodes.length, edges.length]).toEqual([2, 2]);
  });
  test('nothing gives an empty drawing', () => expect(layered([], [])).toEqual({ width: 0, height: 0, nodes: [], edges: [] }));
});

test('a topology is drawn as a whole and in steps', () => {
  const sub = {
    id: 0,
    nodes: [
      { name: 'in', kind: 'source', topics: ['R2'], successors: ['count'] },
      { name: 'count', kind: 'processor', stores: ['page-count'], successors: ['out'] },
      { name: 'out', kind: 'sink', topics: ['R4'] },
    ],
  };
  expect(wholeGraph([sub]).edges).toEqual([['topic R2', 'sub 0'], ['sub 0', 'topic R4']]);
  expect(stepGraph(sub).edges).toEqual([['topic R2', 'step in'], ['step in', 'step count'], ['step count', 'step out'], ['step out', 'topic R4']]);
});

describe('windows', () => {
  const windows = [
    { start: 0, end: 5, counts: { P1: 1 }, closed: true },
    { start: 10, end: 15, counts: { P1: 2 }, closed: false },
  ];
  test('a newer count replaces the older one, also in a closed window', () => {
    const found = addCounts(windows, [{ page: 'P1', window_start: 0, window_end: 5, count: 4 }, { page: 'P2', window_start: 15, window_end: 20, count: 1 }], 5);
    expect(found.map((one) => [one.start, one.counts])).toEqual([[0, { P1: 4 }], [10, { P1: 2 }], [15, { P2: 1 }]]);
    expect(windows[0]?.counts).toEqual({ P1: 1 });
  });
  test('a window without a view is a zero, not a gap', () => {
    expect(windowsUntil(windows, 22, 5, 10).map((one) => [one.start, one.closed])).toEqual([[0, true], [5, true], [10, true], [15, true], [20, false]]);
    expect(windowsUntil(windows, 22, 5, 2).map((one) => one.start)).toEqual([15, 20]);
  });
  test('the current window and the names', () => {
    expect(currentWindow(windows, 12, 5).counts).toEqual({ P1: 2 });
    expect(currentWindow(windows, 31, 5)).toEqual({ start: 30, end: 35, counts: {}, closed: false });
    expect(pageNames([{ start: 0, end: 5, counts: { P10: 1, P9: 1 }, closed: true }], ['P1', 'P2'])).toEqual(['P1', 'P2', 'P9', 'P10']);
  });
});

test('an address leaves out what is not asked', () => {
  expect(api('/customers', { search: 'a&b', offset: 0, risk: undefined, sort: '' })).toBe('/api/v1/customers?search=a%26b&offset=0');
});

test('words by key, and raw values', () => {
  expect([named({ a: 'A' }, 'a'), named({ a: 'A' }, 'toString'), named({}, null)]).toEqual(['A', 'toString', '']);
  expect([pretty('{"a":1}'), pretty('plain'), pretty(null), oneLine({ a: 1 })]).toEqual(['{\n  "a": 1\n}', 'plain', '', '{"a":1}']);
});

test('what was just decided is shown until the store knows it', () => {
  const items = [{ id: 'a', updated_at: 5, state: 'open', name: 'A' }, { id: 'b', updated_at: 5, state: 'open', name: 'B' }];
  const id = (one: { id: string }): string => one.id;
  let known = learn(new Map(), [{ id: 'a', updated_at: 9, state: 'done' }], id);
  expect(overlay(items, known, id)).toEqual([{ id: 'a', updated_at: 9, state: 'done', name: 'A' }, items[1]]);
  known = learn(known, [{ id: 'a', updated_at: 7, state: 'late' }, { id: 'b', updated_at: 4, state: 'old' }], id);
  expect(overlay(items, known, id).map((one) => one.state)).toEqual(['done', 'open']);
  expect([...learn(known, [{ id: 'c', updated_at: 1, state: '' }], id, 2).keys()]).toEqual(['b', 'c']);
});

describe('a recount while events arrive', () => {
  const one = (from_log: number, from_store: number, in_flight = false) => ({ name: 'shop total', from_log, from_store, equal: from_log === from_store, in_flight });
  const count = (check: ReturnType<typeof one>) => ({ equal: check.equal, checks: [check] });
  test.each([
    ['the store caught up with the earlier count', one(100, 98), one(110, 105), true],
    ['the store stands still', one(100, 98), one(110, 98), false],
    ['the store has too many', one(100, 98), one(110, 120), false],
    ['nothing differs any more', one(100, 98), one(110, 110), false],
  ])('%s', (_, before, after, underWay) => {
    expect(settled(count(before), count(after)).checks[0]?.in_flight).toBe(underWay);
  });
});
