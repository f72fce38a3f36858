// embedF32 … embedInt6k: rows of a packed table (kernels/pack/layouts.ts) by index, as f32. They
// read single rows out of panels, so that a table shared with the output matrix is stored once.

import { shareStart } from "../common.as";
import {
  BF16,
  F16,
  F32,
  INT4,
  INT4K,
  INT4K_BLOCK,
  INT4M,
  INT4N,
  INT4N_BLOCK,
  INT5,
  INT5_BLOCK,
  INT5K,
  INT5K_BLOCK,
  INT5M,
  INT5M_BLOCK,
  INT6K,
  INT6K_BLOCK,
  INT8,
  PANEL_HEADER as HEADER,
} from "../constants.as";
import {
  codeBytes,
  codesAt,
  hasMinimums,
  hasRest,
  Int4k,
  Int4n,
  Int5,
  Int5k,
  Int5m,
  Int6k,
  is,
  sharedHalves,
} from "../matmul/fine_codes.as";
import { nonlinearCodes } from "../pack/codes.as";


/**
 * args: ids (i32), table (packed), out (f32), columns, address of the id count, the id of the table's
 * first row, rows; ids that are none of them give zeros.
 */
export function embedInt4(args: usize, worker: i32, workers: i32): void {
  embedRows(args, worker, workers, INT4);
}

/** args as `embedInt4`. */
export function embedInt4m(args: usize, worker: i32, workers: i32): void {
  embedRows(args, worker, workers, INT4M);
}

/** args as `embedInt4`. */
export function embedInt8(args: usize, worker: i32, workers: i32): void {
  embedRows(args, worker, workers, INT8);
}

/** args as `embedInt4`. */
export function embedInt4n(args: usize, worker: i32, workers: i32): void {
  embedRows(args, worker, workers, INT4N);
}

/** args as `embedInt4`. */
export function embedInt5(args: usize, worker: i32, workers: i32): void {
  embedRows(args, worker, workers, INT5);
}

/** args as `embedInt4`. */
export function embedInt5m(args: usize, worker: i32, workers: i32): void {
  embedRows(args, worker, workers, INT5M);
}

/** args as `embedInt4`. */
export function embedInt4k(args: usize, worker: i32, workers: i32): void {
  embedRows(args, worker, workers, INT4K);
}

/** args as `embedInt4`. */
export function embedInt5k(args: usize, worker: i32, workers: i32): void {
  embedRows(args, worker, workers, INT5K);
}

/** args as `embedInt4`. */
export function embedInt6k(args: usize, worker: i32, workers: i32): void {
  embedRows(args, worker, workers, INT6K);
}

/** args as `embedInt4`. */
export function embedF32(args: usize, worker: i32, workers: i32): void {
  embedRows(args, worker, workers, F32);
}

/** args as `embedInt4`. */
export function embedF16(args: usize, worker: i32, workers: i32): void {
  embedRows(args, worker, workers, F16);
}

/** args as `embedInt4`. */
export function embedBf16(args: usize, worker: i32, workers: i32): void {
  embedRows(args, worker, workers, BF16);
}

function embedRows(args: usize, worker: i32, workers: i32, layout: i32): void {
  const ids = load<usize>(args);
  const table = load<usize>(args, 4);
  const columns = load<i32>(args, 12);
  const count = load<i32>(load<usize>(args, 16));
  const first = load<i32>(args, 20);
  const rows = load<u32>(args, 24);
  const end = shareStart(count, worker + 1, workers);
  for (let t = shareStart(count, worker, workers); t < end; t++) {
    const id = load<i32>(ids + (<usize> t << 2)) - first;
    const y = load<usize>(args, 8) + (<usize> t * columns << 2);
    if (<u32> id >= rows) memory.fill(y, 0, <usize> columns << 2);
    else if (layout == INT4) nibbleRow(table, id, columns, y, 288, false);
    else if (layout == INT4M) nibbleRow(table, id, columns, y, 320, true);
    else if (layout == INT8) byteRow(table, id, columns, y);
    else if (layout == INT4N) fineRow<Int4n>(INT4N_BLOCK, table, id, columns, y);
    else if (layout == INT5) fineRow<Int5>(INT5_BLOCK, table, id, columns, y);
    else if (layout == INT5M) fineRow<Int5m>(INT5M_BLOCK, table, id, columns, y);
    else if (layout == INT4K) fineRow<Int4k>(INT4K_BLOCK, table, id, columns, y);
    else if (layout == INT5K) fineRow<Int5k>(INT5K_BLOCK, table, id, columns, y);
    else if (layout == INT6K) fineRow<Int6k>(INT6K_BLOCK, table, id, columns, y);
    else if (layout == F32) floatRow(table, id, columns, y);
    else halfRow(table, id, columns, y, layout);
  }
}

/** First block of a panel whose blocks are `bytes` long in all. */
function panelAt(table: usize, panel: i32, bytes: usize): usize {
  return table + <usize> panel * (HEADER + bytes) + HEADER;
}

/** A half as f32, exactly; `factor` is in the header of its panel. */
function half(at: usize, factor: f32): f32 {
  const h = load<i16>(at);
  const value = reinterpret<f32>((<i32> h << 13) & 0x8fffffff) * factor;
  if ((h & 0x7c00) != 0x7c00) return value;
  return reinterpret<f32>(reinterpret<i32>(value) | 0x7f800000);
}

@inline
function nibbleRow(
  table: usize,
  id: i32,
  columns: i32,
  y: usize,
  blockBytes: usize,
  hasMin: bool,
): void {
  const r = id & 15;
  let block = panelAt(table, id >> 4, <usize> ((columns + 31) >> 5) * blockBytes);
  const factor = load<f32>(block - HEADER, 4);
  for (let start = 0; start < columns; start += 32) {
    const d = half(block + (r << 1), factor);
    const m = hasMin ? half(block + 32 + (r << 1), factor) : 0;
    const bytes = block + (hasMin ? 64 : 32) + ((r >> 2) << 6) + ((r & 3) << 2);
    const count = min(columns - start, 32);
    for (let k = 0; k < count; k++) {
      const i = k & 15;
      const pair = <i32> load<u8>(bytes + ((i >> 2) << 4) + (i & 3));
      const q = k < 16 ? pair & 15 : pair >> 4;
      store<f32>(y, hasMin ? d * <f32> q + m : d * <f32> (q - 8));
      y += 4;
    }
    block += blockBytes;
  }
}

function byteRow(table: usize, id: i32, columns: i32, y: usize): void {
  const r = id & 15;
  let block = panelAt(table, id >> 4, <usize> ((columns + 31) >> 5) * 544);
  const factor = load<f32>(block - HEADER, 4);
  for (let start = 0; start < columns; start += 32) {
    const d = half(block + (r << 1), factor);
    const bytes = block + 32 + ((r >> 2) << 7) + ((r & 3) << 2);
    const count = min(columns - start, 32);
    for (let k = 0; k < count; k++) {
      // Bytes 0 … 3 of a lane are k = 0, 2, 1, 3; those of k = 0 and 1 have 128 added.
      const at = bytes + ((k >> 2) << 4) + ((k & 1) << 1) + ((k & 2) >> 1);
      const q = k & 2 ? <i32> load<i8>(at) : <i32> load<u8>(at) - 128;
      store<f32>(y, d * <f32> q);
      y += 4;
    }
    block += 544;
  }
}

/** The layouts of kernels/matmul/fine_codes.as.ts. Products with multiples are exact in f32. */
@inline
function fineRow<L>(
  blockBytes: usize,
  table: usize,
  id: i32,
  columns: i32,
  y: usize,
): void {
  const r = id & 15;
  const blocks = (columns + 31) >> 5;
  const shared = sharedHalves<L>();
  let block = panelAt(table, id >> 4, <usize> blocks * blockBytes + <usize> ((blocks + 7) >> 3) * shared);
  const factor = load<f32>(block - HEADER, 4);
  let halves = block;
  for (let b = 0; b < blocks; b++) {
    if (shared == 0 || (b & 7) == 0) {
      halves = block + (r << 1);
      block += shared;
    }
    let d = half(halves, factor);
    let m: f32 = hasMinimums<L>() ? half(halves + 32, factor) : 0;
    const multiples = block + (r << 1);
    if (is<L, Int4k>() || is<L, Int5k>()) {
      d = d * <f32> load<u8>(multiples);
      m = -(m * <f32> load<u8>(multiples, 1));
    }
    const count = min(columns - (b << 5), 32);
    for (let k = 0; k < count; k++) {
      if (is<L, Int6k>()) {
        const scale = d * <f32> load<i8>(multiples + (k >> 4));
        store<f32>(y, scale * <f32> (fineCode<L>(block, r, k) - 32));
      } else if (is<L, Int4n>()) {
        const q = <u8> fineCode<L>(block, r, k);
        const number = i8x16.extract_lane_s(i8x16.swizzle(nonlinearCodes(), i8x16.splat(q)), 0);
        store<f32>(y, d * <f32> number);
      } else if (is<L, Int5>()) {
        store<f32>(y, d * <f32> (fineCode<L>(block, r, k) - 16));
      } else store<f32>(y, d * <f32> fineCode<L>(block, r, k) + m);
      y += 4;
    }
    block += blockBytes;
  }
}

/** The code of element `k` of row `r` of a block. */
@inline
function fineCode<L>(block: usize, r: i32, k: i32): i32 {
  const at = block + codesAt<L>() + <usize> (r >> 2) * codeBytes<L>() +
    <usize> (((r & 3) << 2) + (k & 3));
  const j = k >> 2;
  if (!hasRest<L>()) return byteAt(at, j & 3) >> (j & 4) & 15;
  if (is<L, Int6k>()) {
    const first = j < 4 ? 0 : 3; // vector of four codes
    if ((j & 3) < 3) return byteAt(at, first + (j & 3)) & 63;
    return byteAt(at, first) >> 6 | byteAt(at, first + 1) >> 6 << 2 |
      byteAt(at, first + 2) >> 6 << 4;
  }
  if (j < 5) return byteAt(at, j) & 31;
  if (j < 7) {
    const first = j == 5 ? 0 : 2;
    return byteAt(at, first) >> 5 | (byteAt(at, first + 1) >> 5 & 3) << 3;
  }
  return byteAt(at, 4) >> 5 | byteAt(at, 1) >> 7 << 3 | byteAt(at, 3) >> 7 << 4;
}

/** The byte at `at` in the vector `i` from there. */
@inline
function byteAt(at: usize, i: i32): i32 {
  return load<u8>(at + (<usize> i << 4));
}

function floatRow(table: usize, id: i32, columns: i32, y: usize): void {
  let w = panelAt(table, id >> 4, <usize> ((columns + 31) & ~31) << 6) + ((id & 15) << 2);
  for (let k = 0; k < columns; k++) {
    store<f32>(y, load<f32>(w));
    w += 64;
    y += 4;
  }
}

function halfRow(table: usize, id: i32, columns: i32, y: usize, layout: i32): void {
  let w = panelAt(table, id >> 4, <usize> ((columns + 31) & ~31) << 5);
  const factor = load<f32>(w - HEADER, 4);
  w += ((id & 8) << 1) + ((id & 3) << 2) + ((id & 4) >> 1);
  for (let k = 0; k < columns; k++) {
    if (layout == BF16) store<i32>(y, <i32> load<u16>(w) << 16);
    else store<f32>(y, half(w, factor));
    w += 32;
    y += 4;
  }
}
