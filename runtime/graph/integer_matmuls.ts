/**
 * The graph as backends with integer kernels run it: activations are quantized to int8, once, before
 * the matmuls whose weights are integers.
 *
 * @module
 */

import type { DType } from "../../kernels/op.ts";
import { LAYOUT_NAMES, LAYOUTS } from "../../quant/formats.ts";
import { copyGraph } from "./copy.ts";
import type { Graph, Tensor } from "./graph.ts";

const INTEGER_LAYOUTS: readonly DType[] = LAYOUT_NAMES.filter((it) => LAYOUTS[it].blockSize > 1);

/** A copy of the graph with `quantizeActivations` where integer matmuls need it. */
export function withIntegerMatmuls(graph: Graph): Graph {
  const quantized = new Map<Tensor, Tensor>();
  return copyGraph(graph, (node, copy) => {
    const { op, inputs: [x, weight, ...others], attrs, output } = node;
    const isProduct = op === "matmul" || op === "expertMatmul";
    if (!isProduct || !INTEGER_LAYOUTS.includes(weight!.dtype) || x!.dtype !== "f32") {
      return copy.keep(node);
    }
    let codes = quantized.get(x!);
    if (!codes) quantized.set(x!, codes = copy.graph.op("quantizeActivations", [copy.of(x!)]));
    const operands = [codes, ...[weight!, ...others].map(copy.of)];
    copy.set(output, copy.graph.op(op, operands, attrs as never));
  });
}
