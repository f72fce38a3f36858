/**
 * `expertWeights`: how much each chosen expert of a mixture counts.
 *
 * @module
 */

import { elements, type Op } from "../op.ts";
import { quote } from "../../escape.ts";
import { NO_EXPERT } from "../top_experts/op.ts";
import { check, checkCount, checkInput, describe, trafficBytes } from "../shape.ts";

/** Attributes of `expertWeights`. */
export interface ExpertWeightsAttributes {
  /** Experts whose probabilities add up to 1: those that were chosen, or all. */
  readonly over: "chosen" | "all";
}

/**
 * `out[t, j]` is the softmax of `scores[t]` at expert `chosen[t, j]`, over all experts or over the
 * chosen ones (then it is the same as choosing first and dividing by the sum). Inputs:
 * `scores [tokens, experts]` and `chosen [tokens, count]` of i32. Where `chosen[t, j]` is −1 (see
 * `topExperts`), `out[t, j]` is 0, and over the chosen ones the others add up to 1.
 */
export const expertWeights: Op<ExpertWeightsAttributes> = {
  indexes: { input: 1, into: 0, count: ([scores]) => scores!.shape[1]!, orNone: true },
  shape(inputs, { over }) {
    checkCount("expertWeights", inputs, 2);
    const [scores, chosen] = inputs;
    checkInput("expertWeights", "scores", scores!, { rank: 2 });
    checkInput("expertWeights", "chosen", chosen!, { dtype: ["i32"], rank: 2 });
    check(
      "expertWeights",
      scores!.shape[0] === chosen!.shape[0] && scores!.perToken === chosen!.perToken,
      () => `scores is ${describe(scores!)} and chosen ${describe(chosen!)}, expected as many rows`,
    );
    check(
      "expertWeights",
      over === "chosen" || over === "all",
      () => `over is ${quote(over)}, expected "chosen" or "all"`,
    );
    return { ...chosen!, dtype: "f32" };
  },
  reference(out, [scores, chosen], { over }) {
    const [tokens, experts] = scores!.shape as [number, number], count = chosen!.shape[1]!;
    for (let t = 0; t < tokens; t++) {
      const row = scores!.data.subarray(t * experts, (t + 1) * experts);
      const picked = Array.from(
        chosen!.data.subarray(t * count, (t + 1) * count),
        (expert) => expert === NO_EXPERT ? undefined : row[expert]!,
      );
      const counted = over === "all" ? Array.from(row) : picked.filter((it) => it !== undefined);
      const max = Math.max(...counted);
      const sum = counted.reduce((sum, score) => sum + Math.exp(score - max), 0);
      picked.forEach((score, j) => {
        if (score !== undefined) out.data[t * count + j] = Math.exp(score - max) / sum;
      });
    }
  },
  cost: (inputs) => ({
    flops: 8 * elements(inputs[0]!.shape),
    bytes: trafficBytes(inputs, { ...inputs[1]!, dtype: "f32" }),
  }),
};
