// Float weights: the inner loops of matmulF32, matmulF16 and matmulBf16, on panels of 8 rows;
// float.as.ts walks over panels, k and tokens.
//
// Packed block, 8 rows × 1 k: f32 (32 bytes) rows 0 … 7; f16 and bf16 (16 bytes) rows 0, 4, 1, 5,
// 2, 6, 3, 7, so that a 32-bit lane holds rows j and j + 4. Halves are scaled by a power of two,
// the same for the whole panel, which makes all of them normal numbers where that is possible
// (subnormal operands are slow); the panel's header has the factor that undoes it.
// Packed activations, 5 tokens × 1 k (20 bytes): the value of each token at k.

import { lane0, lane1, lane2, lane3, madd } from "../simd.as";

/** Layouts, and f16 panels that contain Inf or NaN. */
export const F32: i32 = 0;
export const F16: i32 = 1;
export const F16_SPECIAL: i32 = 2;
export const BF16: i32 = 3;

/** What a half keeps once its bits are where f32 has sign and exponent; rows 4 … 7, all rows. */
const HIGH_BITS: i32 = 0x8fffe000;
const BITS: i32 = 0x8fffffff;

/** Rows 0 … 3 of a block of halves as f32. */
@inline
function rowsLow(v: v128, bits: v128, factor: v128, layout: i32): v128 {
  if (layout == BF16) return i32x4.shl(v, 16);
  return halves(v128.and(i32x4.shr_s(i32x4.shl(v, 16), 3), bits), factor, layout);
}

/** Rows 4 … 7 of a block of halves as f32; `bits` is `HIGH_BITS`, or 0xffff0000 for bf16. */
@inline
function rowsHigh(v: v128, bits: v128, factor: v128, layout: i32): v128 {
  if (layout == BF16) return v128.and(v, bits);
  return halves(v128.and(i32x4.shr_s(v, 3), bits), factor, layout);
}

@inline
function halves(bits: v128, factor: v128, layout: i32): v128 {
  const value = f32x4.mul(bits, factor);
  if (layout != F16_SPECIAL) return value;
  const exponent = i32x4.splat(0x0f800000);
  const special = i32x4.eq(v128.and(bits, exponent), exponent);
  return v128.or(value, v128.and(special, i32x4.splat(0x7f800000)));
}

/** Adds 8 rows times one token to `sums` [8]. */
@inline
function rowsTimes1(w: usize, x: usize, count: i32, sums: usize, factor: v128, layout: i32): void {
  const bits = i32x4.splat(BITS);
  const highBits = i32x4.splat(layout == BF16 ? 0xffff0000 : HIGH_BITS);
  let a0 = v128.load(sums);
  let a1 = v128.load(sums, 16);
  let b0 = f32x4.splat(0);
  let b1 = b0;
  let c0 = b0;
  let c1 = b0;
  let d0 = b0;
  let d1 = b0;
  const end = x + (<usize> count << 2);
  const fours = x + (<usize> (count & ~3) << 2);
  while (x < fours) {
    const xs = v128.load(x);
    const s0 = lane0(xs);
    const s1 = lane1(xs);
    const s2 = lane2(xs);
    const s3 = lane3(xs);
    if (layout == F32) {
      a0 = madd(s0, v128.load(w), a0);
      a1 = madd(s0, v128.load(w, 16), a1);
      b0 = madd(s1, v128.load(w, 32), b0);
      b1 = madd(s1, v128.load(w, 48), b1);
      c0 = madd(s2, v128.load(w, 64), c0);
      c1 = madd(s2, v128.load(w, 80), c1);
      d0 = madd(s3, v128.load(w, 96), d0);
      d1 = madd(s3, v128.load(w, 112), d1);
      w += 128;
    } else {
      let v = v128.load(w);
      a0 = madd(s0, rowsLow(v, bits, factor, layout), a0);
      a1 = madd(s0, rowsHigh(v, highBits, factor, layout), a1);
      v = v128.load(w, 16);
      b0 = madd(s1, rowsLow(v, bits, factor, layout), b0);
      b1 = madd(s1, rowsHigh(v, highBits, factor, layout), b1);
      v = v128.load(w, 32);
      c0 = madd(s2, rowsLow(v, bits, factor, layout), c0);
      c1 = madd(s2, rowsHigh(v, highBits, factor, layout), c1);
      v = v128.load(w, 48);
      d0 = madd(s3, rowsLow(v, bits, factor, layout), d0);
      d1 = madd(s3, rowsHigh(v, highBits, factor, layout), d1);
      w += 64;
    }
    x += 16;
  }
  while (x < end) {
    const s = v128.load32_splat(x);
    if (layout == F32) {
      a0 = madd(s, v128.load(w), a0);
      a1 = madd(s, v128.load(w, 16), a1);
      w += 32;
    } else {
      const v = v128.load(w);
      a0 = madd(s, rowsLow(v, bits, factor, layout), a0);
      a1 = madd(s, rowsHigh(v, highBits, factor, layout), a1);
      w += 16;
    }
    x += 4;
  }
  v128.store(sums, f32x4.add(f32x4.add(a0, b0), f32x4.add(c0, d0)));
  v128.store(sums, f32x4.add(f32x4.add(a1, b1), f32x4.add(c1, d1)), 16);
}

export function f32Times1(w: usize, x: usize, count: i32, sums: usize): void {
  rowsTimes1(w, x, count, sums, f32x4.splat(1), F32);
}

export function bf16Times1(w: usize, x: usize, count: i32, sums: usize): void {
  rowsTimes1(w, x, count, sums, f32x4.splat(1), BF16);
}

export function f16Times1(w: usize, x: usize, count: i32, sums: usize, factor: f32): void {
  rowsTimes1(w, x, count, sums, f32x4.splat(factor), F16);
}

export function f16SpecialTimes1(w: usize, x: usize, count: i32, sums: usize, factor: f32): void {
  rowsTimes1(w, x, count, sums, f32x4.splat(factor), F16_SPECIAL);
}

/** `count` blocks of halves to blocks of f32. */
export function unpackHalves(w: usize, count: i32, to: usize, layout: i32, factor: f32): void {
  const scale = f32x4.splat(factor);
  const end = w + (<usize> count << 4);
  if (layout == BF16) unpackBlocks(w, end, to, scale, BF16);
  else if (layout == F16) unpackBlocks(w, end, to, scale, F16);
  else unpackBlocks(w, end, to, scale, F16_SPECIAL);
}

@inline
function unpackBlocks(w: usize, end: usize, to: usize, factor: v128, layout: i32): void {
  const bits = i32x4.splat(BITS);
  const highBits = i32x4.splat(layout == BF16 ? 0xffff0000 : HIGH_BITS);
  while (w < end) {
    const v = v128.load(w);
    v128.store(to, rowsLow(v, bits, factor, layout));
    v128.store(to, rowsHigh(v, highBits, factor, layout), 16);
    w += 16;
    to += 32;
  }
}

/** Row `t` of rows `stride` bytes apart; from `count` on the last one. */
@inline
function rowAt(start: usize, stride: usize, t: i32, count: i32): usize {
  return start + <usize> min(t, count - 1) * stride;
}

/**
 * Packs `k` values of `count` ≤ 5 tokens, rows `stride` bytes apart, as blocks of 5; missing
 * tokens repeat the last one.
 */
export function packTokens(x: usize, stride: usize, count: i32, k: i32, to: usize): void {
  let x0 = x;
  let x1 = rowAt(x, stride, 1, count);
  let x2 = rowAt(x, stride, 2, count);
  let x3 = rowAt(x, stride, 3, count);
  let x4 = rowAt(x, stride, 4, count);
  for (; k >= 4; k -= 4) {
    const r0 = v128.load(x0);
    const r1 = v128.load(x1);
    const r2 = v128.load(x2);
    const r3 = v128.load(x3);
    const r4 = v128.load(x4);
    const low01 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
    const low23 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
    const high01 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
    const high23 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
    // Each store of r4 spills over into bytes that the next store sets right.
    v128.store(to, v128.shuffle<i64>(low01, low23, 0, 2));
    v128.store(to, r4, 16);
    v128.store(to, v128.shuffle<i64>(low01, low23, 1, 3), 20);
    v128.store(to, lane1(r4), 36);
    v128.store(to, v128.shuffle<i64>(high01, high23, 0, 2), 40);
    v128.store(to, lane2(r4), 56);
    v128.store(to, v128.shuffle<i64>(high01, high23, 1, 3), 60);
    store<f32>(to, f32x4.extract_lane(r4, 3), 76);
    x0 += 16;
    x1 += 16;
    x2 += 16;
    x3 += 16;
    x4 += 16;
    to += 80;
  }
  for (; k > 0; k--) {
    store<f32>(to, load<f32>(x0));
    store<f32>(to, load<f32>(x1), 4);
    store<f32>(to, load<f32>(x2), 8);
    store<f32>(to, load<f32>(x3), 12);
    store<f32>(to, load<f32>(x4), 16);
    x0 += 4;
    x1 += 4;
    x2 += 4;
    x3 += 4;
    x4 += 4;
    to += 20;
  }
}

/**
 * Adds 8 rows (f32 blocks `w`) times 5 packed tokens `a` to their sums, rows of 8 that start at
 * `sums`, `stride` bytes apart; sums of missing tokens (from `count` on) coincide with the last.
 */
export function tileTimes5(
  w: usize,
  a: usize,
  k: i32,
  sums: usize,
  stride: usize,
  count: i32,
): void {
  const y1 = rowAt(sums, stride, 1, count);
  const y2 = rowAt(sums, stride, 2, count);
  const y3 = rowAt(sums, stride, 3, count);
  const y4 = rowAt(sums, stride, 4, count);
  let p0 = v128.load(sums);
  let q0 = v128.load(sums, 16);
  let p1 = v128.load(y1);
  let q1 = v128.load(y1, 16);
  let p2 = v128.load(y2);
  let q2 = v128.load(y2, 16);
  let p3 = v128.load(y3);
  let q3 = v128.load(y3, 16);
  let p4 = v128.load(y4);
  let q4 = v128.load(y4, 16);
  const end = w + (<usize> k << 5);
  const fours = w + (<usize> (k & ~3) << 5);
  while (w < fours) {
    let w0 = v128.load(w);
    let w1 = v128.load(w, 16);
    let s = lane0(v128.load(a)); p0 = madd(s, w0, p0); q0 = madd(s, w1, q0);
    s = lane1(v128.load(a)); p1 = madd(s, w0, p1); q1 = madd(s, w1, q1);
    s = lane2(v128.load(a)); p2 = madd(s, w0, p2); q2 = madd(s, w1, q2);
    s = lane3(v128.load(a)); p3 = madd(s, w0, p3); q3 = madd(s, w1, q3);
    s = lane0(v128.load(a, 16)); p4 = madd(s, w0, p4); q4 = madd(s, w1, q4);
    w0 = v128.load(w, 32);
    w1 = v128.load(w, 48);
    s = lane1(v128.load(a, 16)); p0 = madd(s, w0, p0); q0 = madd(s, w1, q0);
    s = lane2(v128.load(a, 16)); p1 = madd(s, w0, p1); q1 = madd(s, w1, q1);
    s = lane3(v128.load(a, 16)); p2 = madd(s, w0, p2); q2 = madd(s, w1, q2);
    s = lane0(v128.load(a, 32)); p3 = madd(s, w0, p3); q3 = madd(s, w1, q3);
    s = lane1(v128.load(a, 32)); p4 = madd(s, w0, p4); q4 = madd(s, w1, q4);
    w0 = v128.load(w, 64);
    w1 = v128.load(w, 80);
    s = lane2(v128.load(a, 32)); p0 = madd(s, w0, p0); q0 = madd(s, w1, q0);
    s = lane3(v128.load(a, 32)); p1 = madd(s, w0, p1); q1 = madd(s, w1, q1);
    s = lane0(v128.load(a, 48)); p2 = madd(s, w0, p2); q2 = madd(s, w1, q2);
    s = lane1(v128.load(a, 48)); p3 = madd(s, w0, p3); q3 = madd(s, w1, q3);
    s = lane2(v128.load(a, 48)); p4 = madd(s, w0, p4); q4 = madd(s, w1, q4);
    w0 = v128.load(w, 96);
    w1 = v128.load(w, 112);
    s = lane3(v128.load(a, 48)); p0 = madd(s, w0, p0); q0 = madd(s, w1, q0);
    s = lane0(v128.load(a, 64)); p1 = madd(s, w0, p1); q1 = madd(s, w1, q1);
    s = lane1(v128.load(a, 64)); p2 = madd(s, w0, p2); q2 = madd(s, w1, q2);
    s = lane2(v128.load(a, 64)); p3 = madd(s, w0, p3); q3 = madd(s, w1, q3);
    s = lane3(v128.load(a, 64)); p4 = madd(s, w0, p4); q4 = madd(s, w1, q4);
    w += 128;
    a += 80;
  }
  while (w < end) {
    const w0 = v128.load(w);
    const w1 = v128.load(w, 16);
    let s = v128.load32_splat(a); p0 = madd(s, w0, p0); q0 = madd(s, w1, q0);
    s = v128.load32_splat(a, 4); p1 = madd(s, w0, p1); q1 = madd(s, w1, q1);
    s = v128.load32_splat(a, 8); p2 = madd(s, w0, p2); q2 = madd(s, w1, q2);
    s = v128.load32_splat(a, 12); p3 = madd(s, w0, p3); q3 = madd(s, w1, q3);
    s = v128.load32_splat(a, 16); p4 = madd(s, w0, p4); q4 = madd(s, w1, q4);
    w += 32;
    a += 20;
  }
  v128.store(sums, p0);
  v128.store(sums, q0, 16);
  v128.store(y1, p1);
  v128.store(y1, q1, 16);
  v128.store(y2, p2);
  v128.store(y2, q2, 16);
  v128.store(y3, p3);
  v128.store(y3, q3, 16);
  v128.store(y4, p4);
  v128.store(y4, q4, 16);
}
