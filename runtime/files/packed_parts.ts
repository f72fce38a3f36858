/**
 * What the readers of quantizers' forms share: the tensors that a matrix consists of, checked, and
 * their numbers.
 *
 * @module
 */

import { ModelError } from "../../errors.ts";
import { quote, word } from "../../escape.ts";
import { elements } from "../../kernels/op.ts";
import { HALF_VALUES, halfBits } from "../../quant/half.ts";
import { transcoder } from "../../quant/transcode.ts";
import type { ModelFile, TensorEntry } from "./model_file.ts";
import { evenGroups, type Groups, groupsOf } from "./packed_matrix.ts";

/** What a configuration says of all matrices of a file. */
export interface PackedSettings {
  /** Bits of a code; undefined where matrices differ. */
  readonly bits?: 4 | 8 | undefined;
  /** Columns of a group, −1 for all of them; undefined where matrices differ. */
  readonly groupSize?: number | undefined;
  /** Whether every zero is half of the codes' range. */
  readonly symmetric: boolean;
}

/** Types of scales. */
export const FLOATS: readonly string[] = ["F16", "BF16", "F32"];

/** A tensor of the file that a matrix consists of. */
export interface Part {
  /** Its name. */
  readonly name: string;
  /** Its type may be one of these. */
  readonly types: readonly string[];
  /** Its extents; those that are not known are undefined. */
  readonly shape: readonly (number | undefined)[];
}

/** Finds a part of a matrix, undefined where it is not there. */
export function optionalPart(
  file: ModelFile,
  { name, types, shape }: Part,
): TensorEntry | undefined {
  const entry = file.tensors.get(name);
  if (!entry) return undefined;
  const fits = types.includes(entry.type) && entry.shape.length === shape.length &&
    entry.shape.every((it, i) => it >= 1 && it === (shape[i] ?? it));
  if (fits) return entry;
  throw new ModelError(
    `Cannot load ${quote(file.name)}: tensor ${quote(name)} is ${word(entry.type)} ` +
      `[${entry.shape.join(", ")}], expected ${
        wordsOf(types, shape)
      } beside the other tensors of its ` +
      `matrix`,
  );
}

/** `I32 [2, any]`. */
function wordsOf(types: readonly string[], shape: Part["shape"]): string {
  return `${types.join(" or ")} [${shape.map((it) => it ?? "any").join(", ")}]`;
}

/**
 * Finds a part of a matrix.
 *
 * @throws ModelError when it is missing, or of another type or shape
 */
export function findPart(file: ModelFile, part: Part): TensorEntry {
  const entry = optionalPart(file, part);
  if (entry) return entry;
  throw new ModelError(
    `Cannot load ${quote(file.name)}: tensor ${quote(part.name)} is missing, expected ` +
      `${
        wordsOf(part.types, part.shape)
      } beside the other tensors of a quantized matrix; the file is ` +
      `incomplete`,
  );
}

/** Checks the bits of the codes of a matrix. */
export function checkBits(file: ModelFile, name: string, bits: number): 4 | 8 {
  if (bits === 4 || bits === 8) return bits;
  throw new ModelError(
    `Cannot load ${quote(file.name)}: the codes of tensor ${
      quote(name)
    } have ${bits} bits, expected ` +
      `4 or 8; use the model before quantization, or as a GGUF file`,
  );
}

/**
 * The groups of a matrix: one after another, or as a tensor with the group of each column says.
 *
 * @param count groups that there are scales for
 * @throws ModelError when they do not fit the columns
 */
export async function readGroups(
  file: ModelFile,
  scales: TensorEntry,
  columns: number,
  { groupSize = Math.ceil(columns / groupCount(scales)) }: PackedSettings,
  index: TensorEntry | undefined,
  count: number = groupCount(scales),
): Promise<Groups> {
  const size = groupSize === -1 ? columns : groupSize;
  if (Math.ceil(columns / size) !== count) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: tensor ${
        quote(scales.name)
      } has scales of ${count} groups, ` +
        `expected ${Math.ceil(columns / size)} for ${columns} columns in groups of ${size}`,
    );
  }
  if (!index) return evenGroups(columns, size);
  const of = new Int32Array((await readWords(index)).buffer);
  const wrong = of.findIndex((it) => it < 0 || it >= count);
  if (wrong >= 0) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: tensor ${quote(index.name)} has column ${wrong} in group ` +
        `${of[wrong]}, expected 0 to ${count - 1}`,
    );
  }
  const used = new Set(of), missing = Array(count).keys().find((it) => !used.has(it));
  if (missing !== undefined) {
    throw new ModelError(
      `Cannot load ${quote(file.name)}: tensor ${quote(index.name)} has no column in group ` +
        `${missing}, expected some in each of ${count} groups`,
    );
  }
  return groupsOf(of, size, count);
}

/** The first extent of the scales of GPTQ and AWQ. */
function groupCount({ shape }: TensorEntry): number {
  return shape[0]!;
}

/** All numbers of a tensor of 32-bit words. */
export async function readWords({ source, offset, bytes }: TensorEntry): Promise<Uint32Array> {
  return new Uint32Array((await source.read(offset, bytes)).slice().buffer);
}

/** All numbers of a tensor of floats. */
export async function readFloats(entry: TensorEntry): Promise<Float32Array> {
  const { source, offset, bytes, type, shape } = entry;
  const rows = transcoder(type, "f32").rows(await source.read(offset, bytes), elements(shape));
  return new Float32Array(rows.slice().buffer);
}

/** Whether every number of a tensor of floats is one of half precision. */
export async function areHalves(entry: TensorEntry): Promise<boolean> {
  if (entry.type === "F16") return true;
  return (await readFloats(entry)).every((it) => HALF_VALUES[halfBits(it)] === it);
}

/**
 * Takes numbers of `bits` bits out of words, the lowest bits first.
 *
 * @param words `[rows, columns · bits / 32]`, each row in whole words
 * @param more what is added to each
 */
export function unpackWords(
  words: Uint32Array,
  bits: 4 | 8,
  rows: number,
  columns: number,
  more: number,
): Uint16Array {
  const each = 32 / bits, mask = 2 ** bits - 1, stride = Math.ceil(columns / each);
  const out = new Uint16Array(rows * columns);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < columns; i++) {
      const word = words[row * stride + Math.floor(i / each)]!;
      out[row * columns + i] = (word >>> i % each * bits & mask) + more;
    }
  }
  return out;
}

/** Writes the codes of one word to `out` from `to`, the lowest bits first. */
export function putCodes(word: number, bits: 4 | 8, out: Uint8Array, to: number): void {
  if (bits === 4) {
    out[to] = word & 15;
    out[to + 1] = word >>> 4 & 15;
    out[to + 2] = word >>> 8 & 15;
    out[to + 3] = word >>> 12 & 15;
    out[to + 4] = word >>> 16 & 15;
    out[to + 5] = word >>> 20 & 15;
    out[to + 6] = word >>> 24 & 15;
    out[to + 7] = word >>> 28;
    return;
  }
  out[to] = word; // arrays of bytes take the lowest one
  out[to + 1] = word >>> 8;
  out[to + 2] = word >>> 16;
  out[to + 3] = word >>> 24;
}
