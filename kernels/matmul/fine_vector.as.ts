// The finer integer layouts (fine_codes.as.ts), one token: four panels at once, as int4_vector.as.ts
// does and for its reasons. Single panels are left to fine.as.ts.

import { sumsQuads } from "../dots.as";
import { F16_BITS, f16Finite, f16High, f16Low, lane0, lane1, lane2, lane3 } from "../simd.as";
import {
  INT4K,
  INT4K_BLOCK,
  INT5K,
  INT5K_BLOCK,
  INT5M_BLOCK,
  INT6K,
  INT6K_BLOCK,
} from "../constants.as";
import {
  addBlock,
  code0,
  code1,
  code2,
  code3,
  code4,
  code5,
  code6,
  code7,
  firstRest,
  firstScale,
  halfway,
  Int4k,
  Int5k,
  Int5m,
  Int6k,
  middle,
  multiplesOf,
  nibblesAt,
  offsetOf,
  Pairs,
  Quads,
  restAt,
  restMask,
  secondRest,
  secondScale,
  step,
  whole,
} from "./fine_codes.as";
import { high } from "./int4.as";

/** Halves as f32: of the first four rows of eight, and of the others. */
@inline
function lowHalves(at: usize, bits: v128, lift: v128): v128 {
  return f16Finite(f16Low(v128.load(at)), bits, lift);
}

@inline
function highHalves(at: usize, bits: v128, lift: v128): v128 {
  return f16Finite(f16High(v128.load(at)), bits, lift);
}

/** As `lowHalves`, of minimums, where the layout has some. */
@inline
function lowMinimums<L>(at: usize, bits: v128, lift: v128): v128 {
  return sizeof<L>() == sizeof<Int6k>() ? lift : lowHalves(at + 32, bits, lift);
}

@inline
function highMinimums<L>(at: usize, bits: v128, lift: v128): v128 {
  return sizeof<L>() == sizeof<Int6k>() ? lift : highHalves(at + 32, bits, lift);
}

/** The sums of rows 4g … 4g+3 after the block at `w` times one token; `d` and `min` are their halves. */
@inline
function rowsTimes1<L, Q>(
  sums: v128,
  w: usize,
  g: usize,
  d: v128,
  min: v128,
  x0: v128, x1: v128, x2: v128, x3: v128, x4: v128, x5: v128, x6: v128, x7: v128,
  dx: v128,
  parts: v128,
  dxSum: v128,
  mask: v128,
  restBits: v128,
): v128 {
  const p = w + nibblesAt<L>() + (g << 6);
  const u0 = v128.load(p), u1 = v128.load(p, 16), u2 = v128.load(p, 32), u3 = v128.load(p, 48);
  const at = restAt<L>(w, g);
  const rest = firstRest<L>(at);
  const more = secondRest<L>(at, rest);
  const multiples = multiplesOf<L>(w + (g << 3));
  const scale = firstScale<L>(multiples);
  const scale2 = secondScale<L>(multiples, scale);
  const zero = i32x4.splat(0);
  let dots = step<L, Q>(
    zero,
    x0, code0<L>(v128.and(u0, mask), rest, restBits),
    x1, code1<L>(v128.and(u1, mask), rest, restBits),
    scale,
  );
  dots = step<L, Q>(
    dots,
    x2, code2<L>(v128.and(u2, mask), rest, restBits),
    x3, code3<L>(v128.and(u3, mask), rest, restBits),
    scale,
  );
  const low = halfway<L, Q>(dots, scale);
  dots = step<L, Q>(
    middle<L, Q>(dots, zero),
    x4, code4<L>(high(u0, mask), more, restBits),
    x5, code5<L>(high(u1, mask), more, restBits),
    scale2,
  );
  dots = step<L, Q>(
    dots,
    x6, code6<L>(high(u2, mask), more, restBits),
    x7, code7<L>(high(u3, mask), more, restBits),
    scale2,
  );
  dots = whole<L, Q>(dots, low, scale2);
  return addBlock<L>(sums, dots, multiples, d, offsetOf<L>(multiples, min), dx, parts, dxSum);
}

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
  const mask = i8x16.splat(15);
  const restBits = restMask<L>();
  const bits = i32x4.splat(F16_BITS);
  const sign = f32x4.splat(sizeof<L>() == sizeof<Int5m>() ? 1 : -1);
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
    // int5m has halves in every block.
    const stop = sizeof<L>() == sizeof<Int5m>() ? x + 48 : min(x + 8 * 48, end);
    d00 = lowHalves(w0, bits, lift0); d01 = highHalves(w0, bits, lift0);
    d02 = lowHalves(w0 + 16, bits, lift0); d03 = highHalves(w0 + 16, bits, lift0);
    m00 = lowMinimums<L>(w0, bits, minLift0); m01 = highMinimums<L>(w0, bits, minLift0);
    m02 = lowMinimums<L>(w0 + 16, bits, minLift0); m03 = highMinimums<L>(w0 + 16, bits, minLift0);
    d10 = lowHalves(w1, bits, lift1); d11 = highHalves(w1, bits, lift1);
    d12 = lowHalves(w1 + 16, bits, lift1); d13 = highHalves(w1 + 16, bits, lift1);
    m10 = lowMinimums<L>(w1, bits, minLift1); m11 = highMinimums<L>(w1, bits, minLift1);
    m12 = lowMinimums<L>(w1 + 16, bits, minLift1); m13 = highMinimums<L>(w1 + 16, bits, minLift1);
    d20 = lowHalves(w2, bits, lift2); d21 = highHalves(w2, bits, lift2);
    d22 = lowHalves(w2 + 16, bits, lift2); d23 = highHalves(w2 + 16, bits, lift2);
    m20 = lowMinimums<L>(w2, bits, minLift2); m21 = highMinimums<L>(w2, bits, minLift2);
    m22 = lowMinimums<L>(w2 + 16, bits, minLift2); m23 = highMinimums<L>(w2 + 16, bits, minLift2);
    d30 = lowHalves(w3, bits, lift3); d31 = highHalves(w3, bits, lift3);
    d32 = lowHalves(w3 + 16, bits, lift3); d33 = highHalves(w3 + 16, bits, lift3);
    m30 = lowMinimums<L>(w3, bits, minLift3); m31 = highMinimums<L>(w3, bits, minLift3);
    m32 = lowMinimums<L>(w3 + 16, bits, minLift3); m33 = highMinimums<L>(w3 + 16, bits, minLift3);
    if (sizeof<L>() != sizeof<Int5m>()) {
      w0 += sizeof<L>() == sizeof<Int6k>() ? 32 : 64;
      w1 += sizeof<L>() == sizeof<Int6k>() ? 32 : 64;
      w2 += sizeof<L>() == sizeof<Int6k>() ? 32 : 64;
      w3 += sizeof<L>() == sizeof<Int6k>() ? 32 : 64;
    }
    while (x < stop) {
      const xa = v128.load(x), xb = v128.load(x, 16), aux = v128.load(x, 32);
      const x0 = lane0(xa), x1 = lane1(xa), x2 = lane2(xa), x3 = lane3(xa);
      const x4 = lane0(xb), x5 = lane1(xb), x6 = lane2(xb), x7 = lane3(xb);
      const dx = lane0(aux), parts = lane1(aux), dxSum = lane2(aux);
      s00 = rowsTimes1<L, Q>(
        s00, w0, 0, d00, m00, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      s01 = rowsTimes1<L, Q>(
        s01, w0, 1, d01, m01, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      s02 = rowsTimes1<L, Q>(
        s02, w0, 2, d02, m02, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      s03 = rowsTimes1<L, Q>(
        s03, w0, 3, d03, m03, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      w0 += blockBytes;
      s10 = rowsTimes1<L, Q>(
        s10, w1, 0, d10, m10, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      s11 = rowsTimes1<L, Q>(
        s11, w1, 1, d11, m11, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      s12 = rowsTimes1<L, Q>(
        s12, w1, 2, d12, m12, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      s13 = rowsTimes1<L, Q>(
        s13, w1, 3, d13, m13, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      w1 += blockBytes;
      s20 = rowsTimes1<L, Q>(
        s20, w2, 0, d20, m20, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      s21 = rowsTimes1<L, Q>(
        s21, w2, 1, d21, m21, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      s22 = rowsTimes1<L, Q>(
        s22, w2, 2, d22, m22, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      s23 = rowsTimes1<L, Q>(
        s23, w2, 3, d23, m23, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      w2 += blockBytes;
      s30 = rowsTimes1<L, Q>(
        s30, w3, 0, d30, m30, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      s31 = rowsTimes1<L, Q>(
        s31, w3, 1, d31, m31, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      s32 = rowsTimes1<L, Q>(
        s32, w3, 2, d32, m32, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
      );
      s33 = rowsTimes1<L, Q>(
        s33, w3, 3, d33, m33, x0, x1, x2, x3, x4, x5, x6, x7, dx, parts, dxSum, mask, restBits,
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
    else int5mFourQuads(panel, distance, x, blocks, sums);
    return;
  }
  if (layout == INT4K) int4kFourPairs(panel, distance, x, blocks, sums);
  else if (layout == INT6K) int6kFourPairs(panel, distance, x, blocks, sums);
  else if (layout == INT5K) int5kFourPairs(panel, distance, x, blocks, sums);
  else int5mFourPairs(panel, distance, x, blocks, sums);
}
