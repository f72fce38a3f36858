/**
 * The graph with fewer steps, as the WebAssembly backend runs it: norms and gates that are only read
 * to be quantized are computed while quantizing, and residuals are added by the products that they
 * meet. That saves a trip through memory and a barrier each.
 *
 * @module
 */

import type { MatmulAttributes, RmsNormAttributes } from "../../kernels/ops.ts";
import { sameShape } from "../../kernels/shape.ts";
import { Graph, type GraphNode, type Tensor } from "../graph.ts";

/** A copy of the graph in which steps are fused; it comes after `withIntegerMatmuls`. */
export function withFusedSteps(graph: Graph): Graph {
  const absorbed = findFusions(graph);
  const dropped = new Set(absorbed.values());
  const fused = new Graph({ tokens: graph.tokens });
  const copies = new Map<Tensor, Tensor>();
  const copyOf = (tensor: Tensor): Tensor => {
    let copy = copies.get(tensor);
    if (!copy) copies.set(tensor, copy = fused.adopt(tensor));
    return copy;
  };
  const record = (node: GraphNode): Tensor => {
    const { op, inputs, attrs } = node, first = absorbed.get(node);
    const firstInputs = first?.inputs.map(copyOf) ?? [];
    switch (first?.op) {
      case undefined:
        return fused.op(op, inputs.map(copyOf), attrs as never);
      case "rmsNorm":
        return fused.op("quantizeActivations", firstInputs, {
          eps: (first!.attrs as RmsNormAttributes).eps,
        });
      case "swiglu":
        return fused.op("quantizeActivations", firstInputs, { gated: true });
      default: { // a product, to which `node` adds
        const [x, weight, ...bias] = firstInputs;
        const residual = copyOf(inputs.find((tensor) => tensor !== first!.output)!);
        return fused.op("matmul", [x!, weight!, residual, ...bias], { residual: true });
      }
    }
  };
  // Inputs that nothing reads can be written all the same.
  for (const tensor of graph.tensors) if (tensor.origin === "input") copyOf(tensor);
  for (const node of graph.nodes) {
    while (fused.segments <= node.segment) fused.cut();
    if (!dropped.has(node)) copies.set(node.output, record(node));
  }
  for (const [name, tensor] of graph.outputs) fused.output(name, copyOf(tensor));
  return fused;
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
      if (maker?.op === "swiglu" || maker && isWholeNorm(maker)) absorbed.set(node, maker);
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
  const { gated, eps, residual } = attrs as MatmulAttributes;
  return op === "matmul" && !gated && eps === undefined && !residual;
}
