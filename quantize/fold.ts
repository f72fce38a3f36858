/**
 * Scales of a norm's outputs, folded into its gain: a channel that is large makes the matrices' column
 * for it matter most, so the column is multiplied before it is rounded and the gain divided; on exact
 * numbers nothing changes.
 *
 * Source: Lin et al., "AWQ: Activation-aware Weight Quantization for LLM Compression and
 * Acceleration", MLSys 2024.
 *
 * @module
 */

import { ggmlType } from "../quant/ggml_types.ts";
import { quantizeRows } from "../quant/quantize.ts";

/** A matrix that a norm's outputs are multiplied with. */
export interface FoldedMatrix {
  /** Type that it will have. */
  readonly type: string;
  /** `[rows, columns]`, row-major. */
  readonly values: Float32Array;
}

/** Powers of a channel's size that are tried as its scale. */
const POWERS = Array.from({ length: 11 }, (_, i) => i / 10);
/** Most rows of a matrix that they are tried on. */
const TRIED_ROWS = 64;

/**
 * The scale of each channel, of these mean squares, with which matrices lose least when they are rounded, or undefined where
 * none is better than 1.
 */
export function foldingScales(
  matrices: readonly FoldedMatrix[],
  sizes: Float32Array,
): Float32Array | undefined {
  const columns = sizes.length;
  if (!sizes.every((it) => it > 0)) return undefined; // a channel that is always 0 has no size
  const samples = matrices.map((it) => ({ ...it, values: someRows(it.values, columns) }));
  let best: Float32Array | undefined, least = Infinity;
  for (const power of POWERS) {
    const scales = scalesOf(sizes, power);
    let loss = 0;
    for (const { type, values } of samples) loss += lossOf(type, values, sizes, scales);
    if (loss >= least) continue;
    least = loss;
    best = power === 0 ? undefined : scales;
  }
  return best;
}

/** Sizes to a power, around 1. */
function scalesOf(meanSquares: Float32Array, power: number): Float32Array {
  const logs = Float64Array.from(meanSquares, (it) => power * 0.5 * Math.log(it));
  const middle = logs.reduce((sum, it) => sum + it, 0) / logs.length;
  return Float32Array.from(logs, (it) => Math.exp(it - middle));
}

/** Σ mean square · (w − ŵ)², with columns scaled while they are rounded. */
function lossOf(
  type: string,
  values: Float32Array,
  sizes: Float32Array,
  scales: Float32Array,
): number {
  const columns = sizes.length, decoded = new Float32Array(values.length);
  const importances = sizes.map((it, j) => it / scales[j]! ** 2);
  const scaled = scaleColumns(values, scales);
  ggmlType(type)!.decode(quantizeRows(type, scaled, columns, { importances }), decoded);
  return values.reduce((sum, value, i) => {
    const j = i % columns;
    return sum + sizes[j]! * (value - decoded[i]! / scales[j]!) ** 2;
  }, 0);
}

/** Every so many rows of a matrix. */
function someRows(values: Float32Array, columns: number): Float32Array {
  const rows = values.length / columns;
  if (rows <= TRIED_ROWS) return values;
  const some = new Float32Array(TRIED_ROWS * columns);
  for (let i = 0; i < TRIED_ROWS; i++) {
    const row = Math.floor(i * rows / TRIED_ROWS) * columns;
    some.set(values.subarray(row, row + columns), i * columns);
  }
  return some;
}

/** A matrix with each column multiplied by its scale. */
function scaleColumns(values: Float32Array, scales: Float32Array): Float32Array {
  return values.map((value, i) => value * scales[i % scales.length]!);
}
