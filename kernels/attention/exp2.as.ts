// Powers of two for the weights of attention, whose scores are in units of log 2: shorter than
// `expShifted` of kernels/math.as.ts, because sums of weights need less than the last bit.
//
// 2^x = 2^n · 2^f with n = round(x), |f| ≤ 1/2 exactly, and 2^f = 1 + f·Q(f) with Q of degree 4, minimax
// by the Remez exchange: 4.3e-7 of 2^f, 5.1e-7 with rounding over a million points. The rest is as in
// math.as.ts: results below 2^-126 are 0, NaN stays NaN.

import { ROUND } from "../math.as";
import { madd } from "../simd.as";

/** Its scale 2^n is 0. */
@inline const LEAST: f32 = -127;
@inline const E1: f32 = 0.69314283;
@inline const E2: f32 = 0.24022351;
@inline const E3: f32 = 0.055574005;
@inline const E4: f32 = 0.009666283;
@inline const E5: f32 = 0.0011125508;

/** 2^x in four lanes, for x ≤ 0 (or NaN). */
export function exp2Of(x: v128): v128 {
  const round = f32x4.splat(ROUND);
  x = f32x4.pmax(x, f32x4.splat(LEAST));
  const t = f32x4.add(x, round);
  const f = f32x4.sub(x, f32x4.sub(t, round));
  let q = madd(f32x4.splat(E5), f, f32x4.splat(E4));
  q = madd(q, f, f32x4.splat(E3));
  q = madd(q, f, f32x4.splat(E2));
  q = madd(q, f, f32x4.splat(E1));
  return f32x4.mul(madd(q, f, f32x4.splat(1)), i32x4.shl(t, 23));
}

/**
 * Turns one lane's scores [units][8], 128 bytes apart, into 2^(score − shift), for scores ≤ shift (or
 * NaN). Returns their sum, in parts.
 */
export function exp2Rows(scores: usize, units: i32, shift: v128): v128 {
  const least = f32x4.splat(LEAST);
  const round = f32x4.splat(ROUND);
  const e1 = f32x4.splat(E1);
  const e2 = f32x4.splat(E2);
  const e3 = f32x4.splat(E3);
  const e4 = f32x4.splat(E4);
  const e5 = f32x4.splat(E5);
  const one = f32x4.splat(1);
  let sum = f32x4.splat(0);
  for (; units > 0; units--) {
    const x = f32x4.pmax(f32x4.sub(v128.load(scores), shift), least);
    const x1 = f32x4.pmax(f32x4.sub(v128.load(scores, 16), shift), least);
    const t = f32x4.add(x, round);
    const t1 = f32x4.add(x1, round);
    const f = f32x4.sub(x, f32x4.sub(t, round));
    const f1 = f32x4.sub(x1, f32x4.sub(t1, round));
    let q = madd(e5, f, e4);
    let q1 = madd(e5, f1, e4);
    q = madd(q, f, e3);
    q1 = madd(q1, f1, e3);
    q = madd(q, f, e2);
    q1 = madd(q1, f1, e2);
    q = madd(q, f, e1);
    q1 = madd(q1, f1, e1);
    q = f32x4.mul(madd(q, f, one), i32x4.shl(t, 23));
    q1 = f32x4.mul(madd(q1, f1, one), i32x4.shl(t1, 23));
    v128.store(scores, q);
    v128.store(scores, q1, 16);
    sum = f32x4.add(sum, f32x4.add(q, q1));
    scores += 128;
  }
  return sum;
}
