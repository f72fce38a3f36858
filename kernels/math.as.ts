// Exponentials, four f32 lanes at a time; curves.as.ts has what is made of them.
//
// exp(x) = 2^n · e^r with n = round(x / ln 2) and r = x − n·ln 2 in two steps (Cody and Waite,
// Software Manual for the Elementary Functions, 1980), so |r| ≤ 0.3466. e^r = 1 + r + r²·Q(r),
// Q of degree 4, minimax by the Remez exchange: 3.1e-9 of e^r; with rounding the relative error is
// 1.2e-7 at most over a million points in [-87, 0]. Adding 1.5·2^23 rounds to an integer and leaves
// n in the low bits of the sum; with the exponent bias added too, a shift by 23 makes 2^n.
// Results below 2^-126 become 0, exp(x) for x ≥ 88.38 becomes Inf, NaN stays NaN.
//
// The constants are splat outside the loops by hand: V8 would build them again at each use.

import { madd } from "./simd.as";

@inline export const LOG2E: f32 = 1.44269504;
/** 1.5·2^23 + 127. */
@inline export const ROUND: f32 = 12583039;
/** −ln 2 in two parts; n times the first is exact. */
@inline export const LN2_HIGH: f32 = -0.693145751953125;
@inline export const LN2_LOW: f32 = -1.42860677e-6;
@inline export const E2: f32 = 0.49999993447698987;
@inline export const E3: f32 = 0.16666520631551496;
@inline export const E4: f32 = 0.041668388063797739;
@inline export const E5: f32 = 0.0083687168946374683;
@inline export const E6: f32 = 0.0013814597800452567;
/** Below it the scale 2^n is 0. */
@inline export const LEAST: f32 = -88;
/** At it the scale 2^n is Inf. */
@inline export const MOST: f32 = 89;

/**
 * dst = exp(src − shift) for `vectors` × 4 floats with src ≤ shift (or NaN); dst may be src.
 * Returns the sum in each of the four lanes.
 */
export function expShifted(src: usize, dst: usize, vectors: i32, shift: v128): v128 {
  const least = f32x4.splat(LEAST);
  const log2e = f32x4.splat(LOG2E);
  const round = f32x4.splat(ROUND);
  const high = f32x4.splat(LN2_HIGH);
  const low = f32x4.splat(LN2_LOW);
  const e2 = f32x4.splat(E2);
  const e3 = f32x4.splat(E3);
  const e4 = f32x4.splat(E4);
  const e5 = f32x4.splat(E5);
  const e6 = f32x4.splat(E6);
  const one = f32x4.splat(1);
  let sum = f32x4.splat(0);
  for (; vectors > 0; vectors--) {
    const x = f32x4.pmax(f32x4.sub(v128.load(src), shift), least);
    const t = madd(x, log2e, round);
    const n = f32x4.sub(t, round);
    const r = madd(n, low, madd(n, high, x));
    let q = madd(e6, r, e5);
    q = madd(q, r, e4);
    q = madd(q, r, e3);
    q = madd(q, r, e2);
    q = madd(madd(q, r, one), r, one);
    const y = f32x4.mul(q, i32x4.shl(t, 23));
    v128.store(dst, y);
    sum = f32x4.add(sum, y);
    src += 16;
    dst += 16;
  }
  return sum;
}
