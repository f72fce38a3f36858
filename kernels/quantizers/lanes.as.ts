// Four groups of a block at a time, one in each lane of a vector: what quant/nearest_k.ts does with one
// group after another. `x` is an address of vectors of which the k-th has the k-th number of each group.

import { truncFour } from "../simd.as";

@inline const HUGE: f32 = 3e8;

/** Turns groups of `bytes` each, four at a time, so that each lies in a lane. */
export function turn(from: usize, bytes: usize, to: usize): void {
  const end = from + 1024;
  for (; from < end; from += 3 * bytes) {
    for (const last = from + bytes; from < last; from += 16, to += 64) {
      const a = v128.load(from);
      const b = v128.load(from + bytes);
      const c = v128.load(from + 2 * bytes);
      const d = v128.load(from + 3 * bytes);
      const ab = v128.shuffle<i32>(a, b, 0, 4, 1, 5);
      const cd = v128.shuffle<i32>(c, d, 0, 4, 1, 5);
      const ba = v128.shuffle<i32>(a, b, 2, 6, 3, 7);
      const dc = v128.shuffle<i32>(c, d, 2, 6, 3, 7);
      v128.store(to, v128.shuffle<i64>(ab, cd, 0, 2));
      v128.store(to, v128.shuffle<i64>(ab, cd, 1, 3), 16);
      v128.store(to, v128.shuffle<i64>(ba, dc, 0, 2), 32);
      v128.store(to, v128.shuffle<i64>(ba, dc, 1, 3), 48);
    }
  }
}

/** Whether all magnitudes of a block are at most `HUGE`. */
export function areHeld(x: usize): bool {
  let most = f32x4.splat(0);
  for (const end = x + 1024; x < end; x += 16) most = f32x4.max(most, f32x4.abs(v128.load(x)));
  return v128.all_true<i32>(f32x4.le(most, f32x4.splat(HUGE)));
}

@inline
export function clamp(value: v128, least: v128, most: v128): v128 {
  return f32x4.pmax(f32x4.pmin(value, most), least);
}

@inline
export function codeOf(value: v128, inverse: v128, least: v128, most: v128): v128 {
  return clamp(f32x4.nearest(f32x4.mul(value, inverse)), least, most);
}

/** 1 / step; 0 for 0. */
@inline
export function inverseOf(step: v128): v128 {
  return v128.and(f32x4.div(f32x4.splat(1), step), f32x4.ne(step, f32x4.splat(0)));
}

@inline
export function squared(off: v128): v128 {
  return f32x4.mul(off, off);
}

/** Errors of four groups, whose numbers lie from `x` to `end`, with the nearest codes. */
export function errorOf(x: usize, end: usize, step: v128, low: v128, least: v128, most: v128): v128 {
  const inverse = inverseOf(step);
  let error = f32x4.splat(0);
  for (; x < end; x += 16) {
    const v = f32x4.add(v128.load(x), low);
    const q = codeOf(v, inverse, least, most);
    error = f32x4.add(error, squared(f32x4.sub(v, f32x4.mul(step, q))));
  }
  return error;
}

/** What `chooseThree` found for four groups. */
export let chosen: v128 = i32x4.splat(0);
export let chosenLow: v128 = i32x4.splat(0);
export let chosenError: v128 = i32x4.splat(0);

/** The best of three multiples, each with its own multiple of the minimum. */
export function chooseThree(
  x: usize,
  end: usize,
  unit: v128,
  unitLow: v128,
  least: v128,
  most: v128,
  s0: v128,
  s1: v128,
  s2: v128,
  m0: v128,
  m1: v128,
  m2: v128,
): void {
  const step0 = f32x4.mul(unit, s0);
  const step1 = f32x4.mul(unit, s1);
  const step2 = f32x4.mul(unit, s2);
  const inverse0 = inverseOf(step0);
  const inverse1 = inverseOf(step1);
  const inverse2 = inverseOf(step2);
  const low0 = f32x4.mul(unitLow, m0);
  const low1 = f32x4.mul(unitLow, m1);
  const low2 = f32x4.mul(unitLow, m2);
  let error0 = f32x4.splat(0);
  let error1 = f32x4.splat(0);
  let error2 = f32x4.splat(0);
  for (; x < end; x += 16) {
    const v = v128.load(x);
    const v0 = f32x4.add(v, low0);
    const v1 = f32x4.add(v, low1);
    const v2 = f32x4.add(v, low2);
    const q0 = codeOf(v0, inverse0, least, most);
    const q1 = codeOf(v1, inverse1, least, most);
    const q2 = codeOf(v2, inverse2, least, most);
    error0 = f32x4.add(error0, squared(f32x4.sub(v0, f32x4.mul(step0, q0))));
    error1 = f32x4.add(error1, squared(f32x4.sub(v1, f32x4.mul(step1, q1))));
    error2 = f32x4.add(error2, squared(f32x4.sub(v2, f32x4.mul(step2, q2))));
  }
  const isOne = f32x4.lt(error1, error0);
  const error = v128.bitselect(error1, error0, isOne);
  const isTwo = f32x4.lt(error2, error);
  chosen = v128.bitselect(s2, v128.bitselect(s1, s0, isOne), isTwo);
  chosenLow = v128.bitselect(m2, v128.bitselect(m1, m0, isOne), isTwo);
  chosenError = v128.bitselect(error2, error, isTwo);
}

/** Sums over the codes of four groups, into `to`. */
export function sumCodes(
  x: usize,
  end: usize,
  step: v128,
  low: v128,
  least: v128,
  most: v128,
  to: usize,
): void {
  const inverse = inverseOf(step);
  let sq = f32x4.splat(0);
  let sqq = f32x4.splat(0);
  let sqx = f32x4.splat(0);
  let sx = f32x4.splat(0);
  for (; x < end; x += 16) {
    const v = v128.load(x);
    const q = codeOf(f32x4.add(v, low), inverse, least, most);
    sq = f32x4.add(sq, q);
    sqq = f32x4.add(sqq, f32x4.mul(q, q));
    sqx = f32x4.add(sqx, f32x4.mul(q, v));
    sx = f32x4.add(sx, v);
  }
  v128.store(to, sq);
  v128.store(to, sqq, 16);
  v128.store(to, sqx, 32);
  v128.store(to, sx, 48);
}

/** Writes the codes of four groups of `size` numbers, `shift` more than they are, one group after another. */
export function putCodes(
  x: usize,
  size: usize,
  step: v128,
  low: v128,
  least: v128,
  most: v128,
  shift: i32,
  to: usize,
): void {
  const inverse = inverseOf(step);
  const by = i32x4.splat(shift);
  for (const end = x + (size << 4); x < end; x += 64, to += 4) {
    const a = wholeCode(v128.load(x), inverse, low, least, most, by);
    const b = wholeCode(v128.load(x, 16), inverse, low, least, most, by);
    const c = wholeCode(v128.load(x, 32), inverse, low, least, most, by);
    const d = wholeCode(v128.load(x, 48), inverse, low, least, most, by);
    const bytes = i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
    const turned = v128.shuffle<i8>(
      bytes, bytes, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
    );
    v128.store_lane<i32>(to, turned, 0);
    v128.store_lane<i32>(to + size, turned, 1);
    v128.store_lane<i32>(to + 2 * size, turned, 2);
    v128.store_lane<i32>(to + 3 * size, turned, 3);
  }
}

@inline
export function wholeCode(
  x: v128,
  inverse: v128,
  low: v128,
  least: v128,
  most: v128,
  by: v128,
): v128 {
  const code = codeOf(f32x4.add(x, low), inverse, least, most);
  return i32x4.add(truncFour(code), by);
}
