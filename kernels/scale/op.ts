/**
 * `scale`: every element times one number.
 *
 * @module
 */

import { elements, type Op } from "../op.ts";
import { check, checkCount, checkInput, trafficBytes } from "../shape.ts";

/** Attributes of `scale`. */
export interface ScaleAttributes {
  /** The number; any that is finite. */
  readonly factor: number;
}

/** `out[i] = factor * x[i]`: embeddings times the root of their width, logits by a temperature. */
export const scale: Op<ScaleAttributes> = {
  shape(inputs, { factor }) {
    checkCount("scale", inputs, 1);
    checkInput("scale", "x", inputs[0]!, {});
    check("scale", Number.isFinite(factor), () => `factor is ${factor}, expected a finite number`);
    return inputs[0]!;
  },
  reference(out, [x], { factor }) {
    for (let i = 0; i < out.data.length; i++) out.data[i] = factor * x!.data[i];
  },
  cost: (inputs) => ({
    flops: elements(inputs[0]!.shape),
    bytes: trafficBytes(inputs, inputs[0]!),
  }),
};
