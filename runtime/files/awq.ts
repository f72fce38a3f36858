/**
 * Matrices as AutoAWQ writes them in its version `gemm`: `NAME.qweight` has, for each column of the
 * matrix, the codes of all rows, eight of 4 bits in a word in the order 0, 2, 4, 6, 1, 3, 5, 7 from the
 * lowest bits upwards; `NAME.qzeros` has zeros alike, for each group; and `NAME.scales` the scales.
 *
 * Source: the released code of AutoAWQ (`WQLinear_GEMM`).
 *
 * @module
 */

import type { ModelFile } from "./model_file.ts";
import type { PackedEntry } from "./packed_matrix.ts";
import {
  areHalves,
  findPart,
  FLOATS,
  type PackedSettings,
  readFloats,
  readGroups,
  readWords,
} from "./packed_parts.ts";

/** Codes in a word. */
const EACH = 8;
/** By how many bits each of eight rows is shifted in its word. */
const SHIFTS = [0, 16, 4, 20, 8, 24, 12, 28];

/**
 * The matrix `NAME.weight`.
 *
 * @throws ModelError when a part is missing, or parts do not fit together
 */
export async function awqMatrix(
  file: ModelFile,
  name: string,
  settings: PackedSettings,
): Promise<PackedEntry> {
  const codes = findPart(file, {
    name: `${name}.qweight`,
    types: ["I32"],
    shape: [undefined, undefined],
  });
  const [columns, words] = codes.shape as readonly [number, number], rows = EACH * words;
  const scales = findPart(file, {
    name: `${name}.scales`,
    types: FLOATS,
    shape: [undefined, rows],
  });
  const count = scales.shape[0]!;
  const zeros = findPart(file, { name: `${name}.qzeros`, types: ["I32"], shape: [count, words] });
  const weight = `${name}.weight`, shape = [rows, columns] as const;

  const packed = {
    name: weight,
    shape,
    bits: 4 as const,
    groups: await readGroups(file, scales, columns, settings, undefined),
    symmetric: settings.symmetric,
    halfScales: await areHalves(scales),
    codes,
    others: [zeros, scales],
    unpack(all: Uint32Array, first: number, end: number, out: Uint8Array): void {
      for (let row = first; row < end; row = (row | 7) + 1) {
        const count = Math.min((row | 7) + 1, end) - row, shifts = SHIFTS.slice(row & 7);
        const to = (row - first) * columns;
        for (let column = 0; column < columns; column++) {
          const word = all[column * words + (row >> 3)]!;
          for (let i = 0; i < count; i++) out[to + i * columns + column] = word >>> shifts[i]! & 15;
        }
      }
    },
    async readScales() {
      const all = await readWords(zeros);
      const unpacked = Uint16Array.from(
        { length: count * rows },
        (_, i) => all[i >> 3]! >>> SHIFTS[i & 7]! & 15, // rows are whole words
      );
      return { scales: await readFloats(scales), zeros: unpacked };
    },
  };
  return { ...codes, name: weight, shape, packed };
}
