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
  /**
   * Takes `starts`; an expert is dropped from the choice of a token when more tokens of its sequence,
   * up to and with that one, chose it than this (Switch Transformer, arXiv:2101.03961).
   */
  readonly capacity?: number;
}

/** Stands for an expert that was dropped: ops that take the choice do nothing for it. */
export const NO_EXPERT = -1;

/**
 * `out[t]` holds the numbers of the `count` experts with the greatest `scores[t]`, the greatest
 * first; of equal scores the lower number comes first, and NaN counts as the least. Inputs:
 * `scores [tokens, experts]`. The result is `[tokens, count]` of i32.
 *
 * With the attribute `capacity` there is a second input, `starts [tokens]` of i32: the number, in this
 * run, of the first token of each token's sequence. `out[t, j]` is then −1 where more than `capacity`
 * of the tokens from `starts[t]` up to and with t chose the same expert, those from which it was
 * dropped included. `expertMatmul` gives zeros for −1 and computes nothing, `expertWeights` gives 0.
 */
export const topExperts: Op<TopExpertsAttributes> = {
  shape(inputs, { count, capacity }) {
    checkCount("topExperts", inputs, capacity === undefined ? 1 : 2);
    const [scores, starts] = inputs;
    checkInput("topExperts", "scores", scores!, { rank: 2 });
    check(
      "topExperts",
      Number.isInteger(count) && count >= 1 && count <= scores!.shape[1]!,
      () => `count is ${count} and scores ${describe(scores!)}, expected 1 to ${scores!.shape[1]}`,
    );
    if (starts) {
      checkInput("topExperts", "starts", starts, { dtype: ["i32"], rank: 1 });
      check(
        "topExperts",
        starts.shape[0] === scores!.shape[0] && starts.perToken === scores!.perToken,
        () =>
          `starts is ${describe(starts)} and scores ${
            describe(scores!)
          }, expected one for each row`,
      );
      check(
        "topExperts",
        Number.isInteger(capacity) && capacity! >= 0 && capacity! < 2 ** 31,
        () => `capacity is ${capacity}, expected a whole number of at least 0`,
      );
    }
    return chosenOf(scores!, count);
  },
  reference(out, [scores, starts], { count, capacity }) {
    const experts = scores!.shape[1]!;
    for (let t = 0; t < scores!.shape[0]!; t++) {
      const row = scores!.data.subarray(t * experts, (t + 1) * experts);
      const order = Array.from(row.keys()).sort((a, b) => compare(row[b]!, row[a]!) || a - b);
      out.data.set(order.slice(0, count), t * count);
    }
    if (!starts) return;
    const chosen = out.data.slice();
    chosen.forEach((expert: number, i: number) => {
      const end = (Math.floor(i / count) + 1) * count;
      const first = Math.max(0, starts.data[Math.floor(i / count)]! * count);
      let found = 0;
      for (let k = first; k < end; k++) if (chosen[k] === expert) found++;
      if (found > capacity!) out.data[i] = NO_EXPERT;
    });
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
