/**
 * `rope`: rotary position embedding, one angle per pair of a head's elements.
 *
 * @module
 */

import { elements, type Op } from "../op.ts";
import { quote } from "../../escape.ts";
import { check, checkCount, checkInput, describe, trafficBytes } from "../shape.ts";

/** Attributes of `rope`. */
export interface RopeAttributes {
  /** Heads in a row of `x`; a head is `width / heads` long. */
  readonly heads: number;
  /**
   * Which elements rotate together: `half` pairs i with i + rotaryDim/2 (NeoX), `interleaved`
   * pairs 2i with 2i + 1 (the original order, and GGUF files of the llama architecture).
   */
  readonly pairing: "half" | "interleaved";
  /** First element of the head that rotates; 0 unless a head is rotated in parts. */
  readonly offset?: number;
}

/**
 * Rotates `rotaryDim` elements of every head by the angles of its token's position; the rest pass
 * through (Su et al., arXiv:2104.09864). Inputs: `x [tokens, heads * headDim]`, `positions [tokens]`
 * and `table [positions, rotaryDim]`, whose rows hold rotaryDim/2 cosines, then as many sines.
 */
export const rope: Op<RopeAttributes> = {
  indexes: { input: 1, into: 2 },
  shape(inputs, { heads, pairing, offset = 0 }) {
    checkCount("rope", inputs, 3);
    const [x, positions, table] = inputs;
    checkInput("rope", "x", x!, { rank: 2 });
    checkInput("rope", "positions", positions!, { dtype: ["i32"], rank: 1 });
    checkInput("rope", "table", table!, { rank: 2 });
    const headDim = x!.shape[1]! / heads;
    const rotaryDim = table!.shape[1]!;
    check(
      "rope",
      Number.isInteger(heads) && Number.isInteger(headDim) && rotaryDim % 2 === 0 &&
        Number.isInteger(offset) && offset >= 0 && offset + rotaryDim <= headDim,
      () =>
        `x is ${describe(x!)} with ${heads} heads, offset ${offset} and table ${
          describe(table!)
        }, ` +
        `expected heads that divide the width and an even rotaryDim within a head`,
    );
    check(
      "rope",
      pairing === "half" || pairing === "interleaved",
      () => `pairing is ${quote(pairing)}, expected half or interleaved`,
    );
    check(
      "rope",
      positions!.shape[0] === x!.shape[0] && positions!.perToken === x!.perToken,
      () => `positions is ${describe(positions!)}, expected one per row of x, ${describe(x!)}`,
    );
    return x!;
  },
  reference(out, [x, positions, table], { heads, pairing, offset = 0 }) {
    const width = x!.shape[1]!, headDim = width / heads, rotaryDim = table!.shape[1]!;
    const half = rotaryDim / 2;
    out.data.set(x!.data);
    for (let row = 0; row < x!.shape[0]!; row++) {
      const angles = positions!.data[row] * rotaryDim;
      for (let head = 0; head < heads; head++) {
        const start = row * width + head * headDim + offset;
        for (let i = 0; i < half; i++) {
          const a = start + (pairing === "half" ? i : 2 * i);
          const b = pairing === "half" ? a + half : a + 1;
          const cos = table!.data[angles + i], sin = table!.data[angles + half + i];
          out.data[a] = x!.data[a] * cos - x!.data[b] * sin;
          out.data[b] = x!.data[b] * cos + x!.data[a] * sin;
        }
      }
    }
  },
  cost: (inputs) => ({
    flops: 3 * elements(inputs[0]!.shape),
    bytes: trafficBytes(inputs.slice(0, 2), inputs[0]!),
  }),
};
