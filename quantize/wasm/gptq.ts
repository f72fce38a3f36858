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
  /** Σ z² of each column, of inputs without any rounding; in the memory too. */
  readonly squares: Float64Array;
  /** Σ x² of each column; in the memory too. */
  readonly own: Float64Array;
  /** Where Σ x·xᵀ is, f64 `[n, n]`, its upper triangle; undefined where only squares are wanted. */
  readonly sums?: number;
  /** Where Σ (z − x)·xᵀ is, f32 `[n, n]` in panels. */
  readonly drift?: number;
}

/** Columns of a panel, and how many panels are worked on at once. */
const PANEL = 8, PANELS = 4;
/** Rows and columns of the blocks that a factor is made of (kernels/quantizers/factor.as.ts). */
const STRIP = 64;
/** Inputs that are summed in whole numbers, at most (kernels/quantizers/sums.as.ts). */
const INPUTS = 512;
/** Rows that are rounded together, at most. */
const ROWS = 64;
/** Kinds of right-hand matrices of the kernel `multiply` (kernels/quantizers/multiply.as.ts). */
const ANY = 0, UPPER = 1, LOWER = 2;
/** Bytes of what a block leaves for the steps after it (kernels/quantizers/factor.as.ts). */
const BLOCK = 98304;
/** Panels of a block's rows of the inverse that are made together. */
const EXTENDED = 16;

/** Bytes between the panels of a matrix of `n` columns: no power of two, which caches take badly. */
function panelBytesOf(n: number): number {
  return 4 * PANEL * n + 64;
}

/** Bytes of an f32 matrix `[n, n]` in panels. */
function bytesInPanels(n: number): number {
  return n / PANEL * panelBytesOf(n);
}

/** Floats between rows that lie one after another; see `panelBytesOf`. */
function strideOf(n: number): number {
  return n + 16;
}

/** Makes steps that multiply `rows` rows of `n` columns, as they lie one after another, with panels. */
function multiplier(
  rows: number,
  n: number,
): (a: number, b: number, kind: number, out: number) => Step {
  return (a, b, kind, out) => {
    const place = [a, 4 * strideOf(n), rows, b, panelBytesOf(n), n] as const;
    return ["call", "multiply", ...place, kind, out];
  };
}

/** Sums of nothing; `isWhole` where products are wanted beside squares. */
export function noSums(pool: Pool, columns: number, isWhole: boolean): WasmSums {
  const n = Math.ceil(columns / PANEL) * PANEL;
  const squares = (): Float64Array =>
    pool.doubles(pool.reserve(8 * n), n).fill(0).subarray(0, columns);
  const none = { columns, n, count: 0, squares: squares(), own: squares() };
  if (!isWhole) return none;
  const sums = pool.reserve(8 * n * n), drift = pool.reserve(bytesInPanels(n));
  for (let row = 0; row < n; row++) pool.doubles(sums + 8 * n * row, n).fill(0);
  for (let panel = 0; panel < n / PANEL; panel++) {
    pool.bytes(drift + panelBytesOf(n) * panel, panelBytesOf(n)).fill(0);
  }
  return { ...none, sums, drift };
}

/** Adds inputs `[count, columns]`, and what they would be without any rounding. */
export async function addSums(
  pool: Pool,
  it: WasmSums,
  inputs: Float32Array,
  exact: Float32Array,
): Promise<void> {
  const { columns, n, sums, drift, squares, own } = it, panels = n / PANEL;
  const most = Math.min(INPUTS, inputs.length / columns), mark = pool.mark();
  const x = pool.reserve(4 * columns * most), z = pool.reserve(4 * columns * most);
  const packedBytes = 2 * n * (most + most % 2);
  const [packed, off] = sums === undefined
    ? []
    : [pool.reserve(packedBytes), pool.reserve(packedBytes)];
  const scales = pool.reserve(4 * n), offScales = pool.reserve(4 * n);
  for (let at = 0; at < inputs.length; at += columns * most) {
    const some = inputs.subarray(at, at + columns * most), count = some.length / columns;
    pool.floats(x, some.length).set(some);
    pool.floats(z, some.length).set(exact.subarray(at, at + some.length));
    await pool.each(panels, PANELS, (first, end): readonly Step[] => [
      ["call", "addSquares", x, columns, count, own.byteOffset, first, end],
      ["call", "addSquares", z, columns, count, squares.byteOffset, first, end],
      ...(packed === undefined || off === undefined ? [] : [
        ["call", "packInputs", x, 0, columns, count, packed, scales, first, end],
        ["call", "packInputs", x, z, columns, count, off, offScales, first, end],
      ] as const),
    ]);
    it.count += count;
    if (sums === undefined || drift === undefined || packed === undefined || off === undefined) {
      continue;
    }
    await pool.each(panels, PANELS, (first, end) => [
      ["call", "addSums", packed, scales, packed, scales, n, count, sums, 0, first, end],
      ["call", "addSums", off, offScales, packed, scales, n, count, drift, panelBytesOf(n)]
        .concat([first, end]) as unknown as Step,
    ]);
  }
  pool.release(mark);
}

/** The sums as they are when each input is divided by its scale. */
export async function divideSums(pool: Pool, it: WasmSums, scales: Float32Array): Promise<void> {
  const { n, columns, sums, drift, own } = it;
  own.forEach((sum, j) => own[j] = sum / scales[j]! ** 2);
  if (sums === undefined || drift === undefined) return;
  const mark = pool.mark(), inverse = pool.reserve(4 * n);
  pool.floats(inverse, n).fill(0).set(scales.map((it) => 1 / it).subarray(0, columns));
  await pool.each(n, STRIP, (first, end) => [
    ["call", "divideSums", sums, drift, panelBytesOf(n), n, inverse, first, end],
  ]);
  pool.release(mark);
}

/** Adds to sums as much of others as if `count` inputs had come from there; of their drift nothing. */
export async function addShare(
  pool: Pool,
  it: WasmSums,
  others: WasmSums,
  count: number,
): Promise<void> {
  const share = count / others.count, { n, sums } = it;
  it.count += count;
  others.own.forEach((sum, j) => it.own[j]! += share * sum);
  if (sums === undefined || others.sums === undefined) return;
  const more = others.sums;
  await pool.each(
    n,
    STRIP,
    (first, end) => [["call", "addShare", sums, more, n, share, first, end]],
  );
}

/** The mean square of each input `[columns]`. */
export function meansOf({ own, count }: WasmSums): Float32Array {
  return Float32Array.from(own, (sum) => count > 0 ? sum / count : 0);
}

/** What rows are rounded by; matrices are in panels. */
export interface WasmFlow {
  readonly n: number;
  /** Where U is, f32 `[n, n]`, of which nothing below the diagonal is read. */
  readonly upper: number;
  /** Where its transpose is, of which nothing above the diagonal is read. */
  readonly lower: number;
  /** Where importances are, f32 `[n]`. */
  readonly importances: number;
  /** Where the sums of drift are, f32 `[n, n]`. */
  readonly drift: number;
}

/**
 * The flow of errors of some sums, partly in their place: they are no sums after that.
 *
 * @throws InputError when they cannot be inverted
 */
export async function flowOf(
  pool: Pool,
  { n, columns, sums, drift }: WasmSums,
  damping: number = 0.01,
): Promise<WasmFlow> {
  const m = sums!, importances = pool.reserve(4 * n), diagonal = pool.reserve(8 * n);
  const panelBytes = panelBytesOf(n), upper = pool.reserve(bytesInPanels(n));
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
  await pool.each(n, STRIP, (first, end) => [["call", "narrowRows", m, n, first, end]]);
  for (let share = damping, tries = 0; !await invert(pool, m, n, diagonal, share * mean, upper);) {
    share = Math.max(10 * share, 1e-6);
    if (++tries === 8) {
      throw new InputError(
        "Cannot prepare GPTQ: the sums of its inputs cannot be inverted; give other texts to " +
          "calibrate on",
      );
    }
  }
  // The factor's place is free now, which is large enough.
  const panels = n / PANEL, lower = m;
  await pool.each(panels, PANELS, (first, end) => [
    ["call", "transposePanels", upper, panelBytes, n, lower, first, end],
  ]);
  const weights = pool.floats(importances, n);
  for (let j = 0; j < n; j++) {
    const at = upper + panelBytes * Math.floor(j / PANEL) + 4 * PANEL * j + 4 * (j % PANEL);
    weights[j] = 1 / pool.floats(at, 1)[0]! ** 2;
  }
  return { ...{ n, importances, upper, lower, drift: drift! } };
}

/** U = M⁻¹, H + damping = M·Mᵀ, from the last block of rows on; whether H is positive. */
async function invert(
  pool: Pool,
  m: number,
  n: number,
  diagonal: number,
  damping: number,
  upper: number,
): Promise<boolean> {
  const mark = pool.mark(), panelBytes = panelBytesOf(n), panels = n / PANEL;
  const block = pool.reserve(BLOCK), rowStride = 4 * strideOf(n);
  const [minus, turned] = [pool.reserve(4 * STRIP * n), pool.reserve(4 * STRIP * n)];
  const rows = pool.reserve(STRIP * rowStride);
  const areas = Array.from(
    { length: pool.threads },
    () => pool.reserve(4 * STRIP * PANEL * EXTENDED),
  );
  await pool.each(n, STRIP, (first, end) => [
    ["call", "restoreRows", m, n, diagonal, damping, first, end],
  ]);
  let isPositive = true;
  for (let from = Math.floor((n - 1) / STRIP) * STRIP; from >= 0; from -= STRIP) {
    const end = Math.min(n, from + STRIP), size = end - from;
    isPositive = await pool.each(1, 1, () => [
      ["call", "factorBlock", m, n, from, end, upper, panelBytes, block, rows, rowStride],
    ]);
    if (!isPositive) break;
    await pool.each(from, STRIP, (first, last) => [
      ["call", "solveRows", m, n, from, end, block, minus, turned, first, last],
    ]);
    await pool.each(from, STRIP / 2, (first, last) => [
      ["call", "reduceRows", m, n, from, size, minus, turned, first, last],
    ]);
    const behind = end / PANEL;
    await pool.each(panels - behind, EXTENDED, (first, last, thread) => [
      ["call", "extendInverse", n, from, end, upper, panelBytes, block, rows, rowStride]
        .concat([areas[thread]!, behind + first, behind + last]) as unknown as Step,
    ]);
  }
  pool.release(mark);
  return isPositive;
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
  { n, upper, lower, importances, drift }: WasmFlow,
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
    // Few rows are shared by all threads.
    const most = Math.min(ROWS, Math.ceil(rows / pool.threads / 4) * 4);
    const stride = 4 * strideOf(n), panelBytes = panelBytesOf(n);
    const areas = Array.from({ length: pool.threads }, () => ({
      source: pool.reserve(numbers.bytesOf(columns) * most),
      values: pool.reserve(4 * columns * most),
      x: pool.reserve(stride * most),
      followed: pool.reserve(stride * most),
      between: pool.reserve(stride * most),
      out: pool.reserve(rowBytes * most),
      area: pool.reserve(AREA + 1024 * most),
    }));
    const isSound = await pool.each(rows, most, async (first, end, thread) => {
      const { source, values, x, followed, between, out, area } = areas[thread]!;
      const own = end - first, whole = Math.ceil(own / 4) * 4, bytes = stride * whole;
      const steps: Step[] = [
        ...await numbers.bring(first * columns, own * columns, source),
        ["call", "clear", x, bytes],
        ["call", "decode", typeNumber(numbers.type), source, own * columns, values],
        ["call", "spreadRows", values, columns, own, factors, strideOf(n), x],
      ];
      const multiply = multiplier(whole, n);
      // What makes up for the drift of the inputs (`driftCorrection` and `followDrift`).
      steps.push(["call", "copy", x, followed, bytes]);
      if (correction !== undefined) steps.push(multiply(x, correction, ANY, followed));
      else {
        steps.push(
          ["call", "clear", between, bytes],
          multiply(x, drift, ANY, between),
          ["call", "scaleNumbers", between, bytes, DRIFT_SHARE],
          ["call", "clear", x, bytes],
          multiply(between, lower, LOWER, x),
          multiply(x, upper, UPPER, followed),
        );
      }
      steps.push(
        ["call", "gptqRows", typeNumber(type), followed, stride, n, columns, whole]
          .concat([upper, panelBytes, importances, out, area]) as unknown as Step,
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
 * Where share · D·H⁻¹ is, f32 `[n, n]` in panels: worth its cost where more rows than columns are
 * corrected by it, else undefined.
 */
export async function correctionOf(
  pool: Pool,
  { n, upper, lower, drift }: WasmFlow,
  rows: number,
  share: number = DRIFT_SHARE,
): Promise<number | undefined> {
  if (rows <= n) return undefined;
  const mark = pool.mark(), stride = 4 * strideOf(n), panelBytes = panelBytesOf(n);
  const areas = Array.from({ length: pool.threads }, () => ({
    own: pool.reserve(stride * STRIP),
    between: pool.reserve(stride * STRIP),
  }));
  await pool.each(n, STRIP, (first, end, thread) => {
    const { own, between } = areas[thread]!, count = end - first, bytes = stride * count;
    const out = drift + 4 * PANEL * first;
    const multiply = multiplier(count, n);
    // Rows of D are read before they are written.
    return [
      ["call", "unpackRows", drift, panelBytes, n, first, count, own, stride],
      ["call", "scaleNumbers", own, bytes, share],
      ["call", "clear", between, bytes],
      multiply(own, lower, LOWER, between),
      ["call", "clear", own, bytes],
      multiply(between, upper, UPPER, own),
      ["call", "packRows", own, stride, n, count, out, panelBytes],
    ];
  });
  pool.release(mark);
  return drift;
}
