/**
 * The values that the numbers of a block can have once its scales are chosen: what a quantizer needs
 * that rounds one column after another (gptq.ts). Blocks are read and written as their type has them.
 *
 * @module
 */

import { NONLINEAR_CODES } from "./ggml_blocks.ts";
import { unpackScales } from "./ggml_k.ts";
import { halfAt } from "./half.ts";
import { packGroups, packSixBits } from "./encode_k.ts";
import { packFifths, packNibbles } from "./nearest.ts";

/** How a type's blocks are read and written code by code. */
export interface GridType {
  /** Numbers that share a scale, next to each other. */
  readonly group: number;
  /** The values of codes 0, 1, … before scale and offset, rising. */
  readonly levels: Float64Array;
  /** Reads the block at `bytes[at]`: group g's number with code c is `scales[g] * levels[c] + offsets[g]`. */
  readScales(bytes: Uint8Array, at: number, scales: Float64Array, offsets: Float64Array): void;
  /** Writes a block's codes, its scales left as they are. */
  writeCodes(codes: Uint8Array, bytes: Uint8Array, at: number): void;
}

const whole = (least: number, most: number) =>
  Float64Array.from({ length: most - least + 1 }, (_, i) => least + i);

function scaled(levels: Float64Array, writeCodes: GridType["writeCodes"]): GridType {
  return {
    group: 32,
    levels,
    readScales(bytes, at, scales, offsets) {
      scales[0] = halfAt(bytes, at);
      offsets[0] = 0;
    },
    writeCodes: (codes, bytes, at) => writeCodes(codes, bytes, at + 2),
  };
}

function ranged(most: number, writeCodes: GridType["writeCodes"]): GridType {
  return {
    group: 32,
    levels: whole(0, most),
    readScales(bytes, at, scales, offsets) {
      scales[0] = halfAt(bytes, at);
      offsets[0] = halfAt(bytes, at + 2);
    },
    writeCodes: (codes, bytes, at) => writeCodes(codes, bytes, at + 4),
  };
}

function rangedGroups(most: number): GridType {
  const packed = new Uint8Array(16);
  return {
    group: 32,
    levels: whole(0, most),
    readScales(bytes, at, scales, offsets) {
      const d = halfAt(bytes, at), dmin = halfAt(bytes, at + 2);
      unpackScales(bytes, at + 4, packed);
      for (let g = 0; g < 8; g++) {
        scales[g] = d * packed[g]!;
        offsets[g] = -dmin * packed[g + 8]!;
      }
    },
    writeCodes: (codes, bytes, at) => packGroups(codes, bytes, at + 16, most > 15),
  };
}

const nibbles: GridType["writeCodes"] = (codes, bytes, at) => packNibbles(codes, 0, bytes, at);

/** Types whose blocks can be made code by code. */
export const GRIDS: Readonly<Record<string, GridType>> = {
  Q4_0: scaled(whole(-8, 7), nibbles),
  Q4_1: ranged(15, nibbles),
  Q5_0: scaled(whole(-16, 15), packFifths),
  Q5_1: ranged(31, packFifths),
  Q8_0: scaled(whole(-128, 127), (codes, bytes, at) => {
    for (let k = 0; k < 32; k++) bytes[at + k] = codes[k]! - 128;
  }),
  IQ4_NL: scaled(Float64Array.from(NONLINEAR_CODES), nibbles),
  Q4_K: rangedGroups(15),
  Q5_K: rangedGroups(31),
  Q6_K: {
    group: 16,
    levels: whole(-32, 31),
    readScales(bytes, at, scales, offsets) {
      const d = halfAt(bytes, at + 208);
      for (let g = 0; g < 16; g++) scales[g] = d * (bytes[at + 192 + g]! << 24 >> 24);
      offsets.fill(0, 0, 16);
    },
    writeCodes: packSixBits,
  },
};

/** The code whose level is nearest to `value`. */
export function nearestCode(levels: Float64Array, value: number): number {
  const least = levels[0]!, last = levels.length - 1;
  // Levels are whole numbers one apart in all types but IQ4_NL.
  if (levels[last]! - least === last) {
    const code = Math.round(value - least);
    return code > 0 ? Math.min(code, last) : 0;
  }
  let code = 0;
  while (code < last && value - levels[code]! > levels[code + 1]! - value) code++;
  return code;
}
