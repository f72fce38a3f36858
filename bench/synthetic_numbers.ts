/**
 * Random numbers for the tensors of synthetic models: the same for the same seed, finite, and of such
 * a size that products of unit vectors have unit variance.
 *
 * @module
 */

import { halfBits } from "../quant/half.ts";
import { elements } from "../kernels/op.ts";
import { randomBits } from "../runtime/generation/random.ts";
import type { PaperTensor } from "../runtime/engine/paper_model.ts";

/** Numbers that are written at a time. */
const PIECE = 2 ** 19;
/** Half the width of uniform numbers of deviation 1. */
const UNIFORM = Math.sqrt(3);
/** The deviation of uniform codes from -7 to 7, and from -127 to 127. */
const SPREADS = { 4: Math.sqrt((15 ** 2 - 1) / 12), 8: Math.sqrt((255 ** 2 - 1) / 12) };

/** Where the numbers of a tensor lie: from `center - width` to `center + width`. */
function rangeOf(
  { kind, columns, bits = 4 }: PaperTensor,
): readonly [center: number, width: number] {
  const deviation = 1 / Math.sqrt(columns);
  switch (kind) {
    case "scales":
      return [deviation / SPREADS[bits], deviation / SPREADS[bits] / 4];
    case "gain":
      return [1, 0.1];
    case "bias":
      return [0, 0.05];
    case "table":
      return [0, 0.5];
    default:
      return [0, UNIFORM * deviation];
  }
}

const tables = new Map<string, Uint16Array | Uint32Array>();

/** The table of a type and a range, made once. */
function valueTable(type: string, center: number, width: number): Uint16Array | Uint32Array {
  const key = `${type} ${center} ${width}`;
  let table = tables.get(key);
  if (!table) tables.set(key, table = makeValues(type, center, width));
  return table;
}

/** The bytes of an element of each of 65,536 numbers, evenly over a range. */
function makeValues(type: string, center: number, width: number): Uint16Array | Uint32Array {
  const values = Float32Array.from(
    { length: 65536 },
    (_, i) => center + width * ((2 * i + 1) / 65536 - 1),
  );
  const bits = new Uint32Array(values.buffer);
  switch (type) {
    case "F32":
      return bits;
    case "F16":
      return Uint16Array.from(values, halfBits);
    default: // BF16
      return Uint16Array.from(bits, (it) => it >>> 16);
  }
}

/** Codes by random bytes: of 4 bits two in a byte, none of them the least one. */
function codeTable(bits: 4 | 8): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, byte) => {
    if (bits === 8) return byte === 128 ? 0 : byte;
    const high = byte >> 4 === 8 ? 0 : byte >> 4, low = (byte & 15) === 8 ? 0 : byte & 15;
    return high << 4 | low;
  });
}

/**
 * The bytes of a tensor, a megabyte or so at a time; a piece is overwritten by the next one.
 *
 * @param index of the tensor in its model, so that no two have the same numbers
 */
export function* randomBytes(
  tensor: PaperTensor,
  seed: number,
  index: number,
): Generator<Uint8Array<ArrayBuffer>> {
  const stream = seed + 2 ** 32 * (index + 1), count = elements(tensor.shape);
  if (tensor.kind === "codes") yield* randomCodes(codeTable(tensor.bits!), stream, count);
  else yield* chosenOf(valueTable(tensor.type, ...rangeOf(tensor)), stream, count);
}

/** Numbers of a table, chosen by 16 random bits each. */
function* chosenOf(
  table: Uint16Array | Uint32Array,
  stream: number,
  count: number,
): Generator<Uint8Array<ArrayBuffer>> {
  const length = Math.min(PIECE, count + count % 2); // two numbers at a time
  const piece = table instanceof Uint32Array ? new Uint32Array(length) : new Uint16Array(length);
  for (let start = 0; start < count; start += length) {
    for (let i = 0; i < length; i += 2) {
      const bits = randomBits(stream, (start + i) / 2);
      piece[i] = table[bits & 0xffff]!;
      piece[i + 1] = table[bits >>> 16]!;
    }
    const bytes = Math.min(length, count - start) * piece.BYTES_PER_ELEMENT;
    yield new Uint8Array(piece.buffer, 0, bytes);
  }
}

function* randomCodes(
  table: Uint8Array,
  stream: number,
  count: number,
): Generator<Uint8Array<ArrayBuffer>> {
  const piece = new Uint8Array(Math.min(4 * PIECE, Math.ceil(count / 4) * 4));
  for (let start = 0; start < count; start += piece.length) {
    for (let i = 0; i < piece.length; i += 4) {
      const bits = randomBits(stream, (start + i) / 4);
      piece[i] = table[bits & 0xff]!;
      piece[i + 1] = table[bits >>> 8 & 0xff]!;
      piece[i + 2] = table[bits >>> 16 & 0xff]!;
      piece[i + 3] = table[bits >>> 24]!;
    }
    yield piece.subarray(0, Math.min(piece.length, count - start));
  }
}
