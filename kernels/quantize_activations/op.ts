/**
 * `quantizeActivations`: rows of activations as int8 with one scale per 32, for integer matmuls.
 *
 * @module
 */

import { elements, type NoAttributes, type Op } from "../op.ts";
import { checkCount, checkInput, tensorBytes } from "../shape.ts";

/** Activations that share one scale. */
export const ACTIVATION_GROUP = 32;

/**
 * `out = d * round(x / d)` with `d = max|x| / 127` over each group of 32 along a row (the last may
 * be shorter); halves round to even. A group with an infinity or NaN is NaN throughout.
 */
export const quantizeActivations: Op<NoAttributes> = {
  shape(inputs) {
    checkCount("quantizeActivations", inputs, 1);
    checkInput("quantizeActivations", "x", inputs[0]!, {});
    return { ...inputs[0]!, dtype: "a8" };
  },
  reference(out, [x]) {
    const width = x!.shape.at(-1)!;
    for (let row = 0; row < x!.data.length; row += width) {
      for (let start = row; start < row + width; start += ACTIVATION_GROUP) {
        const end = Math.min(start + ACTIVATION_GROUP, row + width);
        let max = 0;
        for (let i = start; i < end; i++) max = Math.max(max, Math.abs(x!.data[i]));
        const d = Number.isFinite(max) ? Math.fround(Math.fround(max) / 127) : NaN;
        for (let i = start; i < end; i++) {
          out.data[i] = d === 0 ? 0 : d * roundEven(x!.data[i] / d);
        }
      }
    }
  },
  cost: ([x]) => ({
    flops: 4 * elements(x!.shape),
    bytes: tensorBytes(x!) + tensorBytes({ ...x!, dtype: "a8" }),
  }),
};

function roundEven(x: number): number {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
