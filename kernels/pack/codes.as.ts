// What decoding and encoding of tensor types share: halves one at a time, and small whole numbers
// to f32, sixteen at a time.

import { F16_REBIAS } from "../simd.as";

/** The half at `p` as f32, exactly. */
@inline
export function half(p: usize): f32 {
  const bits = <u32> load<u16>(p);
  const magnitude = bits & 0x7fff;
  const value = magnitude >= 0x7c00
    ? reinterpret<f32>(magnitude << 13 | 0x7f800000)
    : reinterpret<f32>(magnitude << 13) * F16_REBIAS;
  return bits >> 15 ? -value : value;
}

/** Bits of the half nearest to `x`, ties to even, overflow to infinity. */
export function halfBits(x: f64): u32 {
  const bits = reinterpret<u64>(x);
  const sign = <u32> (bits >> 48) & 0x8000;
  const magnitude = abs(x);
  if (!(magnitude < 65520)) return sign | (magnitude == magnitude ? 0x7c00 : 0x7e00);
  // Below the normal halves, and up to the smallest of them: a multiple of 2^-24.
  if (magnitude < 0.00006103515625) return sign | <u32> nearest(magnitude * 16777216);
  const kept = bits & 0x7fffffffffffffff;
  const rounded = kept + 0x1ffffffffff + (kept >> 42 & 1);
  return sign | <u32> (rounded >> 42) - (1008 << 10);
}

/**
 * Bits of the half that a block scale is stored as: the nearest, but never smaller in magnitude
 * than a subnormal `scale`, as `scaleBits` in quant/half.ts.
 */
export function scaleBits(scale: f64): u32 {
  const bits = halfBits(scale);
  const magnitude = abs(scale);
  if (magnitude < 0.00006103515625 && <f64> (bits & 0x7fff) / 16777216 < magnitude) return bits + 1;
  return bits;
}

/** Sixteen signed bytes, times `scale`, plus `min`, as f32; -0 for `min` adds nothing. */
@inline
export function storeCodes(codes: v128, scale: v128, min: v128, to: usize): void {
  const low = i16x8.extend_low_i8x16_s(codes);
  const high = i16x8.extend_high_i8x16_s(codes);
  const v0 = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(low));
  const v1 = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(low));
  const v2 = f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(high));
  const v3 = f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(high));
  v128.store(to, f32x4.add(f32x4.mul(v0, scale), min));
  v128.store(to, f32x4.add(f32x4.mul(v1, scale), min), 16);
  v128.store(to, f32x4.add(f32x4.mul(v2, scale), min), 32);
  v128.store(to, f32x4.add(f32x4.mul(v3, scale), min), 48);
}

/** The low nibbles of sixteen bytes. */
@inline
export function lowNibbles(v: v128): v128 {
  return v128.and(v, i8x16.splat(15));
}

/** The high nibbles of sixteen bytes. */
@inline
export function highNibbles(v: v128): v128 {
  return i8x16.shr_u(v, 4);
}

/** Byte k is 16 where bit k of the 16-bit number at `p` is set, else 0. */
@inline
export function fifthBits(p: usize): v128 {
  const word = v128.load16_splat(p);
  const bytes = v128.shuffle<i8>(word, word, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
  const bits = i64x2.splat(0x8040201008040201);
  return v128.and(i8x16.eq(v128.and(bytes, bits), bits), i8x16.splat(16));
}

/** The values of Q4_0. */
@inline
export function linearCodes(): v128 {
  return i8x16(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
}

/** The values of IQ4_NL. */
@inline
export function nonlinearCodes(): v128 {
  return i8x16(-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113);
}

/** Scale `j` of eight, six bits each, packed with the minima in the 12 bytes at `p`. */
@inline
export function groupScale(p: usize, j: i32): f32 {
  if (j < 4) return <f32> (<i32> load<u8>(p + j) & 63);
  return <f32> (<i32> load<u8>(p + j + 4) & 15 | <i32> load<u8>(p + j - 4) >> 6 << 4);
}

/** Minimum `j` of eight. */
@inline
export function groupMin(p: usize, j: i32): f32 {
  if (j < 4) return <f32> (<i32> load<u8>(p + j + 4) & 63);
  return <f32> (<i32> load<u8>(p + j + 4) >> 4 | <i32> load<u8>(p + j) >> 6 << 4);
}

/** Scale `group` of sixteen of the block of Q3_K at `p`. */
@inline
export function scaleQ3K(p: usize, group: i32): i32 {
  const low = <i32> load<u8>(p + 96 + (group & 7)) >> (group >> 3 << 2) & 15;
  const high = <i32> load<u8>(p + 104 + (group & 3)) >> (group >> 2 << 1) & 3;
  return (low | high << 4) - 32;
}
