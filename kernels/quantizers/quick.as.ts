// Scales of GPTQ's blocks, whose numbers are corrected ones: the search of search.as.ts in f32, four
// numbers at a time. It tries the same scales; where two are as good, it may choose the other.

import { half, halfBits } from "../pack/codes.as";
import { madd } from "../simd.as";
import { CELL } from "./area.as";

@inline const TINY: f32 = 1e-30;
@inline const HALF_MAX: f32 = 65504;
@inline const ROUNDS: i32 = 8;
/** Bytes of the 32 numbers of a block. */
@inline const BLOCK: usize = 128;

/** What the codes that were last tried take from the error, and their scale of least error. */
let gain: f32 = 0;
let fitted: f32 = 0;

@inline
function total(v: v128): f32 {
  const pairs = f32x4.add(v, v128.shuffle<i32>(v, v, 2, 3, 0, 1));
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1);
}

/** Codes nearest to four numbers. */
@inline
function codesOf(v: v128, inverse: v128, least: v128, most: v128): v128 {
  return f32x4.max(least, f32x4.min(most, f32x4.nearest(f32x4.mul(v, inverse))));
}

/** Tries the codes nearest to `x · inverse`; the greater the gain, the smaller the error. */
@inline
function tryScale(x: usize, w: usize, inverse: f32, least: v128, most: v128): void {
  const factor = f32x4.splat(inverse);
  let xq = f32x4.splat(0);
  let qq = f32x4.splat(0);
  for (let at: usize = 0; at < BLOCK; at += 16) {
    const v = v128.load(x + at);
    const q = codesOf(v, factor, least, most);
    const wq = f32x4.mul(v128.load(w + at), q);
    xq = madd(wq, v, xq);
    qq = madd(wq, q, qq);
  }
  const square = total(qq);
  const product = total(xq);
  fitted = square > 0 ? product / square : 0;
  gain = product * fitted;
}

/** The error of a scale with the codes nearest to it. */
function errorOf(x: usize, w: usize, scale: f32, least: v128, most: v128): f32 {
  const inverse = f32x4.splat(scale != 0 ? 1 / scale : 0);
  const factor = f32x4.splat(-scale);
  let error = f32x4.splat(0);
  for (let at: usize = 0; at < BLOCK; at += 16) {
    const v = v128.load(x + at);
    const off = madd(codesOf(v, inverse, least, most), factor, v);
    error = madd(f32x4.mul(v128.load(w + at), off), off, error);
  }
  return total(error);
}

/**
 * The scale of 32 numbers with whole codes from `lowest` to `highest`, as a half at `out`; false where a
 * half cannot hold it, or a number is none.
 */
export function quickScale(
  x: usize,
  w: usize,
  lowest: f32,
  highest: f32,
  out: usize,
  area: usize,
): bool {
  let most = f32x4.splat(0);
  for (let at: usize = 0; at < BLOCK; at += 16) most = f32x4.max(most, f32x4.abs(v128.load(x + at)));
  most = f32x4.max(most, v128.shuffle<i32>(most, most, 2, 3, 0, 1));
  const size = max(f32x4.extract_lane(most, 0), f32x4.extract_lane(most, 1));
  if (!(size <= f32.MAX_VALUE)) return false;
  store<u16>(out, 0);
  if (size < TINY) return true;
  let peak = size;
  for (let at: usize = 0; at < BLOCK; at += 4) if (load<f32>(x + at) == -size) peak = -size;
  const low = f32x4.splat(lowest);
  const high = f32x4.splat(highest);
  let best: f32 = 0;
  let bestGain: f32 = -1;
  for (let sign = 0; sign < (lowest == -highest ? 1 : 2); sign++) {
    const outermost = sign == 0 ? highest : lowest;
    let own: f32 = 0;
    let scale = peak / outermost;
    for (let i = 0; i < 33; i++) {
      const tried = i < 23
        ? abs(outermost) + 1.1 - 0.1 * <f32> i
        : abs(outermost) * (0.92 - 0.04 * <f32> (i - 23)) - 1;
      tryScale(x, w, (outermost < 0 ? -tried : tried) / peak, low, high);
      if (gain > own) {
        own = gain;
        scale = fitted;
      }
    }
    for (let round = 0; round < ROUNDS; round++) {
      tryScale(x, w, 1 / scale, low, high);
      if (!(gain > own)) break;
      own = gain;
      scale = fitted;
    }
    if (own > bestGain) {
      bestGain = own;
      best = scale;
    }
  }
  if (!(abs(best) <= HALF_MAX)) return false;
  store<u16>(out, nearestHalf(x, w, best, peak, lowest, highest, area + CELL));
  return true;
}

/** The half near `scale`, or one that rounding to nearest takes, whose codes have the least error. */
function nearestHalf(
  x: usize,
  w: usize,
  scale: f32,
  peak: f32,
  lowest: f32,
  highest: f32,
  cell: usize,
): i32 {
  const low = f32x4.splat(lowest);
  const high = f32x4.splat(highest);
  const first = <i32> halfBits(<f64> scale);
  let best = first;
  let least = f32.MAX_VALUE;
  for (let i = 0; i < 5; i++) {
    const bits = i == 0
      ? first
      : i == 1
      ? first - 1
      : i == 2
      ? first + 1
      : <i32> halfBits(<f64> (i == 3 ? peak / lowest : peak / highest));
    if (bits < 0 || (bits & 0x7fff) >= 0x7c00) continue;
    store<u16>(cell, bits);
    const error = errorOf(x, w, half(cell), low, high);
    if (error >= least) continue;
    least = error;
    best = bits;
  }
  return best;
}
