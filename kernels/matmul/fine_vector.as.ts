// The finer integer layouts (fine_codes.as.ts), one token: four panels at once, as int4_vector.as.ts
// does and for its reasons. fine_panel.as.ts takes one.

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

/**
 * Adds four panels times one token to `sums` [4][16]. The first panel's header is at `panel`, the
 * others follow at the given distance. What eight blocks share is made f32 once for them.
 */
@inline
function fourTimes1<L, Q>(
  blockBytes: usize,
  panel: usize,
  distance: usize,
  x: usize,
  blocks: i32,
  sums: usize,
): void {
  const mask = codeMask<L>();
  const lows = is<L, Int4n>() ? lowParts() : mask;
  const highs = is<L, Int4n>() ? highParts() : mask;
  const bits = i32x4.splat(F16_BITS);
  const sign = f32x4.splat(is<L, Int5m>() ? 1 : -1);
  let w0 = panel;
  let w1 = w0 + distance;
  let w2 = w1 + distance;
  let w3 = w2 + distance;
  const lift0 = v128.load32_splat(w0, 4), minLift0 = f32x4.mul(lift0, sign);
  const lift1 = v128.load32_splat(w1, 4), minLift1 = f32x4.mul(lift1, sign);
  const lift2 = v128.load32_splat(w2, 4), minLift2 = f32x4.mul(lift2, sign);
  const lift3 = v128.load32_splat(w3, 4), minLift3 = f32x4.mul(lift3, sign);
  w0 += 16;
  w1 += 16;
  w2 += 16;
  w3 += 16;
  let s00 = v128.load(sums, 0), s01 = v128.load(sums, 16);
  let s02 = v128.load(sums, 32), s03 = v128.load(sums, 48);
  let s10 = v128.load(sums, 64), s11 = v128.load(sums, 80);
  let s12 = v128.load(sums, 96), s13 = v128.load(sums, 112);
  let s20 = v128.load(sums, 128), s21 = v128.load(sums, 144);
  let s22 = v128.load(sums, 160), s23 = v128.load(sums, 176);
  let s30 = v128.load(sums, 192), s31 = v128.load(sums, 208);
  let s32 = v128.load(sums, 224), s33 = v128.load(sums, 240);
  let d00: v128, d01: v128, d02: v128, d03: v128;
  let m00: v128, m01: v128, m02: v128, m03: v128;
  let d10: v128, d11: v128, d12: v128, d13: v128;
  let m10: v128, m11: v128, m12: v128, m13: v128;
  let d20: v128, d21: v128, d22: v128, d23: v128;
  let m20: v128, m21: v128, m22: v128, m23: v128;
  let d30: v128, d31: v128, d32: v128, d33: v128;
  let m30: v128, m31: v128, m32: v128, m33: v128;
  const end = x + blocks * 48;
  while (x < end) {
    const stop = sharedHalves<L>() == 0 ? end : min(x + 8 * 48, end);
    d00 = sharedScales<L>(w0, 0, bits, lift0); d01 = sharedScales<L>(w0, 1, bits, lift0);
    m00 = sharedMinimums<L>(w0, 0, bits, minLift0); m01 = sharedMinimums<L>(w0, 1, bits, minLift0);
    d02 = sharedScales<L>(w0, 2, bits, lift0); d03 = sharedScales<L>(w0, 3, bits, lift0);
    m02 = sharedMinimums<L>(w0, 2, bits, minLift0); m03 = sharedMinimums<L>(w0, 3, bits, minLift0);
    d10 = sharedScales<L>(w1, 0, bits, lift1); d11 = sharedScales<L>(w1, 1, bits, lift1);
    m10 = sharedMinimums<L>(w1, 0, bits, minLift1); m11 = sharedMinimums<L>(w1, 1, bits, minLift1);
    d12 = sharedScales<L>(w1, 2, bits, lift1); d13 = sharedScales<L>(w1, 3, bits, lift1);
    m12 = sharedMinimums<L>(w1, 2, bits, minLift1); m13 = sharedMinimums<L>(w1, 3, bits, minLift1);
    d20 = sharedScales<L>(w2, 0, bits, lift2); d21 = sharedScales<L>(w2, 1, bits, lift2);
    m20 = sharedMinimums<L>(w2, 0, bits, minLift2); m21 = sharedMinimums<L>(w2, 1, bits, minLift2);
    d22 = sharedScales<L>(w2, 2, bits, lift2); d23 = sharedScales<L>(w2, 3, bits, lift2);
    m22 = sharedMinimums<L>(w2, 2, bits, minLift2); m23 = sharedMinimums<L>(w2, 3, bits, minLift2);
    d30 = sharedScales<L>(w3, 0, bits, lift3); d31 = sharedScales<L>(w3, 1, bits, lift3);
    m30 = sharedMinimums<L>(w3, 0, bits, minLift3); m31 = sharedMinimums<L>(w3, 1, bits, minLift3);
    d32 = sharedScales<L>(w3, 2, bits, lift3); d33 = sharedScales<L>(w3, 3, bits, lift3);
    m32 = sharedMinimums<L>(w3, 2, bits, minLift3); m33 = sharedMinimums<L>(w3, 3, bits, minLift3);
    w0 += sharedHalves<L>();
    w1 += sharedHalves<L>();
    w2 += sharedHalves<L>();
    w3 += sharedHalves<L>();
    while (x < stop) {
      const xa = v128.load(x), xb = v128.load(x, 16), aux = v128.load(x, 32);
      const x0 = lane0(xa), x1 = lane1(xa), x2 = lane2(xa), x3 = lane3(xa);
      const x4 = lane0(xb), x5 = lane1(xb), x6 = lane2(xb), x7 = lane3(xb);
      const dx = lane0(aux), parts = partsOf<L>(lane1(aux)), dxSum = lane2(aux);
      s00 = rowsTimes1<L, Q>(
        s00, w0, 0, d00, m00, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s01 = rowsTimes1<L, Q>(
        s01, w0, 1, d01, m01, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s02 = rowsTimes1<L, Q>(
        s02, w0, 2, d02, m02, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s03 = rowsTimes1<L, Q>(
        s03, w0, 3, d03, m03, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      w0 += blockBytes;
      s10 = rowsTimes1<L, Q>(
        s10, w1, 0, d10, m10, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s11 = rowsTimes1<L, Q>(
        s11, w1, 1, d11, m11, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s12 = rowsTimes1<L, Q>(
        s12, w1, 2, d12, m12, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s13 = rowsTimes1<L, Q>(
        s13, w1, 3, d13, m13, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      w1 += blockBytes;
      s20 = rowsTimes1<L, Q>(
        s20, w2, 0, d20, m20, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s21 = rowsTimes1<L, Q>(
        s21, w2, 1, d21, m21, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s22 = rowsTimes1<L, Q>(
        s22, w2, 2, d22, m22, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s23 = rowsTimes1<L, Q>(
        s23, w2, 3, d23, m23, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      w2 += blockBytes;
      s30 = rowsTimes1<L, Q>(
        s30, w3, 0, d30, m30, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s31 = rowsTimes1<L, Q>(
        s31, w3, 1, d31, m31, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s32 = rowsTimes1<L, Q>(
        s32, w3, 2, d32, m32, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      s33 = rowsTimes1<L, Q>(
        s33, w3, 3, d33, m33, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, bits, mask, lows, highs,
      );
      w3 += blockBytes;
      x += 48;
    }
  }
  v128.store(sums, s00, 0); v128.store(sums, s01, 16);
  v128.store(sums, s02, 32); v128.store(sums, s03, 48);
  v128.store(sums, s10, 64); v128.store(sums, s11, 80);
  v128.store(sums, s12, 96); v128.store(sums, s13, 112);
  v128.store(sums, s20, 128); v128.store(sums, s21, 144);
  v128.store(sums, s22, 160); v128.store(sums, s23, 176);
  v128.store(sums, s30, 192); v128.store(sums, s31, 208);
  v128.store(sums, s32, 224); v128.store(sums, s33, 240);
}

function int4nFourPairs(panel: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1<Int4n, Pairs>(INT4N_BLOCK, panel, distance, x, blocks, sums);
}

function int4nFourQuads(panel: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1<Int4n, Quads>(INT4N_BLOCK, panel, distance, x, blocks, sums);
}

function int5FourPairs(panel: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1<Int5, Pairs>(INT5_BLOCK, panel, distance, x, blocks, sums);
}

function int5FourQuads(panel: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1<Int5, Quads>(INT5_BLOCK, panel, distance, x, blocks, sums);
}

function int5mFourPairs(panel: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1<Int5m, Pairs>(INT5M_BLOCK, panel, distance, x, blocks, sums);
}

function int5mFourQuads(panel: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1<Int5m, Quads>(INT5M_BLOCK, panel, distance, x, blocks, sums);
}

function int4kFourPairs(panel: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1<Int4k, Pairs>(INT4K_BLOCK, panel, distance, x, blocks, sums);
}

function int4kFourQuads(panel: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1<Int4k, Quads>(INT4K_BLOCK, panel, distance, x, blocks, sums);
}

function int5kFourPairs(panel: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1<Int5k, Pairs>(INT5K_BLOCK, panel, distance, x, blocks, sums);
}

function int5kFourQuads(panel: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1<Int5k, Quads>(INT5K_BLOCK, panel, distance, x, blocks, sums);
}

function int6kFourPairs(panel: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1<Int6k, Pairs>(INT6K_BLOCK, panel, distance, x, blocks, sums);
}

function int6kFourQuads(panel: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1<Int6k, Quads>(INT6K_BLOCK, panel, distance, x, blocks, sums);
}

/** See `fourTimes1`; `layout` is one of the finer ones. */
export function fineFourTimes1(
  layout: i32,
  panel: usize,
  distance: usize,
  x: usize,
  blocks: i32,
  sums: usize,
): void {
  if (ASC_FEATURE_RELAXED_SIMD && sumsQuads()) {
    if (layout == INT4K) int4kFourQuads(panel, distance, x, blocks, sums);
    else if (layout == INT6K) int6kFourQuads(panel, distance, x, blocks, sums);
    else if (layout == INT5K) int5kFourQuads(panel, distance, x, blocks, sums);
    else if (layout == INT5) int5FourQuads(panel, distance, x, blocks, sums);
    else if (layout == INT4N) int4nFourQuads(panel, distance, x, blocks, sums);
    else int5mFourQuads(panel, distance, x, blocks, sums);
    return;
  }
  if (layout == INT4K) int4kFourPairs(panel, distance, x, blocks, sums);
  else if (layout == INT6K) int6kFourPairs(panel, distance, x, blocks, sums);
  else if (layout == INT5K) int5kFourPairs(panel, distance, x, blocks, sums);
  else if (layout == INT5) int5FourPairs(panel, distance, x, blocks, sums);
  else if (layout == INT4N) int4nFourPairs(panel, distance, x, blocks, sums);
  else int5mFourPairs(panel, distance, x, blocks, sums);
}
