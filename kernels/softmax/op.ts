/**
 * `softmax`: each row becomes a probability distribution.
 *
 * @module
 */

import { elements, type NoAttributes, type Op } from "../op.ts";
import { checkCount, checkInput, trafficBytes } from "../shape.ts";

/** `out[row, j] = exp(x[row, j] - max) / sum`, the maximum and the sum over the row. */
export const softmax: Op<NoAttributes> = {
  shape(inputs) {
    checkCount("softmax", inputs, 1);
    checkInput("softmax", "x", inputs[0]!, {});
    return inputs[0]!;
  },
  reference(out, [x]) {
    const width = x!.shape.at(-1)!;
    for (let start = 0; start < x!.data.length; start += width) {
      let max = -Infinity, sum = 0;
      for (let j = start; j < start + width; j++) max = Math.max(max, x!.data[j]);
      for (let j = start; j < start + width; j++) {
        sum += out.data[j] = Math.exp(x!.data[j] - max);
      }
      for (let j = start; j < start + width; j++) out.data[j] /= sum;
    }
  },
  cost: (inputs) => ({
    flops: 8 * elements(inputs[0]!.shape),
    bytes: trafficBytes(inputs, inputs[0]!),
  }),
};
