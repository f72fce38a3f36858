/**
 * The graph with fewer steps: a GPU waits between dispatches, so that a step that moves few bytes is
 * better done with one that moves many. Norms go into the products that read them, residuals and
 * gates into the products that make them; three products of one tensor follow each other.
 *
 * @module
 */

import type {
  GluAttributes,
  MatmulAttributes,
  QuantizeActivationsAttributes,
} from "../../../kernels/ops.ts";
import { sameShape } from "../../../kernels/shape.ts";
import { copyGraph, type GraphCopy } from "../../graph/copy.ts";
import type { Graph, GraphNode, Tensor } from "../../graph/graph.ts";

/** What is known of a graph before it is recorded again. */
interface Findings {
  /** Norms that every reader does by itself, by their result. */
  readonly norms: ReadonlyMap<Tensor, GraphNode>;
  /** Products that another step does, which are not recorded. */
  readonly absorbed: ReadonlySet<GraphNode>;
  /** The products that a step does, by that step. */
  readonly products: ReadonlyMap<GraphNode, readonly GraphNode[]>;
  /** Products that follow the first of them. */
  readonly triples: ReadonlyMap<GraphNode, readonly GraphNode[]>;
}

/** A copy of the graph in which steps are fused. */
export function withFusedSteps(graph: Graph): Graph {
  const { norms, absorbed, products, triples } = find(graph);

  /** Records a product with what is fused with it; `output` is the result of the whole. */
  function multiply(
    { inputs: [x, weight, bias] }: GraphNode,
    output: Tensor,
    copy: GraphCopy,
    { up, gate, residual }: Pick<MatmulAttributes, "gate"> & { up?: Tensor; residual?: Tensor } =
      {},
  ): void {
    const norm = norms.get(x!);
    const operands = [
      norm ? norm.inputs[0]! : x!,
      weight!,
      ...(up ? [up] : []),
      ...(norm ? [norm.inputs[1]!] : []),
      ...(residual ? [residual] : []),
      ...(bias ? [bias] : []),
    ];
    const attrs: MatmulAttributes = {
      ...(gate && { gate }),
      ...(norm && { eps: epsOf(norm) }),
      ...(residual && { residual: true }),
    };
    copy.set(output, copy.graph.op("matmul", operands.map(copy.of), attrs));
  }

  return copyGraph(graph, (node, copy) => {
    const { op, inputs, attrs, output } = node;
    if (absorbed.has(node) || copy.has(output) && op === "matmul") return;
    const [first, second] = products.get(node) ?? [];
    const triple = triples.get(node);
    if (second) {
      const { kind } = attrs as GluAttributes;
      multiply(first!, output, copy, { up: second.inputs[1]!, gate: kind });
    } else if (first) {
      const residual = inputs.find((tensor) => tensor !== first.output)!;
      multiply(first, output, copy, { residual });
    } else if (triple) {
      for (const product of triple) multiply(product, product.output, copy);
    } else if (op === "matmul" && isPlain(node)) multiply(node, output, copy);
    else if (op === "quantizeActivations" && norms.has(inputs[0]!)) {
      const norm = norms.get(inputs[0]!)!;
      const normed: QuantizeActivationsAttributes = { eps: epsOf(norm) };
      copy.set(output, copy.graph.op(op, norm.inputs.map(copy.of), normed));
    } else copy.keep(node);
  });
}

/** Weights that one dispatch can read where they lie one after another, in this order. */
export interface Neighbours {
  /** Gates with their partners; queries, keys and values. */
  readonly matrices: readonly (readonly Tensor[])[];
  /** Biases of such matrices. */
  readonly biases: readonly (readonly Tensor[])[];
}

/** Which weights of a fused graph should lie in one place. */
export function neighboursIn({ nodes }: Graph): Neighbours {
  const matrices: Tensor[][] = [], biases: Tensor[][] = [];
  /** What a product reads: a tensor, or a tensor under the norm of a gain. */
  const operand = ({ inputs: [x, , gain], attrs }: GraphNode): string =>
    `${x!.id} ${(attrs as MatmulAttributes).eps === undefined ? "" : gain!.id}`;
  const readers = Map.groupBy(nodes.filter(isFreeProduct), operand);
  for (const { op, inputs, attrs } of nodes) {
    if (op === "matmul" && (attrs as MatmulAttributes).gate) matrices.push(inputs.slice(1, 3));
  }
  for (const triple of readers.values()) {
    const [a, , c] = triple.map((it) => nodes.indexOf(it));
    if (triple.length !== 3 || !areAlike(triple) || c! - a! !== 2) continue;
    matrices.push(triple.map(({ inputs }) => inputs[1]!));
    // What follows the matrix is the gain of a norm, where there is one, then the bias.
    const vectors = triple.flatMap(({ inputs, attrs }) =>
      inputs.slice((attrs as MatmulAttributes).eps === undefined ? 2 : 3)
    );
    if (vectors.length === triple.length) biases.push(vectors);
  }
  return { matrices, biases };
}

/** Whether a step is a product of one matrix, without a residual, with or without a norm. */
function isFreeProduct({ op, attrs }: GraphNode): boolean {
  const { gate, residual } = attrs as MatmulAttributes;
  return op === "matmul" && !gate && !residual;
}

/** Whether products read different matrices of one layout, in one segment. */
function areAlike(products: readonly GraphNode[]): boolean {
  const [first] = products;
  return new Set(products.map(({ inputs }) => inputs[1]!.name)).size === products.length &&
    products.every(({ inputs: [, weight], segment }) =>
      weight!.dtype === first!.inputs[1]!.dtype && segment === first!.segment
    );
}

function epsOf({ attrs }: GraphNode): number {
  return (attrs as { eps: number }).eps;
}

/** Whether a product is one as models record it. */
function isPlain({ op, attrs }: GraphNode): boolean {
  const { gate, eps, residual } = attrs as MatmulAttributes;
  return op === "matmul" && !gate && eps === undefined && !residual;
}

function find(graph: Graph): Findings {
  const makers = new Map(graph.nodes.map((node) => [node.output, node]));
  const readers = Map.groupBy(
    graph.nodes.flatMap((node) => node.inputs.map((tensor) => ({ tensor, node }))),
    ({ tensor }) => tensor,
  );
  const outputs = new Set(graph.outputs.values());
  const readersOf = (tensor: Tensor): GraphNode[] =>
    readers.get(tensor)?.map(({ node }) => node) ?? [];
  const absorbed = new Set<GraphNode>();
  const products = new Map<GraphNode, GraphNode[]>();

  /** The product whose only reader is `node`. */
  const productFor = (node: GraphNode, tensor: Tensor): GraphNode | undefined => {
    const maker = makers.get(tensor);
    const isOnly = readersOf(tensor).length === 1 && !outputs.has(tensor);
    return maker && isOnly && isPlain(maker) && maker.segment === node.segment ? maker : undefined;
  };
  for (const node of graph.nodes) {
    const [a, b] = node.inputs;
    if (node.op === "glu") {
      const gate = productFor(node, a!), up = productFor(node, b!);
      if (gate && up && isGate(gate, up)) products.set(node, [gate, up]);
    } else if (node.op === "add" && sameShape(a!, b!)) {
      // The later one: what the other needs is there by then.
      const product = productFor(node, b!) ?? productFor(node, a!);
      if (product) products.set(node, [product]);
    }
    for (const product of products.get(node) ?? []) absorbed.add(product);
  }

  const norms = new Map<Tensor, GraphNode>();
  for (const node of graph.nodes) {
    const [x, gain] = node.inputs, { output } = node, found = readersOf(output);
    const isWhole = node.op === "rmsNorm" && x!.shape.at(-1) === gain!.shape[0];
    const fits = found.every((reader) =>
      reader.segment === node.segment && reader.inputs.indexOf(output) === 0 &&
      reader.inputs.lastIndexOf(output) === 0 &&
      (isPlain(reader) || reader.op === "quantizeActivations" && reader.inputs.length === 1)
    );
    if (isWhole && fits && found.length > 0 && !outputs.has(output)) {
      norms.set(output, node);
      absorbed.add(node);
    }
  }

  const triples = new Map<GraphNode, GraphNode[]>();
  for (const [x, found] of readers) {
    const plain = found.map(({ node }) => node).filter((node) =>
      isPlain(node) && node.inputs[0] === x && !absorbed.has(node)
    );
    if (plain.length === 3 && areAlike(plain)) triples.set(plain[0]!, plain);
  }
  return { norms, absorbed, products, triples };
}

function isGate(
  { inputs: [x, gate, ...more] }: GraphNode,
  { inputs: [y, up, ...others] }: GraphNode,
) {
  return x === y && gate !== up && more.length + others.length === 0 &&
    gate!.dtype === up!.dtype && sameShape(gate!, up!);
}
