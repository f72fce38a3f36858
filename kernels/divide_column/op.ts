/**
 * `divideColumn`: the probability of one column of a distribution, divided among several.
 *
 * @module
 */

import { elements, type Op, type TensorType } from "../op.ts";
import { check, checkCount, checkInput, describe, rowsOf, trafficBytes } from "../shape.ts";

/** Attributes of `divideColumn`. */
export interface DivideColumnAttributes {
  /** The column of `x` that is divided. */
  readonly column: number;
}

/**
 * In each row, `x[column]` gives way to the columns of `parts`, each with `x[column]` added; columns
 * after it move on. Inputs: `x [..., width]` and `parts [..., count]` with the same rows; the result has
 * `width - 1 + count` columns. With logarithms of probabilities: a cluster's are divided among its words
 * by those within the cluster (adaptive softmax: Grave et al., arXiv:1609.04309).
 */
export const divideColumn: Op<DivideColumnAttributes> = {
  shape(inputs, { column }) {
    checkCount("divideColumn", inputs, 2);
    const [x, parts] = inputs;
    checkInput("divideColumn", "x", x!, {});
    checkInput("divideColumn", "parts", parts!, { rank: x!.shape.length });
    check(
      "divideColumn",
      x!.perToken === parts!.perToken &&
        x!.shape.slice(0, -1).every((extent, i) => extent === parts!.shape[i]),
      () => `parts is ${describe(parts!)}, expected the rows of x, ${describe(x!)}`,
    );
    check(
      "divideColumn",
      Number.isInteger(column) && column >= 0 && column < x!.shape.at(-1)!,
      () => `column is ${column}, expected one of x, ${describe(x!)}`,
    );
    return dividedOf(x!, parts!);
  },
  reference(out, [x, parts], { column }) {
    const width = x!.shape.at(-1)!, count = parts!.shape.at(-1)!;
    for (let row = 0; row < x!.data.length / width; row++) {
      const from = row * width, to = row * (width - 1 + count);
      for (let j = 0; j < column; j++) out.data[to + j] = x!.data[from + j];
      for (let j = 0; j < count; j++) {
        out.data[to + column + j] = x!.data[from + column] + parts!.data[row * count + j];
      }
      for (let j = column + 1; j < width; j++) out.data[to + j - 1 + count] = x!.data[from + j];
    }
  },
  cost: (inputs) => ({
    flops: elements(inputs[1]!.shape),
    bytes: trafficBytes(inputs, dividedOf(inputs[0]!, inputs[1]!)),
  }),
};

function dividedOf(x: TensorType, parts: TensorType): TensorType {
  return rowsOf(x, x.shape.at(-1)! - 1 + parts.shape.at(-1)!);
}
