/**
 * The graph as backends with integer kernels run it: activations are quantized to int8, once, before
 * the matmuls whose weights are integers.
 *
 * @module
 */

import type { DType } from "../kernels/op.ts";
import { Graph, type Tensor } from "./graph.ts";

const INTEGER_LAYOUTS: readonly DType[] = ["int4", "int4m", "int8"];

/** A copy of the graph with `quantizeActivations` where integer matmuls need it. */
export function withIntegerMatmuls(graph: Graph): Graph {
  const lowered = new Graph({ tokens: graph.tokens });
  const copies = new Map<Tensor, Tensor>();
  const quantized = new Map<Tensor, Tensor>();
  const copyOf = (tensor: Tensor): Tensor => {
    let copy = copies.get(tensor);
    if (!copy) copies.set(tensor, copy = lowered.adopt(tensor));
    return copy;
  };
  // Inputs that nothing reads can be written all the same.
  for (const tensor of graph.tensors) if (tensor.origin === "input") copyOf(tensor);
  for (const { op, inputs, attrs, output, segment } of graph.nodes) {
    while (lowered.segments <= segment) lowered.cut();
    const operands = inputs.map(copyOf);
    if (
      (op === "matmul" || op === "expertMatmul") &&
      INTEGER_LAYOUTS.includes(inputs[1]!.dtype) && inputs[0]!.dtype === "f32"
    ) {
      let x = quantized.get(inputs[0]!);
      if (!x) quantized.set(inputs[0]!, x = lowered.op("quantizeActivations", [operands[0]!]));
      operands[0] = x;
    }
    copies.set(output, lowered.op(op, operands, attrs as never));
  }
  for (const [name, tensor] of graph.outputs) lowered.output(name, copyOf(tensor));
  return lowered;
}
