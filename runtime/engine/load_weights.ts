/**
 * Weights from their files into a backend: by the backend's own means where it has them, else read
 * here, converted and handed on piece by piece.
 *
 * @module
 */

import { quote } from "../../escape.ts";
import { elements } from "../../kernels/op.ts";
import { transcoder } from "../../quant/transcode.ts";
import type { Backend, FileRange, LoadRangesOptions } from "../backends/backend.ts";
import type { TensorEntry } from "../files/model_file.ts";
import type { ByteSource } from "../files/source.ts";
import { stacked } from "../files/views.ts";
import type { ResolvedWeight, ResolvedWeights } from "../models/weights.ts";

/** Bytes of file that are read, converted and handed on at a time. */
const CHUNK_BYTES = 2 ** 20;

/** How `loadWeights` reports, and what ends it. */
export interface LoadWeightsOptions {
  /** Called with bytes of the file. */
  readonly onProgress?: ((loaded: number, total: number) => void) | undefined;
  /** Ends it with its reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Brings every weight into the backend, but for tables that stay in the file: by the backend's own
 * means where it has them, else in chunks of about a megabyte, of which one is held at any time.
 *
 * @throws SourceError when something cannot be read, or a local file has been written meanwhile
 * @throws ModelError when a value cannot be held by its layout
 */
export async function loadWeights(
  weights: ResolvedWeights,
  backend: Backend,
  options: LoadWeightsOptions = {},
): Promise<void> {
  try {
    await bringWeights(weights, backend, options);
  } catch (error) {
    // What is wrong may come of this.
    if (!options.signal?.aborted) await checkUnchanged(weights);
    throw error;
  }
  await checkUnchanged(weights);
}

/** Throws a `SourceError` when a file has been written since it was opened. */
async function checkUnchanged(weights: ResolvedWeights): Promise<void> {
  const sources = new Set<ByteSource>();
  for (const { source } of weights.values()) {
    if (typeof source !== "function") { for (const entry of source) sources.add(entry.source); }
  }
  for (const source of sources) await source.unchanged?.();
}

async function bringWeights(
  weights: ResolvedWeights,
  backend: Backend,
  { onProgress, signal }: LoadWeightsOptions,
): Promise<void> {
  const ranges: FileRange[] = [];
  for (const weight of weights.values()) {
    if (!weight.inFile && typeof weight.source !== "function") {
      ranges.push(...rangesOf(weight, weight.source));
    }
  }
  const order = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0;
  ranges.sort((a, b) => order(a.source.name, b.source.name) || a.offset - b.offset);
  const total = ranges.reduce((sum, { bytes }) => sum + bytes, 0);
  let loaded = 0;
  const options = {
    signal,
    onStored: (bytes: number): void => onProgress?.(loaded += bytes, total),
  };
  const stored = backend.loadRanges?.(ranges, options);
  stored?.catch(() => {}); // it is awaited below
  try {
    // What is computed is computed while files are being read.
    for (const { name, source } of weights.values()) {
      if (typeof source !== "function") continue;
      const { buffer, byteOffset, byteLength } = await source();
      await backend.writeRows(name, 0, new Uint8Array(buffer, byteOffset, byteLength));
    }
  } finally {
    await stored;
  }
  if (!stored) await streamRanges(ranges, weights, backend, options);
}

/** One range for each tensor, so that all are read in the order of the file, where that is possible. */
function rangesOf(
  { name, role, shape, layout }: ResolvedWeight,
  entries: readonly TensorEntry[],
): FileRange[] {
  const rows = role === "matrix" ? shape[0]! : 1;
  const total = entries.reduce((sum, { bytes }) => sum + bytes, 0);
  const rowsIn = ({ bytes }: TensorEntry): number => rows * bytes / total;
  const rangeOf = (firstRow: number, entry: TensorEntry): FileRange => {
    const { source, offset, bytes, type } = entry;
    const convert = transcoder(
      type,
      layout,
      `tensor ${quote(entry.name)} of ${quote(source.name)}`,
    );
    return { name, firstRow, rows: rowsIn(entry), source, offset, bytes, convert };
  };
  // Backends want rows in multiples of 16.
  const pieces = entries.slice(0, -1).every((it) => rowsIn(it) % 16 === 0)
    ? entries
    : [stacked(entries)];
  let firstRow = 0;
  return pieces.map((entry) => {
    const range = rangeOf(firstRow, entry);
    firstRow += range.rows;
    return range;
  });
}

/** Reads, converts and writes ranges one after the other. */
async function streamRanges(
  ranges: readonly FileRange[],
  weights: ResolvedWeights,
  backend: Backend,
  { onStored, signal }: LoadRangesOptions,
): Promise<void> {
  const rowsAtOnce = ({ bytes, rows }: FileRange): number =>
    Math.min(rows, Math.max(16, Math.floor(CHUNK_BYTES * rows / bytes / 16) * 16));
  const most = ranges.map((range) => rowsAtOnce(range) * range.bytes / range.rows);
  const chunk = new Uint8Array(Math.max(0, ...most));
  for (const range of ranges) {
    const { name, firstRow, rows, source, offset, bytes, convert } = range;
    const { role, shape } = weights.get(name)!;
    const columns = role === "matrix" ? shape[1]! : elements(shape);
    const stride = bytes / rows, step = rowsAtOnce(range);
    for (let row = 0; row < rows; row += step) {
      signal?.throwIfAborted();
      const length = Math.min(step, rows - row) * stride;
      const read = await source.read(offset + row * stride, length, chunk);
      await backend.writeRows(name, firstRow + row, convert.rows(read, columns));
      onStored(length);
    }
  }
}
