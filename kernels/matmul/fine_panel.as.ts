// The finer integer layouts (fine_codes.as.ts), one token, one panel: for the panels that
// fine_vector.as.ts leaves.

import { sumsQuads } from "../dots.as";
import { F16_BITS, lane0, lane1, lane2, lane3 } from "../simd.as";
import {
  INT4K,
  INT4K_BLOCK,
  INT4N,
  INT4N_BLOCK,
  INT5,
  INT5_BLOCK,
  INT5K,
  INT5K_BLOCK,
  INT5M_BLOCK,
  INT6K,
  INT6K_BLOCK,
} from "../constants.as";
import {
  codeMask,
  Int4k,
  Int4n,
  Int5,
  Int5k,
  Int5m,
  Int6k,
  is,
  Pairs,
  partsOf,
  Quads,
  sharedHalves,
} from "./fine_codes.as";
import { rowsTimes1, sharedMinimums, sharedScales } from "./fine_rows.as";
import { highParts, lowParts } from "./int4n.as";

/** Adds blocks of one panel, from `w` on, times one token to `sums` [16]; `factor` is the panel's. */
@inline
function oneTimes1<L, Q>(
  blockBytes: usize,
  w: usize,
  factor: f32,
  x: usize,
  blocks: i32,
  sums: usize,
): void {
  const mask = codeMask<L>();
  const lows = is<L, Int4n>() ? lowParts() : mask;
  const highs = is<L, Int4n>() ? highParts() : mask;
  const bits = i32x4.splat(F16_BITS);
  const lift = f32x4.splat(factor);
  const minLift = is<L, Int5m>() ? lift : f32x4.neg(lift);
  let s0 = v128.load(sums, 0), s1 = v128.load(sums, 16);
  let s2 = v128.load(sums, 32), s3 = v128.load(sums, 48);
  const end = x + blocks * 48;
  while (x < end) {
    const stop = sharedHalves<L>() == 0 ? end : min(x + 8 * 48, end);
    const d0 = sharedScales<L>(w, 0, bits, lift), d1 = sharedScales<L>(w, 1, bits, lift);
    const d2 = sharedScales<L>(w, 2, bits, lift), d3 = sharedScales<L>(w, 3, bits, lift);
    const m0 = sharedMinimums<L>(w, 0, bits, minLift), m1 = sharedMinimums<L>(w, 1, bits, minLift);
    const m2 = sharedMinimums<L>(w, 2, bits, minLift), m3 = sharedMinimums<L>(w, 3, bits, minLift);
    w += sharedHalves<L>();
    while (x < stop) {
      const xa = v128.load(x), xb = v128.load(x, 16), aux = v128.load(x, 32);
      const x0 = lane0(xa), x1 = lane1(xa), x2 = lane2(xa), x3 = lane3(xa);
      const x4 = lane0(xb), x5 = lane1(xb), x6 = lane2(xb), x7 = lane3(xb);
      const dx = lane0(aux), parts = partsOf<L>(lane1(aux)), dxSum = lane2(aux);
      s0 = rowsTimes1<L, Q>(
        s0, w, 0, d0, m0, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s1 = rowsTimes1<L, Q>(
        s1, w, 1, d1, m1, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s2 = rowsTimes1<L, Q>(
        s2, w, 2, d2, m2, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s3 = rowsTimes1<L, Q>(
        s3, w, 3, d3, m3, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      w += blockBytes;
      x += 48;
    }
  }
  v128.store(sums, s0, 0); v128.store(sums, s1, 16);
  v128.store(sums, s2, 32); v128.store(sums, s3, 48);
}

function int4nOnePairs(w: usize, factor: f32, x: usize, blocks: i32, sums: usize): void {
  oneTimes1<Int4n, Pairs>(INT4N_BLOCK, w, factor, x, blocks, sums);
}

function int4nOneQuads(w: usize, factor: f32, x: usize, blocks: i32, sums: usize): void {
  oneTimes1<Int4n, Quads>(INT4N_BLOCK, w, factor, x, blocks, sums);
}

function int5OnePairs(w: usize, factor: f32, x: usize, blocks: i32, sums: usize): void {
  oneTimes1<Int5, Pairs>(INT5_BLOCK, w, factor, x, blocks, sums);
}

function int5OneQuads(w: usize, factor: f32, x: usize, blocks: i32, sums: usize): void {
  oneTimes1<Int5, Quads>(INT5_BLOCK, w, factor, x, blocks, sums);
}

function int5mOnePairs(w: usize, factor: f32, x: usize, blocks: i32, sums: usize): void {
  oneTimes1<Int5m, Pairs>(INT5M_BLOCK, w, factor, x, blocks, sums);
}

function int5mOneQuads(w: usize, factor: f32, x: usize, blocks: i32, sums: usize): void {
  oneTimes1<Int5m, Quads>(INT5M_BLOCK, w, factor, x, blocks, sums);
}

function int4kOnePairs(w: usize, factor: f32, x: usize, blocks: i32, sums: usize): void {
  oneTimes1<Int4k, Pairs>(INT4K_BLOCK, w, factor, x, blocks, sums);
}

function int4kOneQuads(w: usize, factor: f32, x: usize, blocks: i32, sums: usize): void {
  oneTimes1<Int4k, Quads>(INT4K_BLOCK, w, factor, x, blocks, sums);
}

function int5kOnePairs(w: usize, factor: f32, x: usize, blocks: i32, sums: usize): void {
  oneTimes1<Int5k, Pairs>(INT5K_BLOCK, w, factor, x, blocks, sums);
}

function int5kOneQuads(w: usize, factor: f32, x: usize, blocks: i32, sums: usize): void {
  oneTimes1<Int5k, Quads>(INT5K_BLOCK, w, factor, x, blocks, sums);
}

function int6kOnePairs(w: usize, factor: f32, x: usize, blocks: i32, sums: usize): void {
  oneTimes1<Int6k, Pairs>(INT6K_BLOCK, w, factor, x, blocks, sums);
}

function int6kOneQuads(w: usize, factor: f32, x: usize, blocks: i32, sums: usize): void {
  oneTimes1<Int6k, Quads>(INT6K_BLOCK, w, factor, x, blocks, sums);
}

/** See `oneTimes1`; `layout` is one of the finer ones. */
export function fineTimes1(
  layout: i32,
  w: usize,
  factor: f32,
  x: usize,
  blocks: i32,
  sums: usize,
): void {
  if (ASC_FEATURE_RELAXED_SIMD && sumsQuads()) {
    if (layout == INT4K) int4kOneQuads(w, factor, x, blocks, sums);
    else if (layout == INT6K) int6kOneQuads(w, factor, x, blocks, sums);
    else if (layout == INT5K) int5kOneQuads(w, factor, x, blocks, sums);
    else if (layout == INT5) int5OneQuads(w, factor, x, blocks, sums);
    else if (layout == INT4N) int4nOneQuads(w, factor, x, blocks, sums);
    else int5mOneQuads(w, factor, x, blocks, sums);
    return;
  }
  if (layout == INT4K) int4kOnePairs(w, factor, x, blocks, sums);
  else if (layout == INT6K) int6kOnePairs(w, factor, x, blocks, sums);
  else if (layout == INT5K) int5kOnePairs(w, factor, x, blocks, sums);
  else if (layout == INT5) int5OnePairs(w, factor, x, blocks, sums);
  else if (layout == INT4N) int4nOnePairs(w, factor, x, blocks, sums);
  else int5mOnePairs(w, factor, x, blocks, sums);
}
