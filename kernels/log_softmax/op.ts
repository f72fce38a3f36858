/**
 * `logSoftmax`: each row becomes the logarithms of a probability distribution.
 *
 * @module
 */

import { elements, type NoAttributes, type Op } from "../op.ts";
import { checkCount, checkInput, trafficBytes } from "../shape.ts";

/** `out[row, j] = x[row, j] - max - ln(sum over the row of exp(x[row, j] - max))`. */
export const logSoftmax: Op<NoAttributes> = {
  shape(inputs) {
    checkCount("logSoftmax", inputs, 1);
    checkInput("logSoftmax", "x", inputs[0]!, {});
    return inputs[0]!;
  },
  reference(out, [x]) {
    const width = x!.shape.at(-1)!;
    for (let start = 0; start < x!.data.length; start += width) {
      let max = -Infinity, sum = 0;
      for (let j = start; j < start + width; j++) max = Math.max(max, x!.data[j]);
      for (let j = start; j < start + width; j++) sum += Math.exp(x!.data[j] - max);
      for (let j = start; j < start + width; j++) out.data[j] = x!.data[j] - max - Math.log(sum);
    }
  },
  cost: (inputs) => ({
    flops: 8 * elements(inputs[0]!.shape),
    bytes: trafficBytes(inputs, inputs[0]!),
  }),
};
