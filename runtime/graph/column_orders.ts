/**
 * Matrices whose columns are not in the order of their input: what they are multiplied by is put in
 * their order first, once for all that share one.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { columnsOf } from "../../kernels/op.ts";
import { copyGraph } from "./copy.ts";
import type { Graph, Tensor } from "./graph.ts";

/**
 * A copy of the graph with `selectColumns` before the products with such matrices.
 *
 * @param orderOf name of the constant with the order of a matrix, undefined for one that has none
 * @throws ModelError when an op that is no product reads such a matrix
 */
export function withColumnOrders(
  graph: Graph,
  orderOf: (matrix: string) => string | undefined,
): Graph {
  const ordered = new Map<Tensor, Map<string, Tensor>>(); // by input and order
  return copyGraph(graph, (node, copy) => {
    const { op, inputs: [x, weight, ...others], attrs, output } = node;
    const order = weight?.role === "matrix" ? orderOf(weight.name) : undefined;
    if (order === undefined) return copy.keep(node);
    if (op !== "matmul" && op !== "expertMatmul") {
      throw new ModelError(
        `Cannot use matrix ${
          quote(weight!.name)
        } for ${op}: its columns are in the order of their ` +
          `activations, expected a matrix of products only; load it with weights "f32"`,
      );
    }
    const inOrders = ordered.get(x!) ?? new Map<string, Tensor>();
    ordered.set(x!, inOrders);
    let moved = inOrders.get(order);
    if (!moved) {
      const columns = copy.graph.constant(order, [columnsOf(weight!)]);
      moved = copy.graph.op("selectColumns", [copy.of(x!), columns]);
      inOrders.set(order, moved);
    }
    const operands = [moved, ...[weight!, ...others].map(copy.of)];
    copy.set(output, copy.graph.op(op, operands, attrs as never));
  });
}
