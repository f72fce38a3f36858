/**
 * `expertMatmul`: rows of activations times the weight matrices of the experts that were chosen for
 * them.
 *
 * @module
 */

import { elements, type Op, type TensorType } from "../op.ts";
import { LAYOUT_NAMES } from "../../quant/formats.ts";
import { NO_EXPERT } from "../top_experts/op.ts";
import { check, checkCount, checkInput, describe, tensorBytes } from "../shape.ts";

/** Attributes of `expertMatmul`. */
export interface ExpertMatmulAttributes {
  /** Experts whose matrices are stacked in the weight. */
  readonly experts: number;
}

/**
 * `out[t, j, n] = sum over k of x[t, j, k] * weight[chosen[t, j] * N + n, k]`, where `x` may be one
 * row per token, the same for each of its experts. Inputs: `x [tokens, K]` or `[tokens, count, K]`
 * as f32 or quantized (a8), the matrix `weight [experts * N, K]` in any layout, and
 * `chosen [tokens, count]` of i32. The result is `[tokens, count, N]`. Matrices of experts that
 * nobody chose are not read. Where `chosen[t, j]` is −1 (see `topExperts`), `out[t, j]` is zeros.
 */
export const expertMatmul: Op<ExpertMatmulAttributes> = {
  indexes: { input: 2, into: 1, count: (_, { experts }) => experts, orNone: true },
  shape(inputs, { experts }) {
    checkCount("expertMatmul", inputs, 3);
    const [x, weight, chosen] = inputs;
    checkInput("expertMatmul", "x", x!, { dtype: ["f32", "a8"] });
    checkInput("expertMatmul", "weight", weight!, {
      role: "matrix",
      dtype: LAYOUT_NAMES,
      rank: 2,
    });
    checkInput("expertMatmul", "chosen", chosen!, { dtype: ["i32"], rank: 2 });
    check(
      "expertMatmul",
      x!.shape.at(-1) === weight!.shape[1],
      () => `x is ${describe(x!)} and weight ${describe(weight!)}, expected rows of one length`,
    );
    const [tokens, count] = chosen!.shape;
    check(
      "expertMatmul",
      x!.perToken === chosen!.perToken && x!.shape[0] === tokens &&
        (x!.shape.length === 2 || x!.shape.length === 3 && x!.shape[1] === count),
      () =>
        `x is ${describe(x!)} and chosen ${
          describe(chosen!)
        }, expected one row of x for each row ` +
        `of chosen, or for each of its elements`,
    );
    check(
      "expertMatmul",
      Number.isInteger(experts) && experts >= 1 && weight!.shape[0]! % experts === 0,
      () => `experts is ${experts} and weight ${describe(weight!)}, expected as many rows for each`,
    );
    return outputOf(weight!, chosen!, experts);
  },
  reference(out, [x, weight, chosen], { experts }) {
    const K = weight!.shape[1]!, N = weight!.shape[0]! / experts;
    const each = x!.shape.length === 3 ? 1 : chosen!.shape[1]!;
    chosen!.data.forEach((expert: number, i: number) => {
      if (expert === NO_EXPERT) return;
      const from = Math.floor(i / each) * K;
      for (let n = 0; n < N; n++) {
        const row = (expert * N + n) * K;
        let sum = 0;
        for (let k = 0; k < K; k++) sum += x!.data[from + k] * weight!.data[row + k];
        out.data[i * N + n] = sum;
      }
    });
  },
  cost([x, weight, chosen], { experts }) {
    const pairs = elements(chosen!.shape), [rows, columns] = weight!.shape as [number, number];
    const read = Math.min(experts, pairs) / experts; // of the weight
    return {
      flops: 2 * pairs * (rows / experts) * columns,
      bytes: tensorBytes(x!) + tensorBytes(chosen!) + read * tensorBytes(weight!) +
        tensorBytes(outputOf(weight!, chosen!, experts)),
    };
  },
};

function outputOf(weight: TensorType, chosen: TensorType, experts: number): TensorType {
  const shape = [...chosen.shape, weight.shape[0]! / experts];
  return { shape, dtype: "f32", role: "dense", perToken: chosen.perToken };
}
