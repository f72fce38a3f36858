/**
 * `rmsNorm`: root-mean-square normalization with a gain.
 *
 * @module
 */

import { elements, type Op } from "../op.ts";
import { check, checkCount, checkInput, describe, trafficBytes } from "../shape.ts";

/** Attributes of `rmsNorm`. */
export interface RmsNormAttributes {
  /** Added to the mean square. */
  readonly eps: number;
}

/**
 * `out = x / sqrt(mean(x²) + eps) * weight` over groups as long as `weight`: whole rows, or each
 * head of a row where `weight` is one head long (Zhang and Sennrich, arXiv:1910.07467).
 */
export const rmsNorm: Op<RmsNormAttributes> = {
  shape(inputs, { eps }) {
    checkCount("rmsNorm", inputs, 2);
    const [x, weight] = inputs;
    checkInput("rmsNorm", "x", x!, {});
    checkInput("rmsNorm", "weight", weight!, { rank: 1 });
    check(
      "rmsNorm",
      x!.shape.at(-1)! % weight!.shape[0]! === 0 && !weight!.perToken,
      () => `weight is ${describe(weight!)}, expected a divisor of the width of x, ${describe(x!)}`,
    );
    check("rmsNorm", eps >= 0, () => `eps is ${eps}, expected a number of at least 0`);
    return x!;
  },
  reference(out, [x, weight], { eps }) {
    const width = weight!.data.length;
    for (let start = 0; start < x!.data.length; start += width) {
      let sum = 0;
      for (let j = 0; j < width; j++) sum += x!.data[start + j] ** 2;
      const scale = 1 / Math.sqrt(sum / width + eps);
      for (let j = 0; j < width; j++) {
        out.data[start + j] = x!.data[start + j] * scale * weight!.data[j];
      }
    }
  },
  cost: (inputs) => ({
    flops: 4 * elements(inputs[0]!.shape),
    bytes: trafficBytes(inputs, inputs[0]!),
  }),
};
