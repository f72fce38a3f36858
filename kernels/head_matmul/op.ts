/**
 * `headMatmul`: the part of a row that belongs to each head times a matrix of its own.
 *
 * @module
 */

import type { LayoutName } from "../../quant/formats.ts";
import { elements, type Op, type TensorType } from "../op.ts";
import { check, checkCount, checkInput, describe, rowsOf, trafficBytes } from "../shape.ts";

/** Attributes of `headMatmul`. */
export interface HeadMatmulAttributes {
  /** Parts of a row of x, and matrices that are stacked in the weight. */
  readonly heads: number;
}

/** Layouts that the weight may have: parts of a row are not quantized by themselves. */
export const HEAD_LAYOUTS: readonly LayoutName[] = ["f32", "f16", "bf16"];

/**
 * `out[t, h * N + n] = sum over k of x[t, h * K + k] * weight[h * N + n, k]`. Inputs:
 * `x [tokens, heads * K]` and the matrix `weight [heads * N, K]` of a float layout. The result is
 * `[tokens, heads * N]`: with relative positions as weight, the `bias` that `attention` takes per
 * query (Transformer-XL, arXiv:1901.02860).
 */
export const headMatmul: Op<HeadMatmulAttributes> = {
  shape(inputs, { heads }) {
    checkCount("headMatmul", inputs, 2);
    const [x, weight] = inputs;
    checkInput("headMatmul", "x", x!, { rank: 2 });
    checkInput("headMatmul", "weight", weight!, { role: "matrix", dtype: HEAD_LAYOUTS, rank: 2 });
    check(
      "headMatmul",
      Number.isInteger(heads) && heads >= 1 && x!.shape[1] === heads * weight!.shape[1]! &&
        weight!.shape[0]! % heads === 0,
      () =>
        `x is ${describe(x!)} and weight ${describe(weight!)} with ${heads} heads, expected x ` +
        `[tokens, heads * K] and weight [heads * N, K]`,
    );
    return outputOf(inputs);
  },
  reference(out, [x, weight], { heads }) {
    const K = weight!.shape[1]!, N = weight!.shape[0]! / heads;
    for (let row = 0; row < x!.data.length / K; row++) { // one head of one token
      const matrix = row % heads * N * K; // [N, K] of the weight
      for (let n = 0; n < N; n++) {
        let sum = 0;
        for (let k = 0; k < K; k++) sum += x!.data[row * K + k] * weight!.data[matrix + n * K + k];
        out.data[row * N + n] = sum;
      }
    }
  },
  cost: (inputs) => ({
    flops: 2 * inputs[0]!.shape[0]! * elements(inputs[1]!.shape),
    bytes: trafficBytes(inputs, outputOf(inputs)),
  }),
};

function outputOf([x, weight]: readonly TensorType[]): TensorType {
  return rowsOf(x!, weight!.shape[0]!);
}
