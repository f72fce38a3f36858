/**
 * `layerNorm`: normalization to zero mean and unit variance, with a gain and an optional bias.
 *
 * @module
 */

import { elements, type Op } from "../op.ts";
import { check, checkCount, checkInput, describe, trafficBytes } from "../shape.ts";

/** Attributes of `layerNorm`. */
export interface LayerNormAttributes {
  /** Added to the variance. */
  readonly eps: number;
}

/** `out = (x - mean) / sqrt(variance + eps) * weight + bias` per row (arXiv:1607.06450). */
export const layerNorm: Op<LayerNormAttributes> = {
  shape(inputs, { eps }) {
    checkCount("layerNorm", inputs, 2, 3);
    const [x, ...vectors] = inputs;
    checkInput("layerNorm", "x", x!, {});
    for (const vector of vectors) {
      checkInput("layerNorm", "weight or bias", vector, { rank: 1 });
      check(
        "layerNorm",
        vector.shape[0] === x!.shape.at(-1) && !vector.perToken,
        () => `weight or bias is ${describe(vector)}, expected the width of x, ${describe(x!)}`,
      );
    }
    check("layerNorm", eps >= 0, () => `eps is ${eps}, expected a number of at least 0`);
    return x!;
  },
  reference(out, [x, weight, bias], { eps }) {
    const width = weight!.data.length;
    for (let start = 0; start < x!.data.length; start += width) {
      let sum = 0, squares = 0;
      for (let j = 0; j < width; j++) sum += x!.data[start + j];
      const mean = sum / width;
      for (let j = 0; j < width; j++) squares += (x!.data[start + j] - mean) ** 2;
      const scale = 1 / Math.sqrt(squares / width + eps);
      for (let j = 0; j < width; j++) {
        const normal = (x!.data[start + j] - mean) * scale;
        out.data[start + j] = normal * weight!.data[j] + (bias ? bias.data[j] : 0);
      }
    }
  },
  cost: (inputs) => ({
    flops: 7 * elements(inputs[0]!.shape),
    bytes: trafficBytes(inputs, inputs[0]!),
  }),
};
