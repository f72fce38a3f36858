/**
 * Encoders of plain block types under importances (search.ts), beside those to nearest (nearest.ts).
 *
 * @module
 */

import { failEncode } from "./blocks.ts";
import { NONLINEAR_CODES } from "./ggml_blocks.ts";
import { HALF_MAX, HALF_VALUES, halfBits } from "./half.ts";
import { packFifths, packNibbles } from "./nearest.ts";
import {
  bestHalf,
  type Codebook,
  codebook,
  rangeError,
  searchRange,
  searchScale,
  wholeCodes,
} from "./search.ts";

/** Packs whole blocks; `importances` has one number for each of `values`. */
export type EncodeWeighted = (
  values: Float32Array,
  importances: Float32Array,
  out: Uint8Array,
) => void;

/** Elements of a block. */
const BLOCK = 32;

/** Writes the codes of a block behind its halves. */
type WriteCodes = (codes: Int8Array, out: Uint8Array, at: number) => void;

const shifted = new Uint8Array(BLOCK);

/** Codes as whole numbers from 0. */
function shift(codes: Int8Array, by: number): Uint8Array {
  for (let k = 0; k < BLOCK; k++) shifted[k] = codes[k] + by;
  return shifted;
}

/** Types `d·q`. */
function scaled(name: string, bytes: number, book: Codebook, write: WriteCodes): EncodeWeighted {
  const codes = new Int8Array(BLOCK);
  return (values, importances, out) => {
    for (let at = 0, i = 0; i < values.length; at += bytes, i += BLOCK) {
      const scale = searchScale(book, values, importances, i, BLOCK);
      if (!(Math.abs(scale) <= HALF_MAX)) failEncode(name, values, i, i + BLOCK);
      const bits = bestHalf(book, values, importances, i, BLOCK, scale, codes);
      out[at] = bits;
      out[at + 1] = bits >> 8;
      write(codes, out, at + 2);
    }
  };
}

/** Types `d·q + m`. */
function ranged(name: string, bytes: number, most: number, write: WriteCodes): EncodeWeighted {
  const codes = new Int8Array(BLOCK);
  return (values, importances, out) => {
    for (let at = 0, i = 0; i < values.length; at += bytes, i += BLOCK) {
      const found = searchRange(most, values, importances, i, BLOCK, false, codes);
      if (!(found.scale <= HALF_MAX && Math.abs(found.least) <= HALF_MAX)) {
        failEncode(name, values, i, i + BLOCK);
      }
      // Of the halves around both, the pair with the least error; one step may also make up for what
      // the least number loses as a half.
      const d = halfBits(found.scale), m = halfBits(found.least);
      let best = { d, m, error: Infinity };
      for (const nearM of [m, m - 1, m + 1]) {
        const rest = halfBits(Math.max(0, found.least - HALF_VALUES[nearM]!));
        for (const nearD of found.scale > 0 ? [d, d - 1, d + 1] : [d, rest]) {
          const scale = HALF_VALUES[nearD]!, least = HALF_VALUES[nearM]!;
          if (!(scale >= 0 && scale <= HALF_MAX && Math.abs(least) <= HALF_MAX)) continue;
          const error = rangeError(most, values, importances, i, BLOCK, scale, least, codes);
          if (error < best.error) best = { d: nearD, m: nearM, error };
        }
      }
      const scale = HALF_VALUES[best.d]!, least = HALF_VALUES[best.m]!;
      rangeError(most, values, importances, i, BLOCK, scale, least, codes);
      out[at] = best.d;
      out[at + 1] = best.d >> 8;
      out[at + 2] = best.m;
      out[at + 3] = best.m >> 8;
      write(codes, out, at + 4);
    }
  };
}

/** Places of the values of IQ4_NL. */
const NONLINEAR_PLACES = new Map(Array.from(NONLINEAR_CODES, (value, place) => [value, place]));

/** Q4_0. */
export const weightedQ4_0: EncodeWeighted = scaled(
  ...["Q4_0", 18, wholeCodes(-8, 7)] as const,
  (codes, out, at) => packNibbles(shift(codes, 8), 0, out, at),
);
/** Q5_0. */
export const weightedQ5_0: EncodeWeighted = scaled(
  ...["Q5_0", 22, wholeCodes(-16, 15)] as const,
  (codes, out, at) => packFifths(shift(codes, 16), out, at),
);
/** Q8_0. */
export const weightedQ8_0: EncodeWeighted = scaled(
  ...["Q8_0", 34, wholeCodes(-127, 127)] as const,
  (codes, out, at) => {
    for (let k = 0; k < BLOCK; k++) out[at + k] = codes[k];
  },
);
/** IQ4_NL. */
export const weightedIq4Nl: EncodeWeighted = scaled(
  ...["IQ4_NL", 18, codebook(NONLINEAR_CODES)] as const,
  (codes, out, at) => {
    for (let k = 0; k < BLOCK; k++) shifted[k] = NONLINEAR_PLACES.get(codes[k]!)!;
    packNibbles(shifted, 0, out, at);
  },
);
/** Q4_1. */
export const weightedQ4_1: EncodeWeighted = ranged(
  ...["Q4_1", 20, 15] as const,
  (codes, out, at) => packNibbles(shift(codes, 0), 0, out, at),
);
/** Q5_1. */
export const weightedQ5_1: EncodeWeighted = ranged(
  ...["Q5_1", 24, 31] as const,
  (codes, out, at) => packFifths(shift(codes, 0), out, at),
);
