/**
 * `matmul`: rows of activations times a weight matrix stored by output row.
 *
 * @module
 */

import { elements, type NoAttributes, type Op } from "../op.ts";
import { LAYOUT_NAMES } from "../../quant/formats.ts";
import { check, checkCount, checkInput, describe, rowsOf, trafficBytes } from "../shape.ts";

/**
 * `out[t, n] = sum over k of x[t, k] * weight[n, k] (+ bias[n])`. Inputs: `x [tokens, K]` as f32 or
 * quantized (a8), the matrix `weight [N, K]` in any layout, and optionally `bias [N]`.
 */
export const matmul: Op<NoAttributes> = {
  shape(inputs) {
    checkCount("matmul", inputs, 2, 3);
    const [x, weight, bias] = inputs;
    checkInput("matmul", "x", x!, { dtype: ["f32", "a8"] });
    checkInput("matmul", "weight", weight!, { role: "matrix", dtype: LAYOUT_NAMES, rank: 2 });
    check(
      "matmul",
      x!.shape.at(-1) === weight!.shape[1],
      `x is ${describe(x!)} and weight ${describe(weight!)}, expected rows of one length`,
    );
    if (bias) {
      checkInput("matmul", "bias", bias, { rank: 1 });
      check(
        "matmul",
        bias.shape[0] === weight!.shape[0] && !bias.perToken,
        `bias is ${describe(bias)}, expected one element per row of weight, ${describe(weight!)}`,
      );
    }
    return rowsOf(x!, weight!.shape[0]!);
  },
  reference(out, [x, weight, bias]) {
    const [N, K] = weight!.shape as [number, number];
    const rows = x!.data.length / K;
    for (let t = 0; t < rows; t++) {
      for (let n = 0; n < N; n++) {
        let sum = 0;
        for (let k = 0; k < K; k++) sum += x!.data[t * K + k] * weight!.data[n * K + k];
        out.data[t * N + n] = sum + (bias ? bias.data[n] : 0);
      }
    }
  },
  cost(inputs) {
    const [x, weight] = inputs;
    return {
      flops: 2 * elements(x!.shape) * weight!.shape[0]!,
      bytes: trafficBytes(inputs, rowsOf(x!, weight!.shape[0]!)),
    };
  },
};
