/**
 * A model piece by piece: each segment of its graph in as many graphs as there are products in a row.
 * Each gives what later ones go on from, and what its matrices are multiplied with.
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

/** A segment of a model, or a part of it, as a graph of its own. */
export interface Section {
  /** Its name in the model, such as "layer 3" or "layer 3, part 2 of 4". */
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

/**
 * Divides a graph into its segments, and these where matrices are multiplied with what others have given:
 * what each one is multiplied with has then come through all that are rounded before it, and nothing is
 * computed twice to know it.
 */
export function sectionsOf(graph: Graph): Section[] {
  const segments = Map.groupBy(graph.nodes, (it) => it.segment);
  const parts = Array.from(segments, ([{ name }, nodes]) => {
    const found = partsOf(graph, nodes);
    return found.map((nodes, i) => ({
      nodes,
      name: found.length === 1 ? name : `${name}, part ${i + 1} of ${found.length}`,
    }));
  }).flat();
  const partOf = new Map(parts.flatMap((part) => part.nodes.map((it) => [it, part])));
  const madeBy = new Map(graph.nodes.map((it) => [it.output, it]));
  const results = new Map(Array.from(graph.outputs, ([name, tensor]) => [tensor, name]));
  const nameOf = (tensor: Tensor): string => results.get(tensor) ?? `result ${tensor.id}`;
  const taken = new Set(results.keys());
  for (const node of graph.nodes) {
    for (const it of node.inputs) {
      const maker = it.origin === "op" ? madeBy.get(it)! : node;
      if (partOf.get(maker) !== partOf.get(node)) taken.add(it);
    }
  }
  return parts.map(({ name, nodes }) => sectionOf(graph, name, nodes, taken, nameOf));
}

/** Whether a node multiplies with a weight. */
function isProduct({ op, inputs }: GraphNode): boolean {
  return PRODUCTS.has(op) && inputs[1]!.origin === "weight";
}

/** Whether a norm's output, by fixed gains, goes into products and nowhere else. */
function isOnlyMultiplied(
  graph: Graph,
  { op, inputs: [, ...vectors], output }: GraphNode,
): boolean {
  return NORMS.has(op) && vectors.every((it) => it.origin === "weight") &&
    !graph.outputs.values().some((it) => it === output) &&
    graph.nodes.every((it) =>
      !it.inputs.includes(output) || isProduct(it) && !it.inputs.slice(1).includes(output)
    );
}

/**
 * Nodes of a segment in parts, in each of which nothing is multiplied with what another product of that
 * part has given. A norm that is there for products alone is in their part, since scales are folded
 * into it; products of one input are in one part. A segment where that cannot be is whole.
 */
function partsOf(graph: Graph, nodes: readonly GraphNode[]): GraphNode[][] {
  const partOf = new Map<Tensor, number>(), norms = new Set<Tensor>();
  const place = (it: Tensor): number => partOf.get(it) ?? 0;
  const multiplied = new Map<Tensor, number>();
  const parts: GraphNode[][] = [];
  for (const node of nodes) {
    const { inputs, output } = node;
    let part = Math.max(...inputs.map(place));
    if (isOnlyMultiplied(graph, node)) {
      norms.add(output);
      part++;
    } else if (isProduct(node)) {
      const [x] = inputs;
      part = Math.max(part, place(x!) + (norms.has(x!) ? 0 : 1));
      if ((multiplied.get(x!) ?? part) !== part) return [[...nodes]];
      multiplied.set(x!, part);
    }
    partOf.set(output, part);
    // What is stored in a cache comes after what was read from there, and before what is read later.
    for (const it of inputs) if (it.origin === "cache") partOf.set(it, part);
    (parts[part] ??= []).push(node);
  }
  // Whole numbers, such as experts' places, are no results that a graph can give.
  const joined = new Set<number>();
  for (const { inputs, output } of nodes) {
    for (const it of inputs) {
      if (it.origin !== "op" || it.dtype === "f32" || !partOf.has(it)) continue;
      for (let i = place(it); i < place(output); i++) joined.add(i + 1);
    }
  }
  const whole: GraphNode[][] = [];
  for (const [i, part = []] of parts.entries()) {
    if (joined.has(i)) whole.at(-1)!.push(...part);
    else whole.push([...part]);
  }
  return whole.filter((it) => it.length > 0);
}

/** The router's choice that a product of experts goes by, where it is made from scores alone. */
function scoresOf(graph: Graph, { inputs: [, , chosen] }: GraphNode): GraphNode | undefined {
  const choice = chosen && graph.nodes.find((it) => it.output === chosen);
  return choice?.op === "topExperts" && choice.inputs.length === 1 ? choice : undefined;
}

function sectionOf(
  graph: Graph,
  name: string,
  nodes: readonly GraphNode[],
  taken: ReadonlySet<Tensor>,
  nameOf: (tensor: Tensor) => string,
): Section {
  const made = new Set(nodes.map((it) => it.output)), leaving = taken.intersection(made);
  const multiplied: Multiplied[] = [];
  const asked = new Set(leaving);
  for (const node of nodes) {
    if (!isProduct(node)) continue;
    const [x, weight, chosen] = node.inputs;
    const scores = scoresOf(graph, node)?.inputs[0];
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
  for (const node of nodes) {
    const { inputs: [, ...vectors], output } = node;
    if (isOnlyMultiplied(graph, node) && !taken.has(output)) {
      norms.set(nameOf(output), vectors.map((it) => it.name));
    }
  }
  /** The part as a graph with these results as its outputs. */
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
  const own = giving(asked),
    by = new Set(multiplied.flatMap((it) => [it.by, ...(it.experts ? [it.experts.scores] : [])]));
  return {
    ...{ name, graph: own, through: giving(leaving), leaving: Array.from(leaving, nameOf) },
    inputs: pruneGraph(own, {
      stores: false,
      outputs: by.intersection(new Set(own.outputs.keys())),
    }),
    entering: new Set(
      nodes.flatMap(({ inputs }) => inputs).filter((it) => it.origin === "op" && !made.has(it)),
    ).values().map(nameOf).toArray(),
    ...{ multiplied, norms },
  };
}
