/**
 * A drawing of a directed graph in layers, left to right: each node one layer after the last of those that lead to it, and
 * within a layer near its neighbours (a few rounds of the barycentre rule). Edges that close a cycle are left out of the layering.
 */

export interface GraphNode {
  id: string;
  width: number;
  height: number;
}

export interface Placed extends GraphNode {
  x: number;
  y: number;
  layer: number;
}

export interface Layout {
  width: number;
  height: number;
  nodes: Placed[];
  edges: { from: Placed; to: Placed; path: string }[];
}

const GAP_X = 42;
const GAP_Y = 14;
const ROUNDS = 6;

export function layered(nodes: GraphNode[], edges: [string, string][]): Layout {
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const next = new Map<string, string[]>(nodes.map((node) => [node.id, []]));
  const known = edges.filter(([from, to]) => byId.has(from) && byId.has(to) && from !== to);
  for (const [from, to] of known) next.get(from)?.push(to);

  const forward = withoutCycles(nodes, next);
  const layer = new Map<string, number>();
  const before = new Map<string, string[]>(nodes.map((node) => [node.id, []]));
  for (const [from, tos] of forward) for (const to of tos) before.get(to)?.push(from);
  const depth = (id: string): number => {
    const found = layer.get(id);
    if (found !== undefined) return found;
    const parents = before.get(id) ?? [];
    const value = parents.length ? Math.max(...parents.map(depth)) + 1 : 0;
    layer.set(id, value);
    return value;
  };
  for (const node of nodes) depth(node.id);
  // A start that only feeds a late node stands right before it, so that edges stay short.
  for (const node of nodes) {
    const tos = forward.get(node.id) ?? [];
    if (!before.get(node.id)?.length && tos.length) layer.set(node.id, Math.max(0, Math.min(...tos.map((to) => layer.get(to) ?? 1)) - 1));
  }

  const columns: string[][] = [];
  for (const node of nodes) (columns[layer.get(node.id) ?? 0] ??= []).push(node.id);
  for (let i = 0; i < columns.length; i += 1) columns[i] ??= [];
  const rank = new Map<string, number>();
  const number = (): void => {
    for (const column of columns) column.forEach((id, at) => rank.set(id, at - (column.length - 1) / 2));
  };
  number();
  for (let round = 0; round < ROUNDS; round += 1) {
    const neighbours = round % 2 === 0 ? before : forward;
    for (const column of columns) {
      const key = new Map(
        column.map((id) => {
          const ranks = (neighbours.get(id) ?? []).map((other) => rank.get(other) ?? 0);
          return [id, ranks.length ? ranks.reduce((a, b) => a + b, 0) / ranks.length : (rank.get(id) ?? 0)];
        }),
      );
      column.sort((a, b) => (key.get(a) ?? 0) - (key.get(b) ?? 0));
    }
    number();
  }

  const heights = columns.map((column) => column.reduce((sum, id) => sum + (byId.get(id)?.height ?? 0) + GAP_Y, -GAP_Y));
  const height = Math.max(0, ...heights);
  const placed = new Map<string, Placed>();
  let x = 0;
  columns.forEach((column, at) => {
    const width = Math.max(0, ...column.map((id) => byId.get(id)?.width ?? 0));
    let y = (height - (heights[at] ?? 0)) / 2;
    for (const id of column) {
      const node = byId.get(id);
      if (!node) continue;
      placed.set(id, { ...node, x: x + (width - node.width) / 2, y, layer: at });
      y += node.height + GAP_Y;
    }
    x += width + GAP_X;
  });

  return {
    width: Math.max(0, x - GAP_X),
    height,
    nodes: [...placed.values()],
    edges: known.flatMap(([from, to]) => {
      const a = placed.get(from);
      const b = placed.get(to);
      return a && b ? [{ from: a, to: b, path: curve(a, b) }] : [];
    }),
  };
}

/** The edges that lead on; those that lead back to a node on the way are dropped. */
function withoutCycles(nodes: GraphNode[], next: Map<string, string[]>): Map<string, string[]> {
  const state = new Map<string, 'open' | 'done'>();
  const kept = new Map<string, string[]>(nodes.map((node) => [node.id, []]));
  const visit = (id: string): void => {
    state.set(id, 'open');
    for (const to of next.get(id) ?? []) {
      if (state.get(to) === 'open') continue;
      kept.get(id)?.push(to);
      if (!state.has(to)) visit(to);
    }
    state.set(id, 'done');
  };
  const entered = new Set([...next.values()].flat());
  for (const node of nodes) if (!entered.has(node.id)) visit(node.id);
  for (const node of nodes) if (!state.has(node.id)) visit(node.id);
  return kept;
}

function curve(a: Placed, b: Placed): string {
  const [x1, y1] = [a.x + a.width, a.y + a.height / 2];
  const [x2, y2] = [b.x, b.y + b.height / 2];
  if (x2 <= x1) {
    // Backwards: around below, so that it is seen to lead back.
    const low = Math.max(a.y + a.height, b.y + b.height) + 12;
    return `M${x1} ${y1}C${x1 + 30} ${low} ${x2 - 30} ${low} ${x2} ${y2}`;
  }
  const bend = Math.max(24, (x2 - x1) / 2);
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}
