/**
 * `topExperts`: which experts of a mixture each token gets.
 *
 * @module
 */

import { elements, type Op, type TensorType } from "../op.ts";
import { check, checkCount, checkInput, describe, trafficBytes } from "../shape.ts";

/** Attributes of `topExperts`. */
export interface TopExpertsAttributes {
  /** Experts that each token gets. */
  readonly count: number;
}

/**
 * `out[t]` holds the numbers of the `count` experts with the greatest `scores[t]`, the greatest
 * first; of equal scores the lower number comes first, and NaN counts as the least. Input:
 * `scores [tokens, experts]`. The result is `[tokens, count]` of i32.
 */
export const topExperts: Op<TopExpertsAttributes> = {
  shape(inputs, { count }) {
    checkCount("topExperts", inputs, 1);
    const [scores] = inputs;
    checkInput("topExperts", "scores", scores!, { rank: 2 });
    check(
      "topExperts",
      Number.isInteger(count) && count >= 1 && count <= scores!.shape[1]!,
      `count is ${count} and scores ${describe(scores!)}, expected 1 to ${scores!.shape[1]}`,
    );
    return chosenOf(scores!, count);
  },
  reference(out, [scores], { count }) {
    const experts = scores!.shape[1]!;
    for (let t = 0; t < scores!.shape[0]!; t++) {
      const row = scores!.data.subarray(t * experts, (t + 1) * experts);
      const order = Array.from(row.keys()).sort((a, b) => compare(row[b]!, row[a]!) || a - b);
      out.data.set(order.slice(0, count), t * count);
    }
  },
  cost: (inputs, { count }) => ({
    flops: elements(inputs[0]!.shape) * count,
    bytes: trafficBytes(inputs, chosenOf(inputs[0]!, count)),
  }),
};

function chosenOf(scores: TensorType, count: number): TensorType {
  return { ...scores, shape: [scores.shape[0]!, count], dtype: "i32" };
}

/** Order of two scores, NaN as the least. */
function compare(a: number, b: number): number {
  const x = Number.isNaN(a) ? -Infinity : a, y = Number.isNaN(b) ? -Infinity : b;
  return x < y ? -1 : x > y ? 1 : 0;
}
