/**
 * The graph with fewer steps, as the WebAssembly backend runs it: norms and gates that are only read
 * to be quantized are computed while quantizing, and residuals are added by the products that they
 * meet. That saves a trip through memory and a barrier each.
 *
 * @module
 */

import type { GluAttributes, MatmulAttributes, RmsNormAttributes } from "../../../kernels/ops.ts";
import { sameShape } from "../../../kernels/shape.ts";
import { copyGraph, type GraphCopy } from "../../graph/copy.ts";
import type { Graph, GraphNode, Tensor } from "../../graph/graph.ts";

/** A copy of the graph in which steps are fused; it comes after `withIntegerMatmuls`. */
export function withFusedSteps(graph: Graph): Graph {
  const absorbed = findFusions(graph);
  const dropped = new Set(absorbed.values());
  return copyGraph(graph, (node, copy) => {
    if (dropped.has(node)) return;
    const first = absorbed.get(node);
    if (!first) return copy.keep(node);
    const inputs = first.inputs.map(copy.of);
    copy.set(node.output, recordFused(node, first, inputs, copy));
  });
}

/** Records an op that does what `first` does, too. */
function recordFused(
  node: GraphNode,
  first: GraphNode,
  inputs: readonly Tensor[],
  { graph, of }: GraphCopy,
): Tensor {
  switch (first.op) {
    case "rmsNorm":
      return graph.op("quantizeActivations", inputs, {
        eps: (first.attrs as RmsNormAttributes).eps,
      });
    case "glu":
      return graph.op("quantizeActivations", inputs, {
        gate: (first.attrs as GluAttributes).kind,
      });
    default: { // a product, to which `node` adds
      const [x, weight, ...bias] = inputs;
      const residual = of(node.inputs.find((tensor) => tensor !== first.output)!);
      return graph.op("matmul", [x!, weight!, residual, ...bias], { residual: true });
    }
  }
}

/** Steps that another one, the only reader of their result, does too: by that other one. */
function findFusions(graph: Graph): Map<GraphNode, GraphNode> {
  const makers = new Map(graph.nodes.map((node) => [node.output, node]));
  const reads = new Map<Tensor, number>();
  for (
    const tensor of [...graph.nodes.flatMap(({ inputs }) => inputs), ...graph.outputs.values()]
  ) {
    reads.set(tensor, (reads.get(tensor) ?? 0) + 1);
  }
  /** What makes a tensor, if `node` alone reads it. */
  const makerFor = (node: GraphNode, tensor: Tensor): GraphNode | undefined => {
    const maker = makers.get(tensor);
    return reads.get(tensor) === 1 && maker?.segment === node.segment ? maker : undefined;
  };
  const absorbed = new Map<GraphNode, GraphNode>();
  for (const node of graph.nodes) {
    const [a, b] = node.inputs;
    if (node.op === "quantizeActivations" && node.inputs.length === 1) {
      const maker = makerFor(node, a!);
      if (maker?.op === "glu" || maker && isWholeNorm(maker)) absorbed.set(node, maker);
    } else if (node.op === "add" && sameShape(a!, b!)) {
      // The later one: what the other needs is there by then.
      const product = [b!, a!].map((it) => makerFor(node, it)).find((it) => it && isPlain(it));
      if (product) absorbed.set(node, product);
    }
  }
  return absorbed;
}

/** Whether a step is a norm of whole rows. */
function isWholeNorm({ op, inputs: [x, gain] }: GraphNode): boolean {
  return op === "rmsNorm" && x!.shape.at(-1) === gain!.shape[0];
}

/** Whether a step is a product as models record it. */
function isPlain({ op, attrs }: GraphNode): boolean {
  const { gate, eps, residual } = attrs as MatmulAttributes;
  return op === "matmul" && !gate && eps === undefined && !residual;
}
