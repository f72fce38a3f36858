// packF32, packF16, packBf16: row-major weights to packed panels of 16 rows (layouts.ts). Done
// once, when a model loads; the rows may lie at any byte address.

import { shareStart } from "../common.as";
import { PANEL_HEADER as HEADER } from "../constants.as";
import { writeHeader } from "./halves.as";


/**
 * args: row-major weights, packed matrix, first row, end row, columns. Rows are those of the
 * matrix from `first row` (a multiple of 16) up to `end row` (one too, or the matrix's last).
 */
export function packF32(args: usize, worker: i32, workers: i32): void {
  packPanels(args, worker, workers, 2, false);
}

/** args as `packF32`. */
export function packF16(args: usize, worker: i32, workers: i32): void {
  packPanels(args, worker, workers, 1, true);
}

/** args as `packF32`. */
export function packBf16(args: usize, worker: i32, workers: i32): void {
  packPanels(args, worker, workers, 1, false);
}

/** `shift`: log2 of an element's bytes. */
function packPanels(args: usize, worker: i32, workers: i32, shift: usize, half: bool): void {
  const firstRow = load<i32>(args, 8);
  const rows = load<i32>(args, 12) - firstRow;
  const columns = load<i32>(args, 16);
  const padded = (columns + 31) & ~31;
  const stride = <usize> columns << shift;
  const blockBytes: usize = 16 << shift;
  const panelBytes = HEADER + <usize> padded * blockBytes;
  const panels = (rows + 15) >> 4;
  const endPanel = shareStart(panels, worker + 1, workers);
  for (let p = shareStart(panels, worker, workers); p < endPanel; p++) {
    const src = load<usize>(args) + <usize> (p << 4) * stride;
    const panel = load<usize>(args, 4) + <usize> (p + (firstRow >> 4)) * panelBytes;
    const blocks = panel + HEADER;
    const whole = rows - (p << 4) < 16 ? 0 : columns & (shift == 2 ? ~3 : ~7);
    if (shift == 2) transpose32(src, stride, whole, blocks);
    else transpose16(src, stride, whole, blocks);
    for (let k = whole; k < columns; k++) {
      const to = blocks + <usize> k * blockBytes;
      packColumn(src + (<usize> k << shift), stride, rows - (p << 4), shift, to);
    }
    const end = blocks + <usize> columns * blockBytes;
    memory.fill(end, 0, <usize> (padded - columns) * blockBytes);
    if (half) writeHeader(panel, columns, 32, 2);
    else v128.store(panel, i32x4.splat(0));
  }
}

/** One k of 16 rows; those from `valid` on are zero. */
function packColumn(src: usize, stride: usize, valid: i32, shift: usize, to: usize): void {
  for (let r = 0; r < 16; r++) {
    const at = src + <usize> r * stride;
    if (shift == 2) {
      store<u32>(to + (r << 2), r < valid ? load<u32>(at) : 0);
    } else {
      const slot = (r & 8) + ((r & 3) << 1) + ((r & 4) >> 2);
      store<u16>(to + (slot << 1), r < valid ? load<u16>(at) : 0);
    }
  }
}

/** Packs `columns`, a multiple of 4, of 16 rows of f32. */
function transpose32(src: usize, stride: usize, columns: i32, to: usize): void {
  for (let k = 0; k < columns; k += 4) {
    const p = src + (<usize> k << 2);
    transpose4(p, stride, to);
    transpose4(p + (stride << 2), stride, to + 16);
    transpose4(p + (stride << 3), stride, to + 32);
    transpose4(p + stride * 12, stride, to + 48);
    to += 256;
  }
}

/** 4 rows × 4 k; the blocks of successive k are 64 bytes apart. */
@inline
function transpose4(p: usize, stride: usize, to: usize): void {
  const r0 = v128.load(p);
  p += stride;
  const r1 = v128.load(p);
  p += stride;
  const r2 = v128.load(p);
  p += stride;
  const r3 = v128.load(p);
  const low01 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
  const low23 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
  v128.store(to, v128.shuffle<i64>(low01, low23, 0, 2));
  v128.store(to, v128.shuffle<i64>(low01, low23, 1, 3), 64);
  const high01 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
  const high23 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<i64>(high01, high23, 0, 2), 128);
  v128.store(to, v128.shuffle<i64>(high01, high23, 1, 3), 192);
}

/** Packs `columns`, a multiple of 8, of 16 rows of halves. */
function transpose16(src: usize, stride: usize, columns: i32, to: usize): void {
  for (let k = 0; k < columns; k += 8) {
    transpose8(src + (<usize> k << 1), stride, to);
    transpose8(src + (<usize> k << 1) + (stride << 3), stride, to + 16);
    to += 256;
  }
}

/** 8 rows × 8 k of halves; the blocks of successive k are 32 bytes apart. */
@inline
function transpose8(p: usize, stride: usize, to: usize): void {
  const r0 = v128.load(p);
  p += stride;
  const r1 = v128.load(p);
  p += stride;
  const r2 = v128.load(p);
  p += stride;
  const r3 = v128.load(p);
  p += stride;
  const r4 = v128.load(p);
  p += stride;
  const r5 = v128.load(p);
  p += stride;
  const r6 = v128.load(p);
  p += stride;
  const r7 = v128.load(p);
  // Rows j and j + 4 together, for k = 0 … 3 and 4 … 7.
  const low0 = v128.shuffle<i16>(r0, r4, 0, 8, 1, 9, 2, 10, 3, 11);
  const low1 = v128.shuffle<i16>(r1, r5, 0, 8, 1, 9, 2, 10, 3, 11);
  const low2 = v128.shuffle<i16>(r2, r6, 0, 8, 1, 9, 2, 10, 3, 11);
  const low3 = v128.shuffle<i16>(r3, r7, 0, 8, 1, 9, 2, 10, 3, 11);
  transposePairs(low0, low1, low2, low3, to);
  const high0 = v128.shuffle<i16>(r0, r4, 4, 12, 5, 13, 6, 14, 7, 15);
  const high1 = v128.shuffle<i16>(r1, r5, 4, 12, 5, 13, 6, 14, 7, 15);
  const high2 = v128.shuffle<i16>(r2, r6, 4, 12, 5, 13, 6, 14, 7, 15);
  const high3 = v128.shuffle<i16>(r3, r7, 4, 12, 5, 13, 6, 14, 7, 15);
  transposePairs(high0, high1, high2, high3, to + 128);
}

/** Transposes a 4 × 4 square of 32-bit words; the rows of the result are 32 bytes apart. */
@inline
function transposePairs(r0: v128, r1: v128, r2: v128, r3: v128, to: usize): void {
  const low01 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
  const low23 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
  v128.store(to, v128.shuffle<i64>(low01, low23, 0, 2));
  v128.store(to, v128.shuffle<i64>(low01, low23, 1, 3), 32);
  const high01 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
  const high23 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
  v128.store(to, v128.shuffle<i64>(high01, high23, 0, 2), 64);
  v128.store(to, v128.shuffle<i64>(high01, high23, 1, 3), 96);
}
