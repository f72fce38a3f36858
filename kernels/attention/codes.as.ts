// What scores and sums on caches of int8 share: int16 codes of queries and weights, products of pairs.

import { madd } from "../simd.as";

/** Greatest int16 code. */
@inline export const LARGEST_CODE: f32 = 32767;
/** 1.5·2^23: added to a small number, it leaves the nearest integer in the low bits. */
@inline export const MAGIC: f32 = 12582912;

/** sum + products of pairs of int16. */
@inline
export function dot(x: v128, y: v128, sum: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(x, y));
}

/** The first int8 of each pair as int16; `ones` are eight of them. */
@inline
export function evenCodes(v: v128, ones: v128): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return i16x8.relaxed_dot_i8x16_i7x16_s(v, ones);
  } else {
    return i16x8.shr_s(i16x8.shl(v, 8), 8);
  }
}

/** The second int8 of each pair as int16. */
@inline
export function oddCodes(v: v128): v128 {
  return i16x8.shr_s(v, 8);
}

/**
 * Eight floats times `inverse` as int16, in the order 0, 4, 1, 5, 2, 6, 3, 7; NaN is 0. `magic` is
 * MAGIC.
 */
@inline
export function toCodes(x: v128, y: v128, inverse: v128, magic: v128): v128 {
  // The low bits of NaN are 0.
  const low = madd(x, inverse, magic);
  const high = i32x4.shl(madd(y, inverse, magic), 16);
  return v128.shuffle<i16>(low, high, 0, 9, 2, 11, 4, 13, 6, 15);
}

/** The sums of the lanes of four vectors of i32. */
@inline
export function addLanes(a: v128, b: v128, c: v128, d: v128): v128 {
  const x = i32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const y = i32x4.add(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return i32x4.add(v128.shuffle<i64>(x, y, 0, 2), v128.shuffle<i64>(x, y, 1, 3));
}

/** The greatest of the lanes of four vectors of f32. */
@inline
export function greatestLanes(a: v128, b: v128, c: v128, d: v128): v128 {
  const x = f32x4.pmax(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const y = f32x4.pmax(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return f32x4.pmax(v128.shuffle<i64>(x, y, 0, 2), v128.shuffle<i64>(x, y, 1, 3));
}
