/**
 * `selectColumns`: the elements of every row in another order, such as the one in which a quantizer
 * has put the columns of the matrix that they are multiplied by.
 *
 * @module
 */

import type { NoAttributes, Op } from "../op.ts";
import { checkCount, checkInput, rowsOf, trafficBytes } from "../shape.ts";

/**
 * `out[r, i] = x[r, columns[i]]`. Inputs: `x [..., width]` and `columns [count]`, whole numbers as f32,
 * which is what constants are. A number outside of the row stands for the element nearest to it.
 */
export const selectColumns: Op<NoAttributes> = {
  shape(inputs) {
    checkCount("selectColumns", inputs, 2);
    const [x, columns] = inputs;
    checkInput("selectColumns", "x", x!, {});
    checkInput("selectColumns", "columns", columns!, { rank: 1 });
    return rowsOf(x!, columns!.shape[0]!);
  },
  reference(out, [x, columns]) {
    const width = x!.shape.at(-1)!;
    const count = columns!.data.length;
    for (let i = 0; i < out.data.length; i++) {
      const column = Math.trunc(columns!.data[i % count]!) || 0; // NaN is 0
      const row = Math.floor(i / count);
      out.data[i] = x!.data[row * width + Math.min(width - 1, Math.max(0, column))]!;
    }
  },
  cost: (inputs) => ({
    flops: 0,
    bytes: trafficBytes(inputs, rowsOf(inputs[0]!, inputs[1]!.shape[0]!)),
  }),
};
