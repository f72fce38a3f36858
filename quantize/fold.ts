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

import { elements } from "../kernels/op.ts";
import { tensorBlocks } from "../quant/ggml_types.ts";
import { weightsOf } from "../quant/quantize.ts";
import type { TensorEntry } from "../runtime/files/model_file.ts";
import { rowsOf } from "../runtime/files/views.ts";
import { readVector } from "../runtime/models/weights.ts";
import { AREA, typeNumber } from "./wasm/encode.ts";
import type { Pool, Step } from "./wasm/pool.ts";

/** A matrix that a norm's outputs are multiplied with. */
export interface FoldedMatrix {
  /** Type that it will have. */
  readonly type: string;
  /** Its numbers `[…, columns]`. */
  readonly entry: TensorEntry;
}

/** Powers of a channel's size that are tried as its scale. */
const POWERS = Array.from({ length: 11 }, (_, i) => i / 10);
/** Most rows of a matrix that they are tried on. */
const TRIED_ROWS = 64;

/**
 * The scale of each channel, of these mean squares, with which matrices lose least when they are rounded, or undefined where
 * none is better than 1. Every matrix is rounded with each power on a thread of its own.
 */
export async function foldingScales(
  pool: Pool,
  matrices: readonly FoldedMatrix[],
  sizes: Float32Array,
): Promise<Float32Array | undefined> {
  const columns = sizes.length;
  if (!sizes.every((it) => it > 0)) return undefined; // a channel that is always 0 has no size
  const mark = pool.mark();
  try {
    const place = (numbers: Float32Array): number => {
      const at = pool.reserve(4 * numbers.length);
      pool.floats(at, numbers.length).set(numbers);
      return at;
    };
    const tried = POWERS.map((power) => scalesOf(sizes, power)), scales = tried.map(place);
    const own = place(sizes);
    const samples: { readonly type: string; readonly at: number; readonly rows: number }[] = [];
    for (const { type, entry } of matrices) {
      const values = await someRows(entry, columns);
      samples.push({ type, at: place(values), rows: values.length / columns });
    }
    const weights = samples.map(({ type }) =>
      tried.map((scales) => {
        const importances = sizes.map((it, j) => it / scales[j]! ** 2);
        return place(weightsOf(importances, columns, tensorBlocks(type)!.blockSize));
      })
    );
    const losses = pool.reserve(8 * samples.length * POWERS.length);
    pool.doubles(losses, samples.length * POWERS.length).fill(Infinity);
    const most = Math.max(...samples.map(({ rows }) => rows)) * columns;
    const areas = Array.from({ length: pool.threads }, () => ({
      area: pool.reserve(AREA),
      scaled: pool.reserve(4 * most),
      out: pool.reserve(4 * most), // more than any type takes
    }));
    const lossOf = (item: number, thread: number): Step[] => {
      const power = item % POWERS.length, sample = Math.floor(item / POWERS.length);
      const { type, at, rows } = samples[sample]!, { area, scaled, out } = areas[thread]!;
      const w = weights[sample]![power]!, by = scales[power]!, number = typeNumber(type);
      return [
        ["call", "spreadRows", at, columns, rows, by, columns, scaled],
        ["call", "encodeRows", number, scaled, w, columns, rows, out, area],
        ["call", "decode", number, out, rows * columns, scaled],
        ["call", "foldedLoss", at, scaled, columns, rows, own, by, losses + 8 * item],
      ];
    };
    // A power with which a number cannot be held is not chosen; without any power the matrices' own
    // rounding says what is wrong with them.
    for (let item = 0; item < samples.length * POWERS.length; item += pool.threads) {
      const count = Math.min(pool.threads, samples.length * POWERS.length - item);
      await pool.each(count, 1, (first, _end, thread) => lossOf(item + first, thread));
    }
    const found = pool.doubles(losses, samples.length * POWERS.length);
    let best: Float32Array | undefined, least = Infinity;
    for (const [i, power] of POWERS.entries()) {
      const loss = samples.reduce((sum, _, j) => sum + found[j * POWERS.length + i]!, 0);
      if (loss >= least) continue;
      least = loss;
      best = power === 0 ? undefined : tried[i];
    }
    return best;
  } finally {
    pool.release(mark);
  }
}

/** Sizes to a power, around 1. */
function scalesOf(meanSquares: Float32Array, power: number): Float32Array {
  const logs = Float64Array.from(meanSquares, (it) => power * 0.5 * Math.log(it));
  const middle = logs.reduce((sum, it) => sum + it, 0) / logs.length;
  return Float32Array.from(logs, (it) => Math.exp(it - middle));
}

/** Every so many rows of a matrix. */
async function someRows(entry: TensorEntry, columns: number): Promise<Float32Array> {
  const rows = elements(entry.shape) / columns;
  if (rows <= TRIED_ROWS) return await readVector(entry);
  const matrix = { ...entry, shape: [rows, columns] };
  const some = new Float32Array(TRIED_ROWS * columns);
  for (let i = 0; i < TRIED_ROWS; i++) {
    const row = await readVector(rowsOf(matrix, Math.floor(i * rows / TRIED_ROWS), 1));
    some.set(row, i * columns);
  }
  return some;
}
