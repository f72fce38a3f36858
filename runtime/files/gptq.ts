/**
 * Matrices as GPTQ quantizers write them (AutoGPTQ, GPTQModel): `NAME.qweight` has codes along the
 * rows of the transposed matrix, eight of 4 bits or four of 8 in a word; `NAME.qzeros` the zeros, of
 * version 1 less one; `NAME.scales` the scales; and `NAME.g_idx` the group of each column, which are
 * mixed where columns were quantized in the order of their activations ("desc_act").
 *
 * Source: the released code of AutoGPTQ and GPTQModel (`pack` of their linear layers).
 *
 * @module
 */

import type { ModelFile } from "./model_file.ts";
import type { PackedEntry } from "./packed_matrix.ts";
import {
  areHalves,
  checkBits,
  findPart,
  FLOATS,
  optionalPart,
  type PackedSettings,
  putCodes,
  readFloats,
  readGroups,
  readWords,
  unpackWords,
} from "./packed_parts.ts";

/** Rows that are unpacked together. */
const TILE = 8;

/** What such a file says of its matrices. */
export interface GptqSettings extends PackedSettings {
  /** What is added to the zeros of the file: 1 of version 1. */
  readonly zeroOffset: 0 | 1;
}

/**
 * The matrix `NAME.weight`.
 *
 * @throws ModelError when a part is missing, or parts do not fit together
 */
export async function gptqMatrix(
  file: ModelFile,
  name: string,
  settings: GptqSettings,
): Promise<PackedEntry> {
  const codes = findPart(file, {
    name: `${name}.qweight`,
    types: ["I32"],
    shape: [undefined, undefined],
  });
  const [words, rows] = codes.shape as readonly [number, number];
  const scales = findPart(file, {
    name: `${name}.scales`,
    types: FLOATS,
    shape: [undefined, rows],
  });
  const count = scales.shape[0]!;
  const zeros = findPart(file, {
    name: `${name}.qzeros`,
    types: ["I32"],
    shape: [count, settings.bits && rows * settings.bits / 32],
  });
  const bits = checkBits(file, codes.name, settings.bits ?? 32 * zeros.shape[1]! / rows);
  const each = 32 / bits, columns = words * each;
  const index = optionalPart(file, { name: `${name}.g_idx`, types: ["I32"], shape: [columns] });
  const weight = `${name}.weight`, shape = [rows, columns] as const;
  const packed = {
    name: weight,
    shape,
    bits,
    groups: await readGroups(file, scales, columns, settings, index),
    symmetric: settings.symmetric,
    halfScales: await areHalves(scales),
    codes,
    others: [zeros, scales, ...(index ? [index] : [])],
    unpack(all: Uint32Array, first: number, end: number, out: Uint8Array): void {
      // A few rows at a time, so that what is written stays in the processor's cache.
      for (; first < end; first += TILE, out = out.subarray(TILE * columns)) {
        const count = Math.min(TILE, end - first);
        for (let k = 0; k < words; k++) {
          for (let i = 0; i < count; i++) {
            putCodes(all[k * rows + first + i]!, bits, out, i * columns + k * each);
          }
        }
      }
    },
    readScales: async () => ({
      scales: await readFloats(scales),
      zeros: unpackWords(await readWords(zeros), bits, count, rows, settings.zeroOffset),
    }),
  };
  return { ...codes, name: weight, shape, packed };
}
