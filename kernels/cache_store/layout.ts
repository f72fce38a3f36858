/**
 * How the WebAssembly backend stores caches. Every key-value head has its own part, so that its
 * rows are one sequential stream when attention reads them; cache_store/wasm.as.ts and
 * attention/wasm.as.ts hold the same numbers.
 *
 * - keys: `[kvHead][rows / 8][headDim][8]`: eight rows of one element make two vectors of scores.
 * - values: `[kvHead][rows / 64][headDim / 8][64][8]`: eight elements of successive rows, so that a
 *   sum over any range of rows reads nothing outside the range.
 *
 * A cache of int8 holds pairs, as integer dot products want them, and an f32 scale for each row of
 * each group of 32 elements, so that a block still is one stream:
 *
 * - keys: `[kvHead][rows / 8]` of groups, each `[16 pairs of elements]` vectors of codes (fewer in the
 *   last one) and `[8]` scales. A vector is `[4 rows][2 elements][2]`, rows r and r + 4 side by side.
 * - values: `[kvHead][rows / 128]` of groups, each `[128]` scales and `[16 pairs of elements][16]`
 *   vectors of codes (fewer in the last one). A vector is eight rows, in the order 0, 4, 1, 5, 2, 6, 3,
 *   7, of `[2 elements]`.
 *
 * So the first and the second of each two bytes, which are extended to int16 by one instruction each,
 * are whole operands. Rows are padded to 8 (keys), 64 (values) or 128 (values of int8), the elements of
 * a value to 8, in int8 those of both to 2.
 *
 * @module
 */

import type { TensorType } from "../op.ts";
import { CACHE_GROUP } from "./op.ts";

/** Rows of a block of keys. */
const KEY_ROWS = 8;

/** Rows of a block of values. */
export const VALUE_ROWS = 64;

/** Rows of a block of values of int8. */
const CODE_ROWS = 128;

/** Elements of a value that are stored together. */
export const VALUE_COLUMNS = 8;

function roundUp(n: number, unit: number): number {
  return Math.ceil(n / unit) * unit;
}

/** Bytes of one key-value head of a cache `[rows, kvHeads, headDim]`. */
export function headBytes(type: TensorType): number {
  const [rows, , headDim] = type.shape as readonly [number, number, number];
  const isInt8 = type.dtype === "int8";
  const size = isInt8 ? 1 : type.dtype === "f16" ? 2 : 4;
  const scaleBytes = isInt8 ? 4 * Math.ceil(headDim / CACHE_GROUP) : 0;
  return type.role === "keyCache"
    ? roundUp(rows, KEY_ROWS) * (roundUp(headDim, isInt8 ? 2 : 1) * size + scaleBytes)
    : roundUp(rows, isInt8 ? CODE_ROWS : VALUE_ROWS) *
      (roundUp(headDim, isInt8 ? 2 : VALUE_COLUMNS) * size + scaleBytes);
}

/** Bytes of a cache `[rows, kvHeads, headDim]` of keys or values, padding included. */
export function cacheBytes(type: TensorType): number {
  return type.shape[1]! * headBytes(type);
}

/** Rows that are stored together. */
export function blockRows({ role, dtype }: TensorType): number {
  return role === "keyCache" ? KEY_ROWS : dtype === "int8" ? CODE_ROWS : VALUE_ROWS;
}

/** Bytes of a block of rows of one key-value head. */
export function blockBytes(type: TensorType): number {
  const unit = blockRows(type);
  return headBytes({ ...type, shape: [unit, ...type.shape.slice(1)] });
}

/**
 * Overwrites with zeros what blocks of one head hold of rows from `rows` on, which may be of another
 * text: `blocks` are the fewest blocks that hold `rows` rows.
 */
export function clearRowsBehind(type: TensorType, blocks: Uint8Array, rows: number): void {
  const unit = blockRows(type), bytes = blockBytes(type), kept = rows % unit;
  if (kept === 0) return;
  const block = blocks.subarray(blocks.length - bytes), rowOf = rowsOfBytes(type);
  for (let at = 0; at < bytes; at++) if (rowOf(at) >= kept) block[at] = 0;
}

/** Which row of a block a byte belongs to. */
function rowsOfBytes({ role, dtype, shape }: TensorType): (at: number) => number {
  const headDim = shape[2]!, isKey = role === "keyCache";
  if (dtype !== "int8") {
    const size = dtype === "f16" ? 2 : 4;
    return isKey
      ? (at) => Math.floor(at / size) % KEY_ROWS
      : (at) => Math.floor(at / (VALUE_COLUMNS * size)) % VALUE_ROWS;
  }
  const pairs = roundUp(headDim, 2) / 2, unit = isKey ? KEY_ROWS : CODE_ROWS;
  const fullPairs = CACHE_GROUP / 2, groupBytes = fullPairs * 2 * unit + 4 * unit;
  return (at) => {
    const group = Math.floor(at / groupBytes), inGroup = at % groupBytes;
    const codeBytes = 2 * unit * Math.min(fullPairs, pairs - group * fullPairs);
    if (isKey) {
      if (inGroup >= codeBytes) return Math.floor((inGroup - codeBytes) / 4);
      return Math.floor(inGroup % 16 / 4) + 4 * (inGroup % 2);
    }
    if (inGroup < 4 * unit) return Math.floor(inGroup / 4);
    const code = inGroup - 4 * unit, place = Math.floor(code % 16 / 2);
    const row = (place >> 1) + 4 * (place & 1); // 0, 4, 1, 5, 2, 6, 3, 7
    return 8 * (Math.floor(code / 16) % (unit / 8)) + row;
  };
}
