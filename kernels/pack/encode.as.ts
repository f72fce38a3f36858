// f32 to the exchange form of the other layouts, with the very bits that quant/blocks.ts and
// quant/formats.ts give: the arithmetic is in f64, as it is there. Each function encodes the numbers
// from `from` up to `end`, whole blocks, and is false where the layout cannot hold one.

import { truncPair } from "../simd.as";
import { half, halfBits, scaleBits } from "./codes.as";

@inline const HALF_MAX: f32 = 65504;

export function encodeF16(from: usize, end: usize, to: usize): bool {
  for (; from < end; from += 4, to += 2) {
    const value = load<f32>(from);
    const magnitude = abs(value);
    if (magnitude >= 65520 && magnitude < Infinity) return false;
    store<u16>(to, halfBits(value));
  }
  return true;
}

export function encodeBf16(from: usize, end: usize, to: usize): bool {
  for (; from < end; from += 4, to += 2) {
    const bits = load<u32>(from);
    const rounded = bits + 0x7fff + (bits >> 16 & 1);
    store<u16>(to, (bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded >> 16);
  }
  return true;
}

/** Scale: greatest magnitude / 127. */
export function encodeInt8(from: usize, end: usize, to: usize): bool {
  const offset = f64x2.splat(128.5);
  const center = i8x16.splat(-128);
  for (; from < end; from += 128, to += 34) {
    store<u16>(to, scaleBits(<f64> reinterpret<f32>(greatest(from)) / 127));
    const d = half(to);
    if (!(d <= HALF_MAX)) return false;
    const inverse = f64x2.splat(d > 0 ? 1 / <f64> d : 0);
    v128.store(to + 2, i8x16.sub(codes(from, inverse, offset), center));
    v128.store(to + 18, i8x16.sub(codes(from + 64, inverse, offset), center));
  }
  return true;
}

/** Scale: the first value of greatest magnitude / −8. */
export function encodeInt4(from: usize, end: usize, to: usize): bool {
  const offset = f64x2.splat(8.5);
  const fifteen = i8x16.splat(15);
  for (; from < end; from += 128, to += 18) {
    const bits = greatest(from);
    const most = reinterpret<f32>(bits);
    let peak = from;
    let at = 0;
    for (; !at; peak += 16) {
      const magnitudes = v128.and(v128.load(peak), i32x4.splat(0x7fffffff));
      at = i32x4.bitmask(i32x4.eq(magnitudes, i32x4.splat(bits)));
    }
    const value = load<f32>(peak - 16 + (ctz(at) << 2));
    // Zeros of either sign are as one, as they are in JavaScript.
    store<u16>(to, scaleBits(<f64> (bits ? value : 0) / -8));
    const d = half(to);
    if (!(abs(d) <= HALF_MAX) || most != most) return false;
    const inverse = f64x2.splat(d != 0 ? 1 / <f64> d : 0);
    const low = i8x16.min_u(codes(from, inverse, offset), fifteen);
    const high = i8x16.min_u(codes(from + 64, inverse, offset), fifteen);
    v128.store(to + 2, v128.or(low, i8x16.shl(high, 4)));
  }
  return true;
}

/** Fifteen equal steps from the least value, as stored, to the greatest. */
export function encodeInt4m(from: usize, end: usize, to: usize): bool {
  for (; from < end; from += 128, to += 20) {
    let least = v128.load(from);
    let most = least;
    for (let p = from + 16; p < from + 128; p += 16) {
      const v = v128.load(p);
      least = f32x4.min(least, v);
      most = f32x4.max(most, v);
    }
    least = f32x4.min(least, v128.shuffle<i32>(least, least, 2, 3, 0, 1));
    least = f32x4.min(least, v128.shuffle<i32>(least, least, 1, 0, 3, 2));
    most = f32x4.max(most, v128.shuffle<i32>(most, most, 2, 3, 0, 1));
    most = f32x4.max(most, v128.shuffle<i32>(most, most, 1, 0, 3, 2));
    store<u16>(to + 2, halfBits(f32x4.extract_lane(least, 0) + 0));
    const m = <f64> half(to + 2);
    store<u16>(to, scaleBits(max(<f64> f32x4.extract_lane(most, 0) - m, 0) / 15));
    const d = <f64> half(to);
    if (!(max(d, abs(m)) <= HALF_MAX)) return false;
    const inverse = d > 0 ? 1 / d : 0;
    for (let k = 0; k < 16; k++) {
      const low = step(from + (k << 2), m, inverse);
      const high = step(from + 64 + (k << 2), m, inverse);
      store<u8>(to + 4 + k, low | high << 4);
    }
  }
  return true;
}

@inline
function step(p: usize, m: f64, inverse: f64): u32 {
  return min(<u32> max((<f64> load<f32>(p) - m) * inverse + 0.5, 0), 15);
}

/** The bits of the greatest magnitude of 32 numbers: those of NaN where one is NaN. */
@inline
function greatest(from: usize): i32 {
  const magnitude = i32x4.splat(0x7fffffff);
  let most = v128.and(v128.load(from), magnitude);
  for (let p = from + 16; p < from + 128; p += 16) {
    most = i32x4.max_s(most, v128.and(v128.load(p), magnitude));
  }
  most = i32x4.max_s(most, v128.shuffle<i32>(most, most, 2, 3, 0, 1));
  most = i32x4.max_s(most, v128.shuffle<i32>(most, most, 1, 0, 3, 2));
  return i32x4.extract_lane(most, 0);
}

/** Sixteen numbers times `inverse` plus `offset`, none of them negative, without their fractions. */
@inline
function codes(from: usize, inverse: v128, offset: v128): v128 {
  const low = i16x8.narrow_i32x4_u(codes4(from, inverse, offset), codes4(from + 16, inverse, offset));
  const high = i16x8.narrow_i32x4_u(
    codes4(from + 32, inverse, offset),
    codes4(from + 48, inverse, offset),
  );
  return i8x16.narrow_i16x8_u(low, high);
}

@inline
function codes4(from: usize, inverse: v128, offset: v128): v128 {
  const v = v128.load(from);
  const low = f64x2.promote_low_f32x4(v);
  const high = f64x2.promote_low_f32x4(v128.shuffle<i32>(v, v, 2, 3, 2, 3));
  return v128.shuffle<i64>(
    truncPair(f64x2.add(f64x2.mul(low, inverse), offset)),
    truncPair(f64x2.add(f64x2.mul(high, inverse), offset)),
    0,
    2,
  );
}
