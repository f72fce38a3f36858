// packInt4, packInt4m, packInt8: rows in exchange form (quant/formats.ts) to packed panels of 16
// rows (layouts.ts). Done once, when a model loads; the rows may lie at any byte address.
//
// Four rows at a time: 16 bytes of each are a 4 × 4 square of 32-bit words, whose transpose is 64
// bytes of the packed block.

import { shareStart } from "../common.as";
import { PANEL_HEADER as HEADER, ZEROS } from "../constants.as";
import { writeHeader } from "./halves.as";

/** Blocks that are packed for all 16 rows before the next: their output stays in the L1 cache. */
const STRIP: i32 = 16;

/**
 * args: rows in exchange form, packed matrix, first row, end row, columns. Rows are those of the
 * matrix from `first row` (a multiple of 16) up to `end row` (one too, or the matrix's last).
 */
export function packInt4(args: usize, worker: i32, workers: i32): void {
  packPanels(args, worker, workers, 18, 288);
}

/** args as `packInt4`. */
export function packInt4m(args: usize, worker: i32, workers: i32): void {
  packPanels(args, worker, workers, 20, 320);
}

/** args as `packInt4`. */
export function packInt8(args: usize, worker: i32, workers: i32): void {
  packPanels(args, worker, workers, 34, 544);
}

/** `from` and `to`: bytes of a block of one row, and of 16. */
function packPanels(args: usize, worker: i32, workers: i32, from: usize, to: usize): void {
  const source = load<usize>(args);
  const firstRow = load<i32>(args, 8);
  const rows = load<i32>(args, 12) - firstRow;
  const blocks = (load<i32>(args, 16) + 31) >> 5;
  const stride = <usize> blocks * from;
  const panelBytes = HEADER + <usize> blocks * to;
  const panels = (rows + 15) >> 4;
  const end = shareStart(panels, worker + 1, workers);
  for (let p = shareStart(panels, worker, workers); p < end; p++) {
    const panel = load<usize>(args, 4) + <usize> (p + (firstRow >> 4)) * panelBytes;
    for (let block = 0; block < blocks; block += STRIP) {
      const strip = panel + HEADER + <usize> block * to;
      const count = min(STRIP, blocks - block);
      for (let g = 0; g < 16; g += 4) {
        const row = (p << 4) + g;
        const src = source + <usize> row * stride + <usize> block * from;
        if (to == 288) packRows(src, stride, rows - row, count, strip, g, 18, 288);
        else if (to == 320) packRows(src, stride, rows - row, count, strip, g, 20, 320);
        else packRows(src, stride, rows - row, count, strip, g, 34, 544);
      }
    }
    writeHeader(panel, blocks, to, to == 320 ? 4 : 2);
  }
}

/** Rows g … g+3 of `count` blocks; of the four, those from `valid` on are zeros. */
@inline
function packRows(
  p0: usize,
  stride: usize,
  valid: i32,
  count: i32,
  to: usize,
  g: i32,
  from: usize,
  blockBytes: usize,
): void {
  let p1 = valid > 1 ? p0 + stride : ZEROS;
  let p2 = valid > 2 ? p1 + stride : ZEROS;
  let p3 = valid > 3 ? p2 + stride : ZEROS;
  if (valid < 1) p0 = ZEROS;
  const step0 = valid > 0 ? from : 0;
  const step1 = valid > 1 ? from : 0;
  const step2 = valid > 2 ? from : 0;
  const step3 = valid > 3 ? from : 0;
  const end = to + <usize> count * blockBytes;
  while (to < end) {
    const scales = to + (<usize> g << 1);
    store<u16>(scales, load<u16>(p0));
    store<u16>(scales, load<u16>(p1), 2);
    store<u16>(scales, load<u16>(p2), 4);
    store<u16>(scales, load<u16>(p3), 6);
    if (from == 20) {
      store<u16>(scales, load<u16>(p0, 2), 32);
      store<u16>(scales, load<u16>(p1, 2), 34);
      store<u16>(scales, load<u16>(p2, 2), 36);
      store<u16>(scales, load<u16>(p3, 2), 38);
      transpose(p0 + 4, p1 + 4, p2 + 4, p3 + 4, to + 64 + (<usize> g << 4), false);
    } else if (from == 18) {
      transpose(p0 + 2, p1 + 2, p2 + 2, p3 + 2, to + 32 + (<usize> g << 4), false);
    } else {
      transpose(p0 + 2, p1 + 2, p2 + 2, p3 + 2, to + 32 + (<usize> g << 5), true);
      transpose(p0 + 18, p1 + 18, p2 + 18, p3 + 18, to + 96 + (<usize> g << 5), true);
    }
    p0 += step0;
    p1 += step1;
    p2 += step2;
    p3 += step3;
    to += blockBytes;
  }
}

/**
 * 16 bytes of each of four rows to 64: bytes 0 … 3 of the four rows, then bytes 4 … 7, …
 * With `reorder` every four bytes are in the order and with the offset of INT8 blocks.
 */
@inline
function transpose(p0: usize, p1: usize, p2: usize, p3: usize, to: usize, reorder: bool): void {
  const r0 = v128.load(p0);
  const r1 = v128.load(p1);
  const r2 = v128.load(p2);
  const r3 = v128.load(p3);
  const r01 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
  const r23 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
  const s01 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
  const s23 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
  v128.store(to, arrange(v128.shuffle<i64>(r01, r23, 0, 2), reorder));
  v128.store(to, arrange(v128.shuffle<i64>(r01, r23, 1, 3), reorder), 16);
  v128.store(to, arrange(v128.shuffle<i64>(s01, s23, 0, 2), reorder), 32);
  v128.store(to, arrange(v128.shuffle<i64>(s01, s23, 1, 3), reorder), 48);
}

@inline
function arrange(v: v128, reorder: bool): v128 {
  if (!reorder) return v;
  const ordered = v128.shuffle<i8>(v, v, 0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
  return v128.xor(ordered, i16x8.splat(0x80));
}
