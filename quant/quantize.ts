/**
 * Numbers to blocks of GGUF's tensor types: each to its nearest code, or so that the error that
 * importances weigh is least.
 *
 * | type | bits per weight | value |
 * | --- | --- | --- |
 * | `Q4_0` `Q5_0` `Q8_0` | 4.5, 5.5, 8.5 | `d·q` |
 * | `IQ4_NL` | 4.5 | `d·v`, one of sixteen values `v` |
 * | `Q4_1` `Q5_1` | 5, 6 | `d·q + m` |
 * | `Q4_K` `Q5_K` | 4.5, 5.5 | `d·s·q − dmin·m`, `s` and `m` six bits for each 32 |
 * | `Q6_K` | 6.5625 | `d·s·q`, `s` a signed byte for each 16 |
 * | `F32` `F16` `BF16` | 32, 16, 16 | the number |
 *
 * @module
 */

import { InputError, ShapeError } from "../errors.ts";
import { quote } from "../escape.ts";
import { isA } from "../options.ts";
import { encodeBf16, encodeF16, encodeF32 } from "./floats.ts";
import { failEncode } from "./blocks.ts";
import { weightedQ4K, weightedQ5K, weightedQ6K } from "./encode_k.ts";
import {
  type EncodeWeighted,
  weightedIq4Nl,
  weightedQ4_0,
  weightedQ4_1,
  weightedQ5_0,
  weightedQ5_1,
  weightedQ8_0,
} from "./encode_plain.ts";
import { ggmlType } from "./ggml_types.ts";
import {
  type EncodeBlocks,
  nearestQ4_0,
  nearestQ4_1,
  nearestQ5_0,
  nearestQ5_1,
  nearestQ8_0,
} from "./nearest.ts";
import { nearestQ4K, nearestQ5K, nearestQ6K } from "./nearest_k.ts";

/** Encoders of a type; where one to nearest is missing, that with equal importances is as good or better. */
interface Encoders {
  readonly nearest?: EncodeBlocks;
  readonly weighted?: EncodeWeighted;
}

const ENCODERS: Readonly<Record<string, Encoders>> = {
  F32: { nearest: (values, out) => encodeF32(out, values) },
  F16: { nearest: (values, out) => encodeF16(out, values) },
  BF16: { nearest: (values, out) => encodeBf16(out, values) },
  Q4_0: { nearest: nearestQ4_0, weighted: weightedQ4_0 },
  Q4_1: { nearest: nearestQ4_1, weighted: weightedQ4_1 },
  Q5_0: { nearest: nearestQ5_0, weighted: weightedQ5_0 },
  Q5_1: { nearest: nearestQ5_1, weighted: weightedQ5_1 },
  Q8_0: { nearest: nearestQ8_0, weighted: weightedQ8_0 },
  IQ4_NL: { weighted: weightedIq4Nl },
  Q4_K: { nearest: nearestQ4K, weighted: weightedQ4K },
  Q5_K: { nearest: nearestQ5K, weighted: weightedQ5K },
  Q6_K: { nearest: nearestQ6K, weighted: weightedQ6K },
};

/** Types that `quantizeRows` writes. */
export const QUANTIZED_TYPES: readonly string[] = Object.keys(ENCODERS);

/** How rows are quantized. */
export interface QuantizeRowsOptions {
  /**
   * How much an error in each column counts, `[columns]`: for a matrix the mean square of what its
   * column is multiplied with. Each number to nearest where absent.
   */
  readonly importances?: Float32Array;
}

/**
 * Quantizes row-major `values` `[rows, columns]` to blocks of a GGUF type.
 *
 * To nearest, Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 are to the byte what the specification's reference
 * implementation makes. With importances, the scales (and minima) of each block are searched so that
 * Σ importance · (x − x̂)² is small; a block whose importances are all zero counts each number alike.
 *
 * Source: the block formats of GGUF (ggml-org/ggml, docs/gguf.md).
 *
 * @param type one of `QUANTIZED_TYPES`, such as `"Q4_K"`
 * @param columns numbers of a row, a multiple of the type's block size
 * @throws InputError when there is no such type, or a number is not finite or too large for a half
 * @throws ShapeError when lengths do not fit
 *
 * @example
 * ```ts
 * import { quantizeRows } from "./quantize.ts";
 *
 * const weights = Float32Array.from({ length: 512 }, (_, i) => Math.sin(i)); // [2, 256]
 * quantizeRows("Q4_K", weights, 256).length; // 2 * 144
 * const importances = Float32Array.from({ length: 256 }, (_, i) => i < 8 ? 100 : 1);
 * quantizeRows("Q4_K", weights, 256, { importances });
 * ```
 */
export function quantizeRows(
  type: string,
  values: Float32Array,
  columns: number,
  { importances }: QuantizeRowsOptions = {},
): Uint8Array {
  if (typeof type !== "string" || !Object.hasOwn(ENCODERS, type)) {
    throw new InputError(
      `Cannot quantize to ${quote(type)}: expected one of ${QUANTIZED_TYPES.join(", ")}`,
    );
  }
  const { nearest, weighted } = ENCODERS[type]!, { blockSize, blockBytes } = ggmlType(type)!;
  checkLengths(type, values, columns, blockSize);
  const out = new Uint8Array(values.length / blockSize * blockBytes);
  // Numbers that are no numbers would pass every comparison of a search.
  if (blockSize > 1) checkFinite(type, values);
  if (!weighted || nearest && !importances) {
    nearest!(values, out);
    return out;
  }
  const weights = weightsOf(importances, columns, blockSize),
    rowBytes = out.length * columns / values.length;
  for (let row = 0; row * columns < values.length; row++) {
    weighted(
      values.subarray(row * columns, (row + 1) * columns),
      weights,
      out.subarray(row * rowBytes, (row + 1) * rowBytes),
    );
  }
  return out;
}

function checkLengths(
  type: string,
  values: Float32Array,
  columns: number,
  blockSize: number,
): void {
  if (!isA(values, Float32Array)) {
    throw new ShapeError(`Cannot quantize ${quote(values)}: expected a Float32Array`);
  }
  if (!Number.isSafeInteger(columns) || columns < 1 || columns % blockSize !== 0) {
    throw new ShapeError(
      `Cannot quantize rows of ${
        quote(columns)
      } numbers to ${type}: expected a multiple of ${blockSize}`,
    );
  }
  if (values.length % columns !== 0) {
    throw new ShapeError(
      `Cannot quantize ${values.length} numbers to ${type}: expected whole rows of ${columns}`,
    );
  }
}

function checkFinite(type: string, values: Float32Array): void {
  const at = values.findIndex((it) => !Number.isFinite(it));
  if (at >= 0) failEncode(type, values, at, at + 1);
}

/** Importances `[columns]`, with ones in blocks where all are zero, and everywhere if there are none. */
export function weightsOf(
  importances: Float32Array | undefined,
  columns: number,
  blockSize: number,
): Float32Array {
  if (importances === undefined) return new Float32Array(columns).fill(1);
  if (!isA(importances, Float32Array) || importances.length !== columns) {
    throw new ShapeError(
      `Cannot quantize with importances ${
        isA(importances, Float32Array) ? `of length ${importances.length}` : quote(importances)
      }: expected a Float32Array of length ${columns}`,
    );
  }
  const wrong = importances.find((it) => !(it >= 0 && it < Infinity));
  if (wrong !== undefined) {
    throw new InputError(
      `Cannot quantize with importance ${wrong}: expected finite numbers from 0`,
    );
  }
  const weights = importances.slice();
  for (let at = 0; at < columns; at += blockSize) {
    const block = weights.subarray(at, at + blockSize);
    if (block.every((it) => it === 0)) block.fill(1);
  }
  return weights;
}
