/**
 * Copying a graph with changes: the one loop under every pass that rewrites graphs. A pass says for
 * each op what stands in its place; tensors, segments and outputs are carried over here.
 *
 * @module
 */

import { FIRST_SEGMENT, Graph, type GraphNode, type Segment, type Tensor } from "./graph.ts";

/** What a pass records into. */
export interface GraphCopy {
  /** The copy, as far as it has come. */
  readonly graph: Graph;
  /** The tensor of the copy that stands for one of the original. */
  of(tensor: Tensor): Tensor;
  /** Whether a tensor of the original already has one that stands for it. */
  has(tensor: Tensor): boolean;
  /** Lets `copy`, a tensor of the copy, stand for `tensor` of the original. */
  set(tensor: Tensor, copy: Tensor): void;
  /** Records an op as it is in the original. */
  keep(node: GraphNode): void;
}

/** Which ops are copied, and what stands for results that come from elsewhere. */
export interface CopyOptions {
  /** The ops that `record` is called for; all of the graph where absent. */
  readonly nodes?: readonly GraphNode[];
  /** Makes the tensor that stands for a result of an op that is not among `nodes`. */
  readonly enter?: (tensor: Tensor, copy: Graph) => Tensor;
}

/**
 * Copies a graph. `record` is called for every op in the order of execution; it records what the
 * copy has in its place, or nothing. Outputs that no op of the copy makes are left out.
 */
export function copyGraph(
  graph: Graph,
  record: (node: GraphNode, copy: GraphCopy) => void,
  { nodes = graph.nodes, enter }: CopyOptions = {},
): Graph {
  const own = new Graph({ tokens: graph.tokens });
  const copies = new Map<Tensor, Tensor>();
  const copy: GraphCopy = {
    graph: own,
    has: (tensor) => copies.has(tensor),
    set: (tensor, it) => void copies.set(tensor, it),
    of(tensor) {
      let it = copies.get(tensor);
      if (!it) {
        it = tensor.origin === "op" && enter ? enter(tensor, own) : own.adopt(tensor);
        copies.set(tensor, it);
      }
      return it;
    },
    keep(node) {
      copies.set(node.output, own.repeat(node, node.inputs.map(copy.of)));
    },
  };
  // Inputs that no op reads can be written all the same.
  if (!enter) { for (const it of graph.tensors) if (it.origin === "input") copy.of(it); }
  let segment: Segment | undefined;
  for (const node of nodes) {
    if (node.segment !== segment) {
      segment = node.segment;
      // A graph begins in its first segment; it can only be cut from others.
      if (segment.name !== FIRST_SEGMENT) own.cut(segment.name, segment.layer);
    }
    record(node, copy);
  }
  for (const [name, tensor] of graph.outputs) {
    const copy = copies.get(tensor);
    if (copy?.origin === "op") own.output(name, copy);
  }
  return own;
}

/**
 * The graph without the ops that lead to no output, or to none of those named in `outputs`; itself
 * where all of them do. An op that writes a cache is needed where a needed op reads that cache, and
 * with `stores` in any case: for what later runs read.
 */
export function pruneGraph(
  graph: Graph,
  { stores, outputs = graph.outputs.keys() }: {
    readonly stores: boolean;
    readonly outputs?: Iterable<string>;
  },
): Graph {
  const needed = new Set<Tensor>(Array.from(outputs, (it) => graph.outputs.get(it)!));
  const kept = new Set<GraphNode>();
  let found: number;
  do { // until a cache that is read late has had its early writers looked at again
    found = kept.size;
    for (const node of graph.nodes.toReversed()) {
      const isStore = node.output.origin === "cache";
      if (kept.has(node) || !needed.has(node.output) && !(isStore && stores)) continue;
      kept.add(node);
      for (const input of node.inputs) needed.add(input);
    }
  } while (kept.size > found);
  if (kept.size === graph.nodes.length) return graph;
  return copyGraph(graph, (node, copy) => {
    if (kept.has(node)) copy.keep(node);
  });
}
