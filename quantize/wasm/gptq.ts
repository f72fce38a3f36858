/**
 * GPTQ on all threads: sums over inputs, the flow of errors that follows from them, and rows rounded by
 * it. What is computed is defined by quant/gptq.ts and quantize/products.ts; sums are made in another
 * order here, inputs of a text in f32.
 *
 * @module
 */

import { InputError, SparrowError } from "../../errors.ts";
import { elements } from "../../kernels/op.ts";
import { tensorBlocks } from "../../quant/ggml_types.ts";
import { DRIFT_SHARE } from "../../quant/gptq.ts";
import type { TensorEntry } from "../../runtime/files/model_file.ts";
import type { Draft } from "../draft.ts";
import { failed } from "../write.ts";
import { AREA, fail, numbersOf, typeNumber } from "./encode.ts";
import type { Pool, Step } from "./pool.ts";

/** Sums over the inputs of a matrix, in the memory of a pool. */
export interface WasmSums {
  /** Columns of the matrix. */
  readonly columns: number;
  /** Columns of the sums: a multiple of 8. */
  readonly n: number;
  /** Inputs so far. */
  count: number;
  /** Σ z² of each column, of inputs without any rounding. */
  readonly squares: Float64Array;
  /** Σ x² of each column. */
  readonly own: Float64Array;
  /** Where Σ x·xᵀ is, f64 `[n, n]`, its upper triangle; undefined where only squares are wanted. */
  readonly sums?: number;
  /** Where Σ (z − x)·xᵀ is, f32 `[n, n]`. */
  readonly drift?: number;
}

/** Columns of a panel, and how many panels are worked on at once. */
const PANEL = 8, PANELS = 4;
/** Rows and columns of the blocks that a factor is made of (kernels/quantizers/factor.as.ts). */
const STRIP = 64;
/** Rows that are rounded together. */
const ROWS = 32;
/** Floats of the tile that products are computed with. */
const TILE = 256 * 8;
/** Kinds of right-hand matrices of the kernel `multiply` (kernels/quantizers/multiply.as.ts). */
const ANY = 0, UPPER = 2, UPPER_TRANSPOSED = 3;

/** Sums of nothing; `isWhole` where products are wanted beside squares. */
export function noSums(pool: Pool, columns: number, isWhole: boolean): WasmSums {
  const squares = { squares: new Float64Array(columns), own: new Float64Array(columns) };
  const n = Math.ceil(columns / PANEL) * PANEL;
  if (!isWhole) return { ...{ columns, n, count: 0 }, ...squares };
  const sums = pool.reserve(8 * n * n), drift = pool.reserve(4 * n * n);
  for (let row = 0; row < n; row++) {
    pool.doubles(sums + 8 * n * row, n).fill(0);
    pool.floats(drift + 4 * n * row, n).fill(0);
  }
  return { ...{ columns, n, count: 0, sums, drift }, ...squares };
}

/** Adds inputs `[count, columns]`, and what they would be without any rounding. */
export async function addSums(
  pool: Pool,
  it: WasmSums,
  inputs: Float32Array,
  exact: Float32Array,
): Promise<void> {
  const { columns, n, sums, drift, squares, own } = it, count = inputs.length / columns;
  for (let at = 0; at < inputs.length; at += columns) {
    for (let j = 0; j < columns; j++) {
      squares[j]! += exact[at + j]! ** 2;
      own[j]! += inputs[at + j]! ** 2;
    }
  }
  it.count += count;
  if (sums === undefined || drift === undefined) return;
  const mark = pool.mark(), bytes = 4 * inputs.length, packedBytes = 4 * n * count;
  const x = pool.reserve(bytes), z = pool.reserve(bytes);
  const packed = pool.reserve(packedBytes), off = pool.reserve(packedBytes);
  pool.floats(x, inputs.length).set(inputs);
  pool.floats(z, inputs.length).set(exact);
  const panels = n / PANEL;
  await pool.each(panels, PANELS, (first, end) => [
    ["call", "packInputs", x, 0, columns, count, packed, first, end],
    ["call", "packInputs", z, x, columns, count, off, first, end],
  ]);
  await pool.each(panels, PANELS, (first, end) => [
    ["call", "addSums", packed, packed, n, count, sums, 1, first, end],
    ["call", "addSums", off, packed, n, count, drift, 0, first, end],
  ]);
  pool.release(mark);
}

/** The sums as they are when each input is divided by its scale. */
export function divideSums(pool: Pool, it: WasmSums, scales: Float32Array): void {
  const { n, columns, sums, drift, own } = it;
  own.forEach((sum, j) => own[j] = sum / scales[j]! ** 2);
  if (sums === undefined || drift === undefined) return;
  for (let i = 0; i < columns; i++) {
    const line = pool.doubles(sums + 8 * n * i, n), off = pool.floats(drift + 4 * n * i, n);
    for (let j = 0; j < columns; j++) {
      const scale = scales[i]! * scales[j]!;
      line[j]! /= scale;
      off[j]! /= scale;
    }
  }
}

/** Adds to sums as much of others as if `count` inputs had come from there; of their drift nothing. */
export function addShare(pool: Pool, it: WasmSums, others: WasmSums, count: number): void {
  const share = count / others.count, { n } = it;
  it.count += count;
  others.own.forEach((sum, j) => it.own[j]! += share * sum);
  if (it.sums === undefined || others.sums === undefined) return;
  for (let i = 0; i < n; i++) {
    const line = pool.doubles(it.sums + 8 * n * i, n);
    const other = pool.doubles(others.sums + 8 * n * i, n);
    for (let j = i; j < n; j++) line[j]! += share * other[j]!;
  }
}

/** The mean square of each input `[columns]`. */
export function meansOf({ own, count }: WasmSums): Float32Array {
  return Float32Array.from(own, (sum) => count > 0 ? sum / count : 0);
}

/** What rows are rounded by. */
export interface WasmFlow {
  readonly n: number;
  /** Where U is, f32 `[n, n]`. */
  readonly upper: number;
  /** Where importances are, f32 `[n]`. */
  readonly importances: number;
  /** Where the sums of drift are, f32 `[n, n]`. */
  readonly drift: number;
}

/**
 * The flow of errors of some sums, in their place: they are no sums after that.
 *
 * @throws InputError when they cannot be inverted
 */
export async function flowOf(
  pool: Pool,
  { n, columns, sums, drift }: WasmSums,
  damping: number = 0.01,
): Promise<WasmFlow> {
  const m = sums!, importances = pool.reserve(4 * n), diagonal = pool.reserve(8 * n);
  let mean = 0;
  for (let j = 0; j < n; j++) {
    const value = pool.doubles(m + 8 * j * (n + 1), 1)[0]!;
    pool.doubles(diagonal + 8 * j, 1)[0] = value;
    mean += value / columns;
  }
  if (!Number.isFinite(mean)) {
    throw new InputError(`Cannot prepare GPTQ: the mean square of its inputs is ${mean}`);
  }
  if (mean === 0) mean = 1;
  await pool.each(n, STRIP, (first, end) => [["call", "mirrorRows", m, n, first, end]]);
  for (let share = damping, tries = 0; !await factor(pool, m, n, diagonal, share * mean);) {
    share = Math.max(10 * share, 1e-6);
    if (++tries === 8) {
      throw new InputError(
        "Cannot prepare GPTQ: the sums of its inputs cannot be inverted; give other texts to " +
          "calibrate on",
      );
    }
  }
  await invert(pool, m, n);
  const weights = pool.floats(importances, n);
  for (let j = 0; j < n; j++) weights[j] = 1 / pool.floats(m + 4 * j * (n + 1), 1)[0]! ** 2;
  return { ...{ n, importances, upper: m, drift: drift! } };
}

/** M with H + damping = M·Mᵀ in the upper triangle; whether H is positive. */
async function factor(
  pool: Pool,
  m: number,
  n: number,
  diagonal: number,
  damping: number,
): Promise<boolean> {
  await pool.each(n, STRIP, (first, end) => [
    ["call", "restoreRows", m, n, diagonal, damping, first, end],
  ]);
  for (let from = Math.floor((n - 1) / STRIP) * STRIP; from >= 0; from -= STRIP) {
    const end = Math.min(n, from + STRIP);
    const isPositive = await pool.each(1, 1, () => [["call", "factorBlock", m, n, from, end]]);
    if (!isPositive) return false;
    await pool.each(from, STRIP, (first, last) => [
      ["call", "solveRows", m, n, from, end, first, last],
    ]);
    await pool.each(from, STRIP / 2, (first, last) => [
      ["call", "reduceRows", m, n, from, end, first, last],
    ]);
  }
  return true;
}

/** M⁻¹ as f32 rows where M was. */
async function invert(pool: Pool, m: number, n: number): Promise<void> {
  const mark = pool.mark(), { threads } = pool;
  const strips = Array.from({ length: threads }, () => pool.reserve(8 * STRIP * n));
  for (let batch = 0; batch < n; batch += STRIP * threads) {
    const firsts = strips.map((_, i) => batch + STRIP * i).filter((it) => it < n);
    // Rows of M are needed by those before them, never by those behind: these are done.
    await pool.each(
      firsts.length,
      1,
      (i) => [["call", "invertRows", m, n, firsts[i]!, strips[i]!]],
    );
    for (const [i, first] of firsts.entries()) {
      const rows = Math.min(STRIP, n - first);
      await pool.each(1, 1, () => [["call", "narrowRows", strips[i]!, n, m, first, rows]]);
    }
  }
  pool.release(mark);
}

/**
 * Rounds a matrix and writes it into a draft.
 *
 * @param correction what `correctionOf` gave, where it gave something
 * @param scales what each column is multiplied with first
 * @param part which of the equal parts of the draft's tensor the matrix is
 */
export async function gptqTensor(
  pool: Pool,
  entry: TensorEntry,
  type: string,
  draft: Draft,
  { n, upper, importances, drift }: WasmFlow,
  correction: number | undefined,
  scales: Float32Array | undefined,
  part = 0,
): Promise<void> {
  const { blockSize, blockBytes } = tensorBlocks(type)!, columns = entry.shape.at(-1)!;
  const rows = elements(entry.shape) / columns;
  const rowBytes = columns / blockSize * blockBytes, mark = pool.mark();
  const numbers = numbersOf(pool, entry);
  const offset = draft.placeOf(entry.name).offset + part * rows * rowBytes;
  try {
    const factors = scales ? pool.reserve(4 * columns) : 0;
    if (scales) pool.floats(factors, columns).set(scales);
    const areas = Array.from({ length: pool.threads }, () => ({
      source: pool.reserve(numbers.bytesOf(columns) * ROWS),
      values: pool.reserve(4 * columns * ROWS),
      x: pool.reserve(4 * n * ROWS),
      followed: pool.reserve(4 * n * ROWS),
      between: pool.reserve(4 * n * ROWS),
      out: pool.reserve(rowBytes * ROWS),
      area: pool.reserve(AREA + 1024 * ROWS + 4 * TILE),
    }));
    const isSound = await pool.each(rows, ROWS, async (first, end, thread) => {
      const { source, values, x, followed, between, out, area } = areas[thread]!;
      const own = end - first, whole = Math.ceil(own / 4) * 4, tile = area + AREA + 1024 * ROWS;
      const steps: Step[] = [
        ...await numbers.bring(first * columns, own * columns, source),
        ["call", "decode", typeNumber(numbers.type), source, own * columns, values],
        ["call", "spreadRows", values, columns, own, factors, n, x],
      ];
      pool.floats(x + 4 * n * own, n * (whole - own)).fill(0);
      // What makes up for the drift of the inputs (`driftCorrection` and `followDrift`).
      steps.push(["call", "copyRows", x, followed, n, whole]);
      if (correction !== undefined) {
        steps.push(["call", "multiply", x, correction, followed, n, ANY, 1, 0, whole, tile]);
      } else {
        steps.push(
          ["call", "clearRows", between, n, whole],
          ["call", "multiply", x, drift, between, n, ANY, DRIFT_SHARE, 0, whole, tile],
          ["call", "clearRows", x, n, whole],
          ["call", "multiply", between, upper, x, n, UPPER_TRANSPOSED, 1, 0, whole, tile],
          ["call", "multiply", x, upper, followed, n, UPPER, 1, 0, whole, tile],
        );
      }
      steps.push(
        ["call", "gptqRows", typeNumber(type), followed, n, columns, whole]
          .concat([upper, importances, out, area]) as unknown as Step,
        ["write", draft.path, offset + first * rowBytes, out, own * rowBytes],
      );
      return steps;
    });
    if (!isSound) await fail(entry, type, columns);
  } catch (error) {
    throw error instanceof SparrowError ? error : failed(draft.path, error);
  } finally {
    pool.release(mark);
  }
}

/**
 * Where share · D·H⁻¹ is, f32 `[n, n]`: worth its cost where more rows than columns are corrected by it,
 * else undefined.
 */
export async function correctionOf(
  pool: Pool,
  { n, upper, drift }: WasmFlow,
  rows: number,
  share: number = DRIFT_SHARE,
): Promise<number | undefined> {
  if (rows <= n) return undefined;
  const between = pool.reserve(4 * n * n);
  const tiles = Array.from({ length: pool.threads }, () => pool.reserve(4 * TILE));
  await pool.each(n, STRIP, (first, end, thread) => {
    const at = 4 * n * first, count = end - first, tile = tiles[thread]!;
    // Rows of D are read before they are written.
    return [
      ["call", "clearRows", between + at, n, count],
      ["call", "multiply", drift, upper, between, n, UPPER_TRANSPOSED, share, first, end, tile],
      ["call", "clearRows", drift + at, n, count],
      ["call", "multiply", between, upper, drift, n, UPPER, 1, first, end, tile],
    ];
  });
  return drift;
}
