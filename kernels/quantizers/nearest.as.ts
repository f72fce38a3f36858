// Blocks to nearest: quant/nearest.ts with the same bytes, which are ggml's. Every step is in f32, as it
// is there. Each function encodes whole blocks and is false where a half cannot hold a scale, or a number
// is none.

import { halfBits } from "../pack/codes.as";
import { decode } from "../pack/decode.as";
import { encodeBf16, encodeF16 } from "../pack/encode.as";
import { truncFour } from "../simd.as";
import { blockBytes } from "./blocks.as";
import { packFifths } from "./codes.as";
import { nearestRanges, nearestSixBits } from "./nearest_k.as";

@inline const HALF_MAX: f32 = 65504;

/**
 * `count` numbers of type `from` at `source` to type `to` at `out`, by way of f32 at `values`. Types go
 * by their numbers in the specification. `area` is scratch memory of a worker.
 */
export function encodeNearest(
  from: i32,
  source: usize,
  count: i32,
  values: usize,
  to: i32,
  out: usize,
  area: usize,
): i32 {
  decode(from, source, count, values);
  const end = values + (<usize> count << 2);
  switch (to) {
    case 0: memory.copy(out, values, end - values); return 1;
    case 1: return encodeF16(values, end, out) ? 1 : 0;
    case 30: return encodeBf16(values, end, out) ? 1 : 0;
    case 2: return peaked(values, end, out, area, 8, false) ? 1 : 0;
    case 6: return peaked(values, end, out, area, 16, true) ? 1 : 0;
    case 3: return ranged(values, end, out, area, 15, false) ? 1 : 0;
    case 7: return ranged(values, end, out, area, 31, true) ? 1 : 0;
    case 8: return eightBits(values, end, out) ? 1 : 0;
    default: return groups(values, end, to, out, area) ? 1 : 0;
  }
}

/** Blocks of K-quants. */
function groups(from: usize, end: usize, type: i32, out: usize, area: usize): bool {
  const bytes = <usize> blockBytes(type);
  for (; from < end; from += 1024, out += bytes) {
    if (type == 14) {
      if (!nearestSixBits(from, out, area)) return false;
    } else if (!nearestRanges(from, out, area, type == 12 ? 15 : 31, type)) return false;
  }
  return true;
}

/** The greatest of the lanes. */
@inline
function lanesMax(v: v128): f32 {
  const pairs = f32x4.max(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(f32x4.max(pairs, v128.shuffle<i32>(pairs, pairs, 1, 0, 3, 2)), 0);
}

/** Bits of the greatest magnitude of 32 numbers; greater than infinity's where one is NaN. */
@inline
function greatestBits(p: usize): i32 {
  const kept = i32x4.splat(0x7fffffff);
  let most = v128.and(v128.load(p), kept);
  for (let at = p + 16; at < p + 128; at += 16) {
    most = i32x4.max_s(most, v128.and(v128.load(at), kept));
  }
  return signedMax(most);
}

@inline
function signedMax(v: v128): i32 {
  const pairs = i32x4.max_s(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return i32x4.extract_lane(i32x4.max_s(pairs, v128.shuffle<i32>(pairs, pairs, 1, 0, 3, 2)), 0);
}

@inline
function unsignedMax(v: v128): i32 {
  const pairs = i32x4.max_u(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return i32x4.extract_lane(i32x4.max_u(pairs, v128.shuffle<i32>(pairs, pairs, 1, 0, 3, 2)), 0);
}

/** The first of 32 numbers of greatest magnitude; NaN where one is. */
@inline
function peakOf(p: usize): f32 {
  // As whole numbers with a sign, bits of positive numbers are in order; without one, the greatest are
  // those of the negative number of greatest magnitude.
  let up = v128.load(p);
  let down = up;
  for (let at = p + 16; at < p + 128; at += 16) {
    const v = v128.load(at);
    up = i32x4.max_s(up, v);
    down = i32x4.max_u(down, v);
  }
  const positive = max<i32>(signedMax(up), 0);
  const least = unsignedMax(down);
  const negative = least < 0 ? least & 0x7fffffff : 0;
  if (positive == negative) {
    const magnitude = reinterpret<f32>(positive);
    return magnitude > 0 ? firstOf(p, magnitude, true) : magnitude;
  }
  return reinterpret<f32>(positive > negative ? positive : least);
}

/** The first of 32 numbers that equals `value`, or whose magnitude does. */
@inline
function firstOf(p: usize, value: f32, isMagnitude: bool): f32 {
  const wanted = f32x4.splat(value);
  let found = 0;
  for (; !found; p += 16) {
    const v = v128.load(p);
    found = i32x4.bitmask(f32x4.eq(isMagnitude ? f32x4.abs(v) : v, wanted));
  }
  return load<f32>(p - 16 + (<usize> ctz(found) << 2));
}

/** Codes of sixteen numbers: (v − least) · inverse + shift without its fraction, at most `most`. */
@inline
function codes(
  p: usize,
  hasLeast: bool,
  least: v128,
  inverse: v128,
  shift: v128,
  most: v128,
): v128 {
  const a = truncFour(scaledOf(p, hasLeast, least, inverse, shift));
  const b = truncFour(scaledOf(p + 16, hasLeast, least, inverse, shift));
  const c = truncFour(scaledOf(p + 32, hasLeast, least, inverse, shift));
  const d = truncFour(scaledOf(p + 48, hasLeast, least, inverse, shift));
  const low = i16x8.narrow_i32x4_s(a, b);
  return i8x16.min_u(i8x16.narrow_i16x8_u(low, i16x8.narrow_i32x4_s(c, d)), most);
}

@inline
function scaledOf(p: usize, hasLeast: bool, least: v128, inverse: v128, shift: v128): v128 {
  const v = hasLeast ? f32x4.sub(v128.load(p), least) : v128.load(p);
  return f32x4.add(f32x4.mul(v, inverse), shift);
}

/** Writes 32 codes as nibbles, or with fifth bits. Codes are 0 where the inverse of a scale is no number. */
@inline
function writeCodes(
  p: usize,
  hasLeast: bool,
  least: f32,
  inverse: f32,
  shift: f32,
  most: i32,
  isFive: bool,
  out: usize,
  area: usize,
): void {
  const l = f32x4.splat(least);
  const s = f32x4.splat(shift);
  const m = i8x16.splat(<i8> most);
  const isFinite = inverse - inverse == 0;
  const i = f32x4.splat(isFinite ? inverse : 0);
  const none = isFinite ? i8x16.splat(-1) : i8x16.splat(0);
  const low = v128.and(codes(p, hasLeast, l, i, s, m), none);
  const high = v128.and(codes(p + 64, hasLeast, l, i, s, m), none);
  if (isFive) {
    v128.store(area, low);
    v128.store(area, high, 16);
    packFifths(area, out);
  } else v128.store(out, v128.or(low, i8x16.shl(high, 4)));
}

/** Bits of the half nearest to a scale. */
@inline
function scaleHalf(d: f32): i32 {
  const bits = reinterpret<u32>(d);
  const magnitude = bits & 0x7fffffff;
  // Most are halves with a leading one: their fraction is rounded, and its carry goes where it must.
  if (magnitude - 0x38800000 <= 0x477fe000 - 0x38800000) {
    const rounded = magnitude + 0xfff + (magnitude >> 13 & 1) >> 13;
    return <i32> (bits >> 16 & 0x8000 | rounded - (112 << 10));
  }
  return <i32> halfBits(<f64> d);
}

/** Q4_0 and Q5_0: the number of greatest magnitude gets code 0. */
function peaked(
  from: usize,
  end: usize,
  out: usize,
  area: usize,
  levels: i32,
  isFive: bool,
): bool {
  const bytes: usize = isFive ? 22 : 18;
  for (; from < end; from += 128, out += bytes) {
    const d = peakOf(from) / <f32> -levels;
    if (!(abs(d) <= HALF_MAX)) return false;
    store<u16>(out, scaleHalf(d));
    const inverse: f32 = d != 0 ? 1 / d : 0;
    writeCodes(from, false, 0, inverse, <f32> levels + 0.5, 2 * levels - 1, isFive, out + 2, area);
  }
  return true;
}

/** Q4_1 and Q5_1: equal steps from the least number to the greatest. */
function ranged(
  from: usize,
  end: usize,
  out: usize,
  area: usize,
  steps: i32,
  isFive: bool,
): bool {
  const bytes: usize = isFive ? 24 : 20;
  for (; from < end; from += 128, out += bytes) {
    let low = v128.load(from);
    let high = low;
    for (let at = from + 16; at < from + 128; at += 16) {
      const v = v128.load(at);
      low = f32x4.min(low, v);
      high = f32x4.max(high, v);
    }
    const lowest = -lanesMax(f32x4.neg(low));
    const greatest = lanesMax(high);
    if (!(greatest - lowest < Infinity)) return false;
    const least = firstOf(from, lowest, false);
    const d = (greatest - least) / <f32> steps;
    if (!(abs(d) <= HALF_MAX && abs(least) <= HALF_MAX)) return false;
    store<u16>(out, scaleHalf(d));
    store<u16>(out + 2, scaleHalf(least));
    const inverse: f32 = d != 0 ? 1 / d : 0;
    writeCodes(from, true, least, inverse, 0.5, steps, isFive, out + 4, area);
  }
  return true;
}

/** Q8_0: halves away from zero. */
function eightBits(from: usize, end: usize, out: usize): bool {
  for (; from < end; from += 128, out += 34) {
    const d = reinterpret<f32>(greatestBits(from)) / 127;
    if (!(d <= HALF_MAX)) return false;
    store<u16>(out, scaleHalf(d));
    const inverse: f32 = d != 0 ? 1 / d : 0;
    if (!(inverse - inverse == 0)) {
      memory.fill(out + 2, 0, 32);
      continue;
    }
    const i = f32x4.splat(inverse);
    v128.store(out, signed(from, i), 2);
    v128.store(out, signed(from + 64, i), 18);
  }
  return true;
}

/** Sixteen scaled numbers as signed bytes. */
@inline
function signed(p: usize, inverse: v128): v128 {
  const low = i16x8.narrow_i32x4_s(away(p, inverse), away(p + 16, inverse));
  return i8x16.narrow_i16x8_s(low, i16x8.narrow_i32x4_s(away(p + 32, inverse), away(p + 48, inverse)));
}

@inline
function away(p: usize, inverse: v128): v128 {
  const scaled = f32x4.mul(v128.load(p), inverse);
  const whole = f32x4.trunc(scaled);
  const rest = f32x4.sub(scaled, whole);
  const isUp = f32x4.ge(f32x4.abs(rest), f32x4.splat(0.5));
  const one = v128.or(f32x4.splat(1), v128.and(scaled, i32x4.splat(0x80000000)));
  return truncFour(f32x4.add(whole, v128.and(one, isUp)));
}
