/**
 * GPTQ: rounds a matrix column by column and lets the columns that are still to come make up for each
 * error, so that products with typical inputs change least.
 *
 * Source: Frantar et al., "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
 * Transformers", ICLR 2023.
 *
 * @module
 */

import { InputError, ShapeError } from "../errors.ts";
import { ggmlType } from "./ggml_types.ts";
import { GRIDS, nearestCode } from "./grids.ts";
import { quantizeRows } from "./quantize.ts";

/** What one column's rounding means for the others, of one matrix's inputs. */
export interface ErrorFlow {
  /** Columns. */
  readonly columns: number;
  /**
   * The upper triangle U of H⁻¹ = Uᵀ·U, `[columns, columns]`: an error e in column j is best made up for
   * by taking `e · U[j][k] / U[j][j]` from each later column k.
   */
  readonly upper: Float32Array;
  /** How much an error in each column costs when the later ones make up for it: 1 / U[j][j]². */
  readonly importances: Float32Array;
}

/**
 * Prepares the flow of errors from sums over a matrix's inputs.
 *
 * @param products Σ x·xᵀ over inputs x, `[columns, columns]`, row-major
 * @param damping what is added to the diagonal, as a share of its mean; more where that is not enough
 *   for the sums to be invertible
 * @throws InputError when the sums are not finite, or cannot be inverted
 */
export function errorFlow(
  products: Float64Array | Float32Array,
  columns: number,
  damping: number = 0.01,
): ErrorFlow {
  if (products.length !== columns * columns) {
    throw new ShapeError(
      `Cannot prepare GPTQ from ${products.length} sums: expected ${columns} × ${columns}`,
    );
  }
  let mean = 0;
  for (let j = 0; j < columns; j++) mean += products[j * columns + j]! / columns;
  if (!Number.isFinite(mean) || mean < 0) {
    throw new InputError(`Cannot prepare GPTQ: the mean square of its inputs is ${mean}`);
  }
  if (mean === 0) mean = 1;
  for (let share = damping, tries = 0; tries < 8; share = Math.max(10 * share, 1e-6), tries++) {
    const factor = upperFactor(products, columns, share * mean);
    if (factor) return flowOf(factor, columns);
  }
  throw new InputError(
    "Cannot prepare GPTQ: the sums of its inputs cannot be inverted; give other texts to calibrate on",
  );
}

/** M, upper triangular, with H + damping = M·Mᵀ; undefined where H is not positive. */
function upperFactor(
  products: Float64Array | Float32Array,
  n: number,
  damping: number,
): Float64Array | undefined {
  const m = Float64Array.from(products);
  for (let j = n - 1; j >= 0; j--) {
    const row = j * n;
    let square = m[row + j]! + damping;
    // A column whose input is always 0 is free.
    if (products[row + j] === 0) square += 1;
    for (let k = j + 1; k < n; k++) square -= m[row + k]! ** 2;
    if (!(square > 0)) return undefined;
    const pivot = Math.sqrt(square);
    m[row + j] = pivot;
    for (let i = j - 1; i >= 0; i--) {
      let sum = m[i * n + j]!;
      for (let k = j + 1; k < n; k++) sum -= m[i * n + k]! * m[row + k]!;
      m[i * n + j] = sum / pivot;
    }
  }
  return m;
}

/** The inverse of M, which is U: H⁻¹ = M⁻ᵀ·M⁻¹. */
function flowOf(m: Float64Array, n: number): ErrorFlow {
  const upper = new Float32Array(n * n), importances = new Float32Array(n);
  const row = new Float64Array(n); // of M⁻¹
  for (let i = 0; i < n; i++) {
    row.fill(0, i);
    row[i] = 1;
    for (let k = i; k < n; k++) {
      const value = row[k]! / m[k * n + k]!;
      row[k] = value;
      for (let j = k + 1; j < n; j++) row[j]! -= value * m[k * n + j]!;
    }
    for (let k = i; k < n; k++) upper[i * n + k] = row[k]!;
    importances[i] = 1 / row[i]! ** 2;
  }
  return { columns: n, upper, importances };
}

/** How much of a drift of inputs is made up for: all of it is best on what was summed, half on others. */
export const DRIFT_SHARE = 0.5;

/**
 * What makes up for the drift of a matrix's inputs: share · D·H⁻¹ `[columns, columns]`, for
 * `followDrift`. It is the same for all matrices that have these inputs. With share 1 the products are,
 * on the inputs that were summed, as near to the exact ones as they can be.
 *
 * Source: asymmetric calibration, as in Li et al., "GPTAQ: Efficient Finetuning-Free Quantization for
 * Asymmetric Calibration", ICML 2025, here on the weights before they are rounded.
 *
 * @param drift D, Σ (z − x)·xᵀ over inputs x and their exact values z, `[columns, columns]`
 */
export function driftCorrection(
  drift: Float64Array,
  { columns: n, upper }: ErrorFlow,
  share: number = DRIFT_SHARE,
): Float64Array {
  // D·H⁻¹ = (D·Uᵀ)·U, row by row; half of each product is zeros.
  const correction = new Float64Array(n * n), half = new Float64Array(n);
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < n; k++) {
      let sum = 0;
      for (let j = k; j < n; j++) sum += drift[i * n + j]! * upper[k * n + j]!;
      half[k] = share * sum;
    }
    for (let k = 0; k < n; k++) {
      const value = half[k]!;
      for (let j = k; j < n; j++) correction[i * n + j]! += value * upper[k * n + j]!;
    }
  }
  return correction;
}

/**
 * Weights that give on rounded inputs more nearly what `values` `[rows, columns]` give on exact ones:
 * W + W·C, with the correction C of these inputs.
 */
export function followDrift(
  values: Float32Array,
  correction: Float64Array,
  columns: number,
): Float32Array {
  const followed = values.slice();
  for (let row = 0; row < values.length; row += columns) {
    for (let i = 0; i < columns; i++) {
      const value = values[row + i]!, line = i * columns;
      for (let j = 0; j < columns; j++) followed[row + j]! += value * correction[line + j]!;
    }
  }
  return followed;
}

/**
 * Quantizes row-major `values` `[rows, columns]` to blocks of a GGUF type. The scales of a block are
 * searched when its first column is reached, on numbers that have already made up for the errors before.
 *
 * @throws InputError when the type has no codes, or a number is not finite
 * @throws ShapeError when lengths do not fit
 *
 * @example
 * ```ts
 * import { errorFlow, gptqRows } from "./gptq.ts";
 *
 * const inputs = [Float32Array.from({ length: 32 }, (_, i) => Math.sin(i))];
 * const products = new Float64Array(32 * 32);
 * for (const x of inputs) products.forEach((_, i) => products[i] += x[i >> 5] * x[i & 31]);
 * const weights = Float32Array.from({ length: 64 }, (_, i) => Math.cos(i)); // [2, 32]
 * gptqRows("Q4_0", weights, errorFlow(products, 32)).length; // 2 * 18
 * ```
 */
export function gptqRows(type: string, values: Float32Array, flow: ErrorFlow): Uint8Array {
  const { columns, upper, importances } = flow, grid = GRIDS[type];
  if (!grid) {
    throw new InputError(
      `Cannot use GPTQ for type ${type}: expected one of ${Object.keys(GRIDS).join(", ")}`,
    );
  }
  const { blockSize, blockBytes } = ggmlType(type)!, { group, levels } = grid;
  if (columns % blockSize !== 0 || values.length % columns !== 0) {
    throw new ShapeError(
      `Cannot quantize ${values.length} numbers to ${type} by GPTQ: expected rows of ${columns}, ` +
        `a multiple of ${blockSize}`,
    );
  }
  const out = new Uint8Array(values.length / blockSize * blockBytes);
  const row = new Float32Array(columns), errors = new Float32Array(blockSize);
  const codes = new Uint8Array(blockSize);
  const scales = new Float64Array(blockSize / group), offsets = new Float64Array(scales.length);
  for (let from = 0, at = 0; from < values.length; from += columns) {
    row.set(values.subarray(from, from + columns));
    for (let first = 0; first < columns; first += blockSize, at += blockBytes) {
      const end = first + blockSize;
      const block = quantizeRows(type, row.subarray(first, end), blockSize, {
        importances: importances.subarray(first, end),
      });
      out.set(block, at);
      grid.readScales(block, 0, scales, offsets);
      for (let j = first; j < end; j++) {
        const g = (j - first) / group | 0, scale = scales[g]!, offset = offsets[g]!;
        const code = nearestCode(levels, scale !== 0 ? (row[j]! - offset) / scale : 0);
        codes[j - first] = code;
        const error = (row[j]! - scale * levels[code]! - offset) / upper[j * columns + j]!;
        errors[j - first] = error;
        for (let k = j + 1; k < end; k++) row[k]! -= error * upper[j * columns + k]!;
      }
      grid.writeCodes(codes, out, at);
      // What lies behind the block is corrected once for all of it, while it is in the cache.
      for (let j = first; j < end; j++) {
        const error = errors[j - first]!, line = j * columns;
        for (let k = end; k < columns; k++) row[k]! -= error * upper[line + k]!;
      }
    }
  }
  return out;
}
