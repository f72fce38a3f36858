/**
 * Matrices as compressed-tensors packs them (its format `pack-quantized`, which llm-compressor and vLLM
 * use): `NAME.weight_packed` has the codes row by row, eight of 4 bits or four of 8 in a word, the
 * lowest bits first; `NAME.weight_scale` has scales `[rows, groups]`, `NAME.weight_zero_point` zeros
 * alike, packed along the rows, `NAME.weight_g_idx` the group of each column and `NAME.weight_shape`
 * the extents. Codes and zeros are signed there; half of their range is added to both before packing.
 *
 * Source: the released code of compressed-tensors (`pack_quantized`).
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import type { ModelFile, TensorEntry } from "./model_file.ts";
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

/**
 * The matrix `NAME.weight`.
 *
 * @throws ModelError when a part is missing, or parts do not fit together
 */
export async function compressedMatrix(
  file: ModelFile,
  name: string,
  settings: PackedSettings,
): Promise<PackedEntry> {
  const codes = findPart(file, {
    name: `${name}.weight_packed`,
    types: ["I32"],
    shape: [undefined, undefined],
  });
  const [rows, words] = codes.shape as readonly [number, number];
  const columns = await readColumns(file, name, rows, words);
  // How many numbers a word has, by the number of words.
  const bits = settings.bits ??
    checkBits(file, codes.name, words === Math.ceil(columns / 8) ? 4 : 8);
  const each = 32 / bits;
  findPart(file, { name: codes.name, types: ["I32"], shape: [rows, Math.ceil(columns / each)] });
  const scales = findPart(file, {
    name: `${name}.weight_scale`,
    types: FLOATS,
    shape: [rows, undefined],
  });
  const count = scales.shape[1]!;
  const groupSize = settings.groupSize ?? Math.ceil(columns / count);
  const zeros = findZeros(
    file,
    name,
    rows,
    count,
    bits,
    settings.symmetric ? optionalPart : findPart,
  );
  const index = await findIndex(file, name, columns);
  const weight = `${name}.weight`, shape = [rows, columns] as const;
  const packed = {
    name: weight,
    shape,
    bits,
    groups: await readGroups(file, scales, columns, { ...settings, groupSize }, index, count),
    symmetric: !zeros,
    halfScales: await areHalves(scales),
    codes,
    others: [
      ...[file.tensors.get(`${name}.weight_shape`)!, scales],
      ...[zeros, file.tensors.get(`${name}.weight_g_idx`)].filter((it) => it !== undefined),
    ],
    unpack(all: Uint32Array, first: number, end: number, out: Uint8Array): void {
      for (let row = first; row < end; row++) {
        const to = (row - first) * columns, full = columns - columns % each;
        for (let i = 0, k = row * words; i < full; i += each, k++) {
          putCodes(all[k]!, bits, out, to + i);
        }
        for (let i = full; i < columns; i++) {
          out[to + i] = all[(row + 1) * words - 1]! >>> i % each * bits & 2 ** bits - 1;
        }
      }
    },
    readScales: async () => ({
      scales: turned(await readFloats(scales), rows, count),
      zeros: zeros && await readZeros(zeros, rows, count, bits),
    }),
  };
  return { ...codes, name: weight, shape, packed };
}

/** The columns of a matrix, as its shape says; the rest of the shape must fit the codes. */
async function readColumns(
  file: ModelFile,
  name: string,
  rows: number,
  words: number,
): Promise<number> {
  const entry = findPart(file, { name: `${name}.weight_shape`, types: ["I64", "I32"], shape: [2] });
  const bytes = (await entry.source.read(entry.offset, entry.bytes)).slice().buffer;
  const shape = entry.type === "I64"
    ? Array.from(new BigInt64Array(bytes), Number)
    : Array.from(new Int32Array(bytes));
  const [found, columns] = shape as [number, number];
  if (found === rows && columns >= 1 && [4, 8].some((it) => words === Math.ceil(columns / it))) {
    return columns;
  }
  throw new ModelError(
    `Cannot load ${quote(file.name)}: tensor ${quote(entry.name)} says [${
      shape.join(", ")
    }], but ` +
      `${quote(`${name}.weight_packed`)} has ${rows} rows of ${words} words, expected one of the ` +
      `same rows, and as many words as 4 or 8 bits for each column take`,
  );
}

/** Zeros, packed along the rows, or a byte for each. */
function findZeros(
  file: ModelFile,
  name: string,
  rows: number,
  count: number,
  bits: number,
  find: typeof optionalPart,
): TensorEntry | undefined {
  const part = `${name}.weight_zero_point`;
  return file.tensors.get(part)?.type === "I8"
    ? find(file, { name: part, types: ["I8"], shape: [rows, count] })
    : find(file, { name: part, types: ["I32"], shape: [Math.ceil(rows * bits / 32), count] });
}

/** Zeros as `[groups, rows]`, with half of the range added. */
async function readZeros(
  entry: TensorEntry,
  rows: number,
  count: number,
  bits: 4 | 8,
): Promise<Uint16Array> {
  if (entry.type === "I8") {
    const bytes = new Int8Array(
      (await entry.source.read(entry.offset, entry.bytes)).slice().buffer,
    );
    const all = Uint16Array.from(bytes, (it) => it + 2 ** (bits - 1));
    return turned(all, rows, count);
  }
  // Each word has zeros of several rows: turned around, it is a row of words for each group.
  const words = await readWords(entry);
  return unpackWords(turned(words, entry.shape[0]!, count), bits, count, rows, 0);
}

/** The tensor with the group of each column, undefined where it is not filled in. */
async function findIndex(
  file: ModelFile,
  name: string,
  columns: number,
): Promise<TensorEntry | undefined> {
  const part = { name: `${name}.weight_g_idx`, types: ["I32"], shape: [columns] };
  const entry = optionalPart(file, part);
  if (!entry) return undefined;
  const groups = new Int32Array((await readWords(entry)).buffer);
  return groups.includes(-1) ? undefined : entry;
}

/** Numbers `[rows, columns]` as `[columns, rows]`. */
function turned<T extends Float32Array | Uint16Array | Uint32Array>(
  values: T,
  rows: number,
  columns: number,
): T {
  const out = values.slice() as T;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      out[column * rows + row] = values[row * columns + column]!;
    }
  }
  return out;
}
