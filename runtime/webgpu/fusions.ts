/**
 * The graph with fewer steps: a GPU waits between dispatches, so that a step that moves few bytes is
 * better done with one that moves many. Norms go into the products that read them, residuals and
 * gates into the products that make them; three products of one tensor follow each other.
 *
 * @module
 */

import type { MatmulAttributes, QuantizeActivationsAttributes } from "../../kernels/ops.ts";
import { sameShape } from "../../kernels/shape.ts";
import { Graph, type GraphNode, type Tensor } from "../graph.ts";

/** A graph, and which of its matrices should lie in one place, in this order. */
export interface FusedGraph {
  /** What runs. */
  readonly graph: Graph;
  /** Matrices that one dispatch can read where they lie one after another. */
  readonly neighbours: readonly (readonly Tensor[])[];
  /** Biases of such matrices, in the same order. */
  readonly biases: readonly (readonly Tensor[])[];
}

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
export function withFusedSteps(graph: Graph): FusedGraph {
  const { norms, absorbed, products, triples } = find(graph);
  const fused = new Graph({ tokens: graph.tokens });
  const copies = new Map<Tensor, Tensor>(), neighbours: Tensor[][] = [], biases: Tensor[][] = [];
  const copyOf = (tensor: Tensor): Tensor => {
    let copy = copies.get(tensor);
    if (!copy) copies.set(tensor, copy = fused.adopt(tensor));
    return copy;
  };

  /** Records a product with what is fused with it; `output` is the result of the whole. */
  function multiply(
    { inputs: [x, weight, bias] }: GraphNode,
    output: Tensor,
    { up, residual }: { up?: Tensor; residual?: Tensor } = {},
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
      ...(up && { gated: true }),
      ...(norm && { eps: epsOf(norm) }),
      ...(residual && { residual: true }),
    };
    if (up) neighbours.push([copyOf(weight!), copyOf(up)]);
    copies.set(output, fused.op("matmul", operands.map(copyOf), attrs));
  }

  // Inputs that nothing reads can be written all the same.
  for (const tensor of graph.tensors) if (tensor.origin === "input") copyOf(tensor);
  for (const node of graph.nodes) {
    const { op, inputs, attrs, output, segment } = node;
    while (fused.segments <= segment) fused.cut();
    if (absorbed.has(node) || copies.has(output) && op === "matmul") continue;
    const [first, second] = products.get(node) ?? [];
    const triple = triples.get(node);
    if (second) multiply(first!, output, { up: second.inputs[1]! });
    else if (first) {
      const residual = inputs.find((tensor) => tensor !== first.output)!;
      multiply(first, output, { residual });
    } else if (triple) {
      neighbours.push(triple.map(({ inputs }) => copyOf(inputs[1]!)));
      const vectors = triple.flatMap(({ inputs }) => inputs.slice(2)).map(copyOf);
      if (vectors.length === triple.length) biases.push(vectors);
      for (const product of triple) multiply(product, product.output);
    } else if (op === "matmul" && isPlain(node)) multiply(node, output);
    else if (op === "quantizeActivations" && norms.has(inputs[0]!)) {
      const norm = norms.get(inputs[0]!)!;
      const fusedAttrs: QuantizeActivationsAttributes = { eps: epsOf(norm) };
      copies.set(output, fused.op(op, norm.inputs.map(copyOf), fusedAttrs));
    } else copies.set(output, fused.op(op, inputs.map(copyOf), attrs as never));
  }
  for (const [name, tensor] of graph.outputs) fused.output(name, copyOf(tensor));
  return { graph: fused, neighbours, biases };
}

function epsOf({ attrs }: GraphNode): number {
  return (attrs as { eps: number }).eps;
}

/** Whether a product is one as models record it. */
function isPlain({ op, attrs }: GraphNode): boolean {
  const { gated, eps, residual } = attrs as MatmulAttributes;
  return op === "matmul" && !gated && eps === undefined && !residual;
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
    if (node.op === "swiglu") {
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
    const [first] = plain;
    const names = new Set(plain.map(({ inputs }) => inputs[1]!.name));
    const alike = plain.every(({ inputs: [, weight], segment }) =>
      weight!.dtype === first!.inputs[1]!.dtype && segment === first!.segment
    );
    if (plain.length === 3 && names.size === 3 && alike) triples.set(first!, plain);
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
