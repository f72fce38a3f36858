/**
 * `swiglu`: the gated half of a feed-forward block, `silu(gate) * up`.
 *
 * @module
 */

import { elements, type NoAttributes, type Op } from "../op.ts";
import { check, checkCount, checkInput, describe, sameShape, trafficBytes } from "../shape.ts";

/** `out[i] = gate[i] / (1 + exp(-gate[i])) * up[i]` (Shazeer, arXiv:2002.05202). */
export const swiglu: Op<NoAttributes> = {
  shape(inputs) {
    checkCount("swiglu", inputs, 2);
    const [gate, up] = inputs;
    checkInput("swiglu", "gate", gate!, {});
    checkInput("swiglu", "up", up!, {});
    check(
      "swiglu",
      sameShape(gate!, up!),
      `up is ${describe(up!)}, expected the shape of gate, ${describe(gate!)}`,
    );
    return gate!;
  },
  reference(out, [gate, up]) {
    for (let i = 0; i < out.data.length; i++) {
      out.data[i] = gate!.data[i] / (1 + Math.exp(-gate!.data[i])) * up!.data[i];
    }
  },
  cost: (inputs) => ({
    flops: 8 * elements(inputs[0]!.shape),
    bytes: trafficBytes(inputs, inputs[0]!),
  }),
};
