// INT4 weights: the inner loops of matmulInt4 (value d·(q − 8)) and matmulInt4m (value d·q + m).
// They work on one panel of 16 rows; integer.as.ts walks over panels, k and tokens.
//
// Packed block, 16 rows × 32 k (288 bytes, int4m 320):
//   16 halves  scales d
//   16 halves  minimums m (int4m only)
//   4 × 64 B   rows 4g … 4g+3: vector j has in lane r bytes 4j … 4j+3 of row 4g+r, and of these
//              byte i has k = 4j+i in its low half and k = 16+4j+i in its high half
// Activation block, 1 token × 32 k (48 bytes):
//   32 int8 q, then d, then −4·sum as i16 twice, then d·sum, where sum is the sum of q
// Unpacked block, 8 rows × 32 k (288 bytes, int4m 320), which the tiles read:
//   8 f32 d, 8 f32 m (int4m only), 8 × 32 B: k = 4j … 4j+3 of rows 0 … 3, then of rows 4 … 7
//
// The −8 of int4 costs nothing: accumulators start at −4·sum in each of the two i16 that make up
// one row's i32. Sums of 16 products stay within ±30480, so that i16 does not overflow.

import {
  dotPairs,
  F16_BITS,
  f16Finite,
  f16High,
  f16Low,
  lane0,
  lane1,
  lane2,
  lane3,
  madd,
  unpackHalves,
} from "../simd.as";

/** Bytes of a packed block. */
export const INT4_BLOCK: usize = 288;
/** Bytes of a packed block with minimums. */
export const INT4M_BLOCK: usize = 320;

/** acc + x·w over four k of four rows. */
@inline
function mac(acc: v128, x: v128, w: v128): v128 {
  return i16x8.add(acc, dotPairs(x, w));
}

/** As `mac` with packed nibbles: x0 meets the low ones, x1 the high ones. */
@inline
function macNibbles(acc: v128, x0: v128, x1: v128, w: v128, mask: v128): v128 {
  acc = i16x8.add(acc, dotPairs(x0, v128.and(w, mask)));
  return i16x8.add(acc, dotPairs(x1, v128.and(i16x8.shr_u(w, 4), mask)));
}

/** acc + scale·(integer dot products), from the i16 halves of four rows. */
@inline
function scaleSum(acc: v128, halves: v128, ones: v128, scale: v128): v128 {
  return madd(f32x4.convert_i32x4_s(i32x4.dot_i16x8_s(halves, ones)), scale, acc);
}

/** Adds 16 rows times one token, straight from packed blocks, to `sums`. Scales must be finite. */
@inline
function rowsTimes1(
  w: usize,
  x: usize,
  blocks: i32,
  sums: usize,
  factor: f32,
  hasMin: bool,
): void {
  const mask = i8x16.splat(15);
  const ones = i16x8.splat(1);
  const bits = i32x4.splat(F16_BITS);
  const lift = f32x4.splat(factor);
  let f0 = v128.load(sums);
  let f1 = v128.load(sums, 16);
  let f2 = v128.load(sums, 32);
  let f3 = v128.load(sums, 48);
  const end = x + blocks * 48;
  while (x < end) {
    const xa = v128.load(x);
    const xb = v128.load(x, 16);
    const aux = v128.load(x, 32);
    const start = hasMin ? i16x8.splat(0) : lane1(aux);
    const q = hasMin ? w + 64 : w + 32;
    let a0 = start;
    let a1 = start;
    let a2 = start;
    let a3 = start;
    let x0 = lane0(xa);
    let x1 = lane0(xb);
    a0 = macNibbles(a0, x0, x1, v128.load(q), mask);
    a1 = macNibbles(a1, x0, x1, v128.load(q, 64), mask);
    a2 = macNibbles(a2, x0, x1, v128.load(q, 128), mask);
    a3 = macNibbles(a3, x0, x1, v128.load(q, 192), mask);
    x0 = lane1(xa);
    x1 = lane1(xb);
    a0 = macNibbles(a0, x0, x1, v128.load(q, 16), mask);
    a1 = macNibbles(a1, x0, x1, v128.load(q, 80), mask);
    a2 = macNibbles(a2, x0, x1, v128.load(q, 144), mask);
    a3 = macNibbles(a3, x0, x1, v128.load(q, 208), mask);
    x0 = lane2(xa);
    x1 = lane2(xb);
    a0 = macNibbles(a0, x0, x1, v128.load(q, 32), mask);
    a1 = macNibbles(a1, x0, x1, v128.load(q, 96), mask);
    a2 = macNibbles(a2, x0, x1, v128.load(q, 160), mask);
    a3 = macNibbles(a3, x0, x1, v128.load(q, 224), mask);
    x0 = lane3(xa);
    x1 = lane3(xb);
    a0 = macNibbles(a0, x0, x1, v128.load(q, 48), mask);
    a1 = macNibbles(a1, x0, x1, v128.load(q, 112), mask);
    a2 = macNibbles(a2, x0, x1, v128.load(q, 176), mask);
    a3 = macNibbles(a3, x0, x1, v128.load(q, 240), mask);
    const d = lane0(aux);
    const s0 = v128.load(w);
    const s1 = v128.load(w, 16);
    f0 = scaleSum(f0, a0, ones, f32x4.mul(f16Finite(f16Low(s0), bits, lift), d));
    f1 = scaleSum(f1, a1, ones, f32x4.mul(f16Finite(f16High(s0), bits, lift), d));
    f2 = scaleSum(f2, a2, ones, f32x4.mul(f16Finite(f16Low(s1), bits, lift), d));
    f3 = scaleSum(f3, a3, ones, f32x4.mul(f16Finite(f16High(s1), bits, lift), d));
    if (hasMin) {
      const ds = lane2(aux);
      const m0 = v128.load(w, 32);
      const m1 = v128.load(w, 48);
      f0 = madd(f16Finite(f16Low(m0), bits, lift), ds, f0);
      f1 = madd(f16Finite(f16High(m0), bits, lift), ds, f1);
      f2 = madd(f16Finite(f16Low(m1), bits, lift), ds, f2);
      f3 = madd(f16Finite(f16High(m1), bits, lift), ds, f3);
    }
    w = hasMin ? w + 320 : w + 288;
    x += 48;
  }
  v128.store(sums, f0);
  v128.store(sums, f1, 16);
  v128.store(sums, f2, 32);
  v128.store(sums, f3, 48);
}

@inline
function unpackNibbles(v: v128, to: usize, mask: v128): void {
  v128.store(to, v128.and(v, mask));
  v128.store(to, v128.and(i16x8.shr_u(v, 4), mask), 128);
}

/**
 * Unpacks `blocks` blocks of 16 rows: rows 0 … 7 to `to`, rows 8 … 15 to `to + half`. Scales may
 * be anything that a half can hold.
 */
@inline
function unpack(w: usize, blocks: i32, to: usize, half: usize, factor: f32, hasMin: bool): void {
  const lift = f32x4.splat(factor);
  const mask = i8x16.splat(15);
  for (let b = 0; b < blocks; b++) {
    let high = to + half;
    unpackHalves(w, to, high, lift);
    w += 32;
    to += 32;
    high += 32;
    if (hasMin) {
      unpackHalves(w, to, high, lift);
      w += 32;
      to += 32;
      high += 32;
    }
    for (let j = 0; j < 4; j++) {
      unpackNibbles(v128.load(w), to, mask);
      unpackNibbles(v128.load(w, 64), to + 16, mask);
      unpackNibbles(v128.load(w, 128), high, mask);
      unpackNibbles(v128.load(w, 192), high + 16, mask);
      w += 16;
      to += 32;
      high += 32;
    }
    w += 192;
    to += 128;
  }
}

/** Adds 8 rows times 4 tokens, over unpacked blocks, to `sums` [4][16]. */
@inline
function tileTimes4(
  q: usize,
  x: usize,
  xStride: usize,
  blocks: i32,
  sums: usize,
  hasMin: bool,
): void {
  const ones = i16x8.splat(1);
  let x1 = x + xStride;
  let x2 = x1 + xStride;
  let x3 = x2 + xStride;
  let af0 = v128.load(sums);
  let af1 = v128.load(sums, 16);
  let bf0 = v128.load(sums, 64);
  let bf1 = v128.load(sums, 80);
  let cf0 = v128.load(sums, 128);
  let cf1 = v128.load(sums, 144);
  let df0 = v128.load(sums, 192);
  let df1 = v128.load(sums, 208);
  const end = x + blocks * 48;
  while (x < end) {
    const ax = v128.load(x, 32);
    const bx = v128.load(x1, 32);
    const cx = v128.load(x2, 32);
    const dx = v128.load(x3, 32);
    let a0 = hasMin ? i16x8.splat(0) : lane1(ax);
    let a1 = a0;
    let b0 = hasMin ? i16x8.splat(0) : lane1(bx);
    let b1 = b0;
    let c0 = hasMin ? i16x8.splat(0) : lane1(cx);
    let c1 = c0;
    let d0 = hasMin ? i16x8.splat(0) : lane1(dx);
    let d1 = d0;
    const p = hasMin ? q + 64 : q + 32;
    let w0 = v128.load(p);
    let w1 = v128.load(p, 16);
    let s = lane0(v128.load(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane0(v128.load(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane0(v128.load(x2)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane0(v128.load(x3)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(p, 32);
    w1 = v128.load(p, 48);
    s = lane1(v128.load(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane1(v128.load(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane1(v128.load(x2)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane1(v128.load(x3)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(p, 64);
    w1 = v128.load(p, 80);
    s = lane2(v128.load(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane2(v128.load(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane2(v128.load(x2)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane2(v128.load(x3)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(p, 96);
    w1 = v128.load(p, 112);
    s = lane3(v128.load(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane3(v128.load(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane3(v128.load(x2)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane3(v128.load(x3)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(p, 128);
    w1 = v128.load(p, 144);
    s = lane0(v128.load(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane0(v128.load(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane0(v128.load(x2, 16)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane0(v128.load(x3, 16)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(p, 160);
    w1 = v128.load(p, 176);
    s = lane1(v128.load(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane1(v128.load(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane1(v128.load(x2, 16)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane1(v128.load(x3, 16)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(p, 192);
    w1 = v128.load(p, 208);
    s = lane2(v128.load(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane2(v128.load(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane2(v128.load(x2, 16)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane2(v128.load(x3, 16)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(p, 224);
    w1 = v128.load(p, 240);
    s = lane3(v128.load(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane3(v128.load(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane3(v128.load(x2, 16)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane3(v128.load(x3, 16)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q);
    w1 = v128.load(q, 16);
    s = lane0(ax);
    af0 = scaleSum(af0, a0, ones, f32x4.mul(w0, s));
    af1 = scaleSum(af1, a1, ones, f32x4.mul(w1, s));
    s = lane0(bx);
    bf0 = scaleSum(bf0, b0, ones, f32x4.mul(w0, s));
    bf1 = scaleSum(bf1, b1, ones, f32x4.mul(w1, s));
    s = lane0(cx);
    cf0 = scaleSum(cf0, c0, ones, f32x4.mul(w0, s));
    cf1 = scaleSum(cf1, c1, ones, f32x4.mul(w1, s));
    s = lane0(dx);
    df0 = scaleSum(df0, d0, ones, f32x4.mul(w0, s));
    df1 = scaleSum(df1, d1, ones, f32x4.mul(w1, s));
    if (hasMin) {
      w0 = v128.load(q, 32);
      w1 = v128.load(q, 48);
      s = lane2(ax); af0 = madd(w0, s, af0); af1 = madd(w1, s, af1);
      s = lane2(bx); bf0 = madd(w0, s, bf0); bf1 = madd(w1, s, bf1);
      s = lane2(cx); cf0 = madd(w0, s, cf0); cf1 = madd(w1, s, cf1);
      s = lane2(dx); df0 = madd(w0, s, df0); df1 = madd(w1, s, df1);
    }
    q = p + 256;
    x += 48;
    x1 += 48;
    x2 += 48;
    x3 += 48;
  }
  v128.store(sums, af0);
  v128.store(sums, af1, 16);
  v128.store(sums, bf0, 64);
  v128.store(sums, bf1, 80);
  v128.store(sums, cf0, 128);
  v128.store(sums, cf1, 144);
  v128.store(sums, df0, 192);
  v128.store(sums, df1, 208);
}

/** Adds 8 rows times 2 tokens, over unpacked blocks, to `sums` [2][16]. */
@inline
function tileTimes2(
  q: usize,
  x: usize,
  xStride: usize,
  blocks: i32,
  sums: usize,
  hasMin: bool,
): void {
  const ones = i16x8.splat(1);
  let x1 = x + xStride;
  let af0 = v128.load(sums);
  let af1 = v128.load(sums, 16);
  let bf0 = v128.load(sums, 64);
  let bf1 = v128.load(sums, 80);
  const end = x + blocks * 48;
  while (x < end) {
    const ax = v128.load(x, 32);
    const bx = v128.load(x1, 32);
    let a0 = hasMin ? i16x8.splat(0) : lane1(ax);
    let a1 = a0;
    let b0 = hasMin ? i16x8.splat(0) : lane1(bx);
    let b1 = b0;
    const p = hasMin ? q + 64 : q + 32;
    let w0 = v128.load(p);
    let w1 = v128.load(p, 16);
    let s = lane0(v128.load(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane0(v128.load(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(p, 32);
    w1 = v128.load(p, 48);
    s = lane1(v128.load(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane1(v128.load(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(p, 64);
    w1 = v128.load(p, 80);
    s = lane2(v128.load(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane2(v128.load(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(p, 96);
    w1 = v128.load(p, 112);
    s = lane3(v128.load(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane3(v128.load(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(p, 128);
    w1 = v128.load(p, 144);
    s = lane0(v128.load(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane0(v128.load(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(p, 160);
    w1 = v128.load(p, 176);
    s = lane1(v128.load(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane1(v128.load(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(p, 192);
    w1 = v128.load(p, 208);
    s = lane2(v128.load(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane2(v128.load(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(p, 224);
    w1 = v128.load(p, 240);
    s = lane3(v128.load(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane3(v128.load(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q);
    w1 = v128.load(q, 16);
    s = lane0(ax);
    af0 = scaleSum(af0, a0, ones, f32x4.mul(w0, s));
    af1 = scaleSum(af1, a1, ones, f32x4.mul(w1, s));
    s = lane0(bx);
    bf0 = scaleSum(bf0, b0, ones, f32x4.mul(w0, s));
    bf1 = scaleSum(bf1, b1, ones, f32x4.mul(w1, s));
    if (hasMin) {
      w0 = v128.load(q, 32);
      w1 = v128.load(q, 48);
      s = lane2(ax); af0 = madd(w0, s, af0); af1 = madd(w1, s, af1);
      s = lane2(bx); bf0 = madd(w0, s, bf0); bf1 = madd(w1, s, bf1);
    }
    q = p + 256;
    x += 48;
    x1 += 48;
  }
  v128.store(sums, af0);
  v128.store(sums, af1, 16);
  v128.store(sums, bf0, 64);
  v128.store(sums, bf1, 80);
}

export function int4Times1(w: usize, x: usize, blocks: i32, sums: usize, factor: f32): void {
  rowsTimes1(w, x, blocks, sums, factor, false);
}

export function int4mTimes1(w: usize, x: usize, blocks: i32, sums: usize, factor: f32): void {
  rowsTimes1(w, x, blocks, sums, factor, true);
}

export function int4Unpack(w: usize, blocks: i32, to: usize, half: usize, factor: f32): void {
  unpack(w, blocks, to, half, factor, false);
}

export function int4mUnpack(w: usize, blocks: i32, to: usize, half: usize, factor: f32): void {
  unpack(w, blocks, to, half, factor, true);
}

export function int4Times2(q: usize, x: usize, xStride: usize, blocks: i32, sums: usize): void {
  tileTimes2(q, x, xStride, blocks, sums, false);
}

export function int4mTimes2(q: usize, x: usize, xStride: usize, blocks: i32, sums: usize): void {
  tileTimes2(q, x, xStride, blocks, sums, true);
}

export function int4Times4(q: usize, x: usize, xStride: usize, blocks: i32, sums: usize): void {
  tileTimes4(q, x, xStride, blocks, sums, false);
}

export function int4mTimes4(q: usize, x: usize, xStride: usize, blocks: i32, sums: usize): void {
  tileTimes4(q, x, xStride, blocks, sums, true);
}
