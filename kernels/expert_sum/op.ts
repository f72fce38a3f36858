/**
 * `expertSum`: the results of a token's experts as one row.
 *
 * @module
 */

import { elements, type NoAttributes, type Op, type TensorType } from "../op.ts";
import { check, checkCount, checkInput, describe, trafficBytes } from "../shape.ts";

/**
 * `out[t] = sum over j of weights[t, j] * x[t, j]`. Inputs: `x [tokens, count, width]`, or
 * `[tokens, width]` where `count` is 1, and `weights [tokens, count]`.
 */
export const expertSum: Op<NoAttributes> = {
  shape(inputs) {
    checkCount("expertSum", inputs, 2);
    const [x, weights] = inputs;
    checkInput("expertSum", "x", x!, {});
    checkInput("expertSum", "weights", weights!, { rank: 2 });
    const [tokens, count] = weights!.shape;
    check(
      "expertSum",
      x!.perToken === weights!.perToken && x!.shape[0] === tokens &&
        (x!.shape.length === 3 ? x!.shape[1] === count : x!.shape.length === 2 && count === 1),
      () =>
        `x is ${describe(x!)} and weights ${describe(weights!)}, expected one row for each weight`,
    );
    return outputOf(x!);
  },
  reference(out, [x, weights]) {
    const width = x!.shape.at(-1)!, count = weights!.shape[1]!;
    weights!.data.forEach((weight: number, i: number) => {
      const to = Math.floor(i / count) * width;
      for (let c = 0; c < width; c++) out.data[to + c] += weight * x!.data[i * width + c];
    });
  },
  cost: (inputs) => ({
    flops: 2 * elements(inputs[0]!.shape),
    bytes: trafficBytes(inputs, outputOf(inputs[0]!)),
  }),
};

function outputOf(x: TensorType): TensorType {
  return { ...x, shape: [x.shape[0]!, x.shape.at(-1)!] };
}
