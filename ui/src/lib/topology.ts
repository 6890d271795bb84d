/** The program's topology as two graphs: the whole (topics and sub-topologies), and the steps of one sub-topology with its topics. */
import type { Topology, TopologyNode } from './types';

type Sub = Topology['graph']['sub_topologies'][number];

export type GraphPart =
  | { kind: 'topic'; id: string; name: string }
  | { kind: 'sub'; id: string; name: string; stores: string[]; steps: string[] }
  | { kind: 'step'; id: string; name: string; step: string; stores: string[] };

export interface PartGraph {
  nodes: GraphPart[];
  edges: [string, string][];
}

const reads = (node: TopologyNode): boolean => /source/i.test(node.kind);

class Collector {
  nodes: GraphPart[] = [];
  edges: [string, string][] = [];
  #ids = new Set<string>();
  #edges = new Set<string>();

  node(part: GraphPart): void {
    if (this.#ids.has(part.id)) return;
    this.#ids.add(part.id);
    this.nodes.push(part);
  }

  edge(from: string, to: string): void {
    const key = `${from}\u0000${to}`;
    if (this.#edges.has(key)) return;
    this.#edges.add(key);
    this.edges.push([from, to]);
  }

  /** Ties a node to its topics: a source reads them, anything else writes them. */
  topics(node: TopologyNode, id: string): void {
    for (const name of node.topics ?? []) {
      const topic = `topic ${name}`;
      this.node({ kind: 'topic', id: topic, name });
      if (reads(node)) this.edge(topic, id);
      else this.edge(id, topic);
    }
  }
}

export function wholeGraph(subs: Sub[]): PartGraph {
  const all = new Collector();
  for (const sub of subs) {
    const id = `sub ${sub.id}`;
    const stores = [...new Set(sub.nodes.flatMap((node) => node.stores ?? []))];
    all.node({ kind: 'sub', id, name: String(sub.id), stores, steps: sub.nodes.map((node) => node.name) });
    for (const node of sub.nodes) all.topics(node, id);
  }
  return all;
}

export function stepGraph(sub: Sub): PartGraph {
  const all = new Collector();
  for (const node of sub.nodes) {
    const id = `step ${node.name}`;
    all.node({ kind: 'step', id, name: node.name, step: node.kind, stores: node.stores ?? [] });
    all.topics(node, id);
    for (const next of node.successors ?? []) all.edge(id, `step ${next}`);
  }
  return all;
}
