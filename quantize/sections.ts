/**
 * A model layer by layer: each segment of its graph as a graph of its own, which gives what the next
 * one goes on from, and what its matrices are multiplied with.
 *
 * @module
 */

import { copyGraph, pruneGraph } from "../runtime/graph/copy.ts";
import type { Graph, GraphNode, Tensor } from "../runtime/graph/graph.ts";

/** A matrix, and where the sections' inputs or outputs have what it is multiplied with. */
export interface Multiplied {
  /** Name of the matrix in the graph. */
  readonly weight: string;
  /** Name of the input or output `[tokens, columns]`. */
  readonly by: string;
  /** Where the matrix is a stack of experts' matrices: who reads what. */
  readonly experts?: Experts;
}

/** The experts of a layer. */
export interface Experts {
  readonly count: number;
  /** Experts that each token gets. */
  readonly perToken: number;
  /** Name of the input or output with the router's scores `[tokens, experts]`. */
  readonly scores: string;
}

/** A segment of a model as a graph of its own. */
export interface Section {
  /** Its name in the model, such as "layer 3". */
  readonly name: string;
  /** The graph that gives what leaves it, and what its matrices are multiplied with. */
  readonly graph: Graph;
  /** The part of it that gives what its matrices are multiplied with. */
  readonly inputs: Graph;
  /** The graph that gives what leaves it, and nothing else. */
  readonly through: Graph;
  /** Inputs that earlier sections gave, under the names that they gave them. */
  readonly entering: readonly string[];
  /** Outputs that later sections take, or that are the model's own results. */
  readonly leaving: readonly string[];
  /** Its products, of all matrices. */
  readonly multiplied: readonly Multiplied[];
  /**
   * Of inputs of products that come from a norm and go nowhere else: the names of the norm's gain and,
   * if it has one, its bias.
   */
  readonly norms: ReadonlyMap<string, readonly string[]>;
}

/** Ops whose second operand is a matrix that the first is multiplied with. */
const PRODUCTS: ReadonlySet<string> = new Set(["matmul", "expertMatmul"]);

/** Ops that end by multiplying each channel with a gain. */
const NORMS: ReadonlySet<string> = new Set(["rmsNorm", "layerNorm"]);

/** Divides a graph into its segments. */
export function sectionsOf(graph: Graph): Section[] {
  const groups = Map.groupBy(graph.nodes, (it) => it.segment);
  const madeIn = new Map<Tensor, GraphNode>();
  for (const node of graph.nodes) {
    if (node.output.origin === "op") madeIn.set(node.output, node);
  }
  const results = new Map(Array.from(graph.outputs, ([name, tensor]) => [tensor, name]));
  const nameOf = (tensor: Tensor): string => results.get(tensor) ?? `result ${tensor.id}`;
  return Array.from(groups, ([segment, nodes]) => {
    const taken = new Set<Tensor>();
    for (const other of graph.nodes) {
      if (other.segment === segment) continue;
      for (const it of other.inputs) if (madeIn.get(it)?.segment === segment) taken.add(it);
    }
    for (const it of results.keys()) if (madeIn.get(it)?.segment === segment) taken.add(it);
    return sectionOf(graph, segment.name, nodes, taken, nameOf);
  });
}

function sectionOf(
  graph: Graph,
  name: string,
  nodes: readonly GraphNode[],
  taken: ReadonlySet<Tensor>,
  nameOf: (tensor: Tensor) => string,
): Section {
  const multiplied: Multiplied[] = [];
  const asked = new Set(taken);
  for (const { op, inputs: [x, weight, chosen] } of nodes) {
    if (!PRODUCTS.has(op) || weight!.origin !== "weight") continue;
    const choice = chosen && nodes.find((it) => it.output === chosen);
    const scores = choice?.op === "topExperts" && choice.inputs.length === 1
      ? choice.inputs[0]
      : undefined;
    multiplied.push({
      ...{ weight: weight!.name, by: nameOf(x!) },
      ...(scores && {
        experts: {
          ...{ count: scores.shape[1]!, perToken: chosen!.shape[1]!, scores: nameOf(scores) },
        },
      }),
    });
    asked.add(x!);
    if (scores) asked.add(scores);
  }
  const norms = new Map<string, readonly string[]>();
  for (const { op, inputs: [, ...vectors], output } of nodes) {
    if (!NORMS.has(op) || vectors.some((it) => it.origin !== "weight")) continue;
    const users = graph.nodes.filter((it) => it.inputs.includes(output));
    const isOnlyMultiplied = users.every(({ op, inputs }) =>
      PRODUCTS.has(op) && inputs[1]!.origin === "weight" && !inputs.slice(1).includes(output)
    );
    if (isOnlyMultiplied && !taken.has(output)) {
      norms.set(nameOf(output), vectors.map((it) => it.name));
    }
  }
  /** The segment as a graph with these results as its outputs. */
  const giving = (asked: ReadonlySet<Tensor>): Graph => {
    const copies = new Map<Tensor, Tensor>();
    const own = copyGraph(graph, (node, copy) => {
      copy.keep(node);
      if (asked.has(node.output)) copies.set(node.output, copy.of(node.output));
    }, {
      nodes,
      enter(tensor, copy) {
        const { shape: [tokens, ...width], perToken } = tensor;
        return copy.input(nameOf(tensor), [perToken ? "tokens" : tokens!, ...width]);
      },
    });
    // The model's own results are outputs of the copy already.
    for (const [tensor, copy] of copies) {
      if (!own.outputs.has(nameOf(tensor))) own.output(nameOf(tensor), copy);
    }
    return own;
  };
  const made = new Set(nodes.map((it) => it.output));
  const own = giving(asked),
    by = new Set(multiplied.flatMap((it) => [it.by, ...(it.experts ? [it.experts.scores] : [])]));
  return {
    ...{ name, graph: own, through: giving(taken), leaving: Array.from(taken, nameOf) },
    inputs: pruneGraph(own, {
      stores: false,
      outputs: by.intersection(new Set(own.outputs.keys())),
    }),
    entering: new Set(
      nodes.flatMap(({ inputs }) => inputs).filter((it) => it.origin === "op" && !made.has(it)),
    )
      .values().map(nameOf).toArray(),
    ...{ multiplied, norms },
  };
}
