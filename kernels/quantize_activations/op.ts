/**
 * `quantizeActivations`: rows of activations as int8 with one scale per 32, for integer matmuls, with
 * the norm or the gate that a backend may do in the same step.
 *
 * @module
 */

import { glu, type GluKind } from "../glu/op.ts";
import { roundEven } from "../numbers.ts";
import { elements, type Op, type View } from "../op.ts";
import { rmsNorm } from "../rms_norm/op.ts";
import { check, checkCount, checkInput, describe, tensorBytes } from "../shape.ts";

/** Activations that share one scale. */
const ACTIVATION_GROUP = 32;

/** Attributes of `quantizeActivations`. Models record none: backends fuse steps. */
export interface QuantizeActivationsAttributes {
  /** Takes a second input, a gain as long as the rows: x is normalized first, as by `rmsNorm`. */
  readonly eps?: number;
  /**
   * Takes a second input `up` of the shape of x, and quantizes the `glu` of this kind of both. Not
   * with `eps`.
   */
  readonly gate?: GluKind;
}

/**
 * `out = d * round(x / d)` with `d = max|x| / 127` over each group of 32 along a row (the last may
 * be shorter); halves round to even. A group with an infinity or NaN is NaN throughout.
 */
export const quantizeActivations: Op<QuantizeActivationsAttributes> = {
  shape(inputs, { eps, gate }) {
    check(
      "quantizeActivations",
      !gate || eps === undefined,
      () => `it has a gate and eps ${eps}, expected one of them`,
    );
    checkCount("quantizeActivations", inputs, eps === undefined && !gate ? 1 : 2);
    const [x, gain] = inputs;
    checkInput("quantizeActivations", "x", x!, {});
    if (gate) return { ...glu.shape(inputs, { kind: gate }), dtype: "a8" };
    if (gain) {
      checkInput("quantizeActivations", "gain", gain, { rank: 1 });
      check(
        "quantizeActivations",
        gain.shape[0] === x!.shape.at(-1) && !gain.perToken && eps! >= 0,
        () =>
          `gain is ${describe(gain)} and eps ${eps}, expected the width of x, ${
            describe(x!)
          }, and ` +
          `at least 0`,
      );
    }
    return { ...x!, dtype: "a8" };
  },
  reference(out, [input, gain], { eps, gate }) {
    const width = input!.shape.at(-1)!;
    let x: View | undefined = input;
    if (gain) {
      x = { ...input!, data: new Float64Array(input!.data.length) };
      if (gate) glu.reference(x, [input!, gain], { kind: gate });
      else rmsNorm.reference(x, [input!, gain], { eps: eps! });
    }
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
