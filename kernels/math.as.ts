// Exponentials and the curves made of them, four f32 lanes at a time.
//
// exp(x) = 2^n · e^r with n = round(x / ln 2) and r = x − n·ln 2 in two steps (Cody and Waite,
// Software Manual for the Elementary Functions, 1980), so |r| ≤ 0.3466. e^r = 1 + r + r²·Q(r),
// Q of degree 4, minimax by the Remez exchange: 3.1e-9 of e^r; with rounding the relative error is
// 1.2e-7 at most over a million points in [-87, 0]. Adding 1.5·2^23 rounds to an integer and leaves
// n in the low bits of the sum; with the exponent bias added too, a shift by 23 makes 2^n.
// silu is off by 1.6e-7 at most, sigmoid by 1.5e-7, tanh by 2.4e-7 (tests/curves_wasm_test.ts).
// Results below 2^-126 become 0, exp(x) for x ≥ 88.38 becomes Inf, NaN stays NaN.
//
// The constants are splat outside the loops by hand: V8 would build them again at each use.

import { madd } from "./simd.as";
import { storePart } from "./vector.as";

@inline const LOG2E: f32 = 1.44269504;
/** 1.5·2^23 + 127. */
@inline const ROUND: f32 = 12583039;
/** −ln 2 in two parts; n times the first is exact. */
@inline const LN2_HIGH: f32 = -0.693145751953125;
@inline const LN2_LOW: f32 = -1.42860677e-6;
@inline const E2: f32 = 0.49999993447698987;
@inline const E3: f32 = 0.16666520631551496;
@inline const E4: f32 = 0.041668388063797739;
@inline const E5: f32 = 0.0083687168946374683;
@inline const E6: f32 = 0.0013814597800452567;
/** Below it the scale 2^n is 0. */
@inline const LEAST: f32 = -88;
/** At it the scale 2^n is Inf. */
@inline const MOST: f32 = 89;

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

/** Curves that `curve` draws. */
@inline export const SILU: i32 = 0;
@inline export const SWIGLU: i32 = 1;
@inline export const SIGMOID: i32 = 2;
@inline export const TANH: i32 = 3;
@inline export const GELU: i32 = 4;
@inline export const GELU_TANH: i32 = 5;

/** From tanh(20) on, tanh is 1 in f32. */
@inline const TANH_MOST: f32 = 40;

// geluTanh(x) = x / (1 + exp(−2·sqrt(2/π)·(x + 0.044715·x³))): the tanh form of arXiv:1606.08415.
@inline const GELU_1: f32 = -1.5957691216057308;
@inline const GELU_3: f32 = -0.07135481282553494;

// The normal distribution's upper tail: 1 − Φ(x) = exp(−x²/2)·t·P(t) with t = 1 / (1 + 0.3·x) for
// x ≥ 0, the form of Abramowitz and Stegun 7.1.26 with P of degree 7, minimax of the relative
// error on [0, 14]: 1.5e-7.
@inline const TAIL_STEP: f32 = 0.3;
@inline const T0: f32 = 0.119629299;
@inline const T1: f32 = 0.120753955;
@inline const T2: f32 = 0.0999134959;
@inline const T3: f32 = 0.128561613;
@inline const T4: f32 = -0.0536836166;
@inline const T5: f32 = 0.206353474;
@inline const T6: f32 = -0.157203063;
@inline const T7: f32 = 0.0356747693;

/**
 * out[i] = f(x[i]) for `n` floats, or silu(x[i])·up[i] for SWIGLU. `kind` is a constant. All three
 * begin at a multiple of 16 bytes; up to 12 bytes beyond the last element are read.
 */
@inline
export function curve(kind: i32, x: usize, up: usize, out: usize, n: i32): void {
  const least = f32x4.splat(kind == TANH ? -TANH_MOST : LEAST);
  const most = f32x4.splat(kind == TANH ? TANH_MOST : MOST);
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
  const c1 = f32x4.splat(kind == GELU ? -0.5 : GELU_1);
  const c3 = f32x4.splat(kind == GELU ? TAIL_STEP : GELU_3);
  const t0 = f32x4.splat(T0);
  const t1 = f32x4.splat(T1);
  const t2 = f32x4.splat(T2);
  const t3 = f32x4.splat(T3);
  const t4 = f32x4.splat(T4);
  const t5 = f32x4.splat(T5);
  const t6 = f32x4.splat(T6);
  const t7 = f32x4.splat(T7);
  for (; n > 0; n -= 4) {
    const v = v128.load(x);
    // What is raised: e^argument.
    let argument: v128;
    if (kind == TANH) {
      argument = f32x4.add(v, v);
    } else if (kind == GELU) {
      argument = f32x4.mul(f32x4.mul(v, v), c1);
    } else if (kind == GELU_TANH) {
      argument = f32x4.mul(v, madd(f32x4.mul(v, v), c3, c1));
    } else {
      argument = f32x4.neg(v);
    }
    argument = f32x4.pmin(f32x4.pmax(argument, least), most);
    const t = madd(argument, log2e, round);
    const i = f32x4.sub(t, round);
    const r = madd(i, low, madd(i, high, argument));
    const scale = i32x4.shl(t, 23);
    let q = madd(e6, r, e5);
    q = madd(q, r, e4);
    q = madd(q, r, e3);
    q = madd(q, r, e2);
    q = madd(q, r, one);
    let y: v128;
    if (kind == TANH) {
      // With m = e^2x − 1, which keeps its precision near 0: tanh x = m / (m + 2).
      const m = madd(f32x4.mul(q, r), scale, f32x4.sub(scale, one));
      y = f32x4.div(m, f32x4.add(f32x4.add(m, one), one));
    } else {
      const e = f32x4.mul(madd(q, r, one), scale);
      if (kind == GELU) {
        const s = f32x4.div(one, madd(f32x4.abs(v), c3, one));
        let p = madd(t7, s, t6);
        p = madd(p, s, t5);
        p = madd(p, s, t4);
        p = madd(p, s, t3);
        p = madd(p, s, t2);
        p = madd(p, s, t1);
        p = madd(p, s, t0);
        const tail = f32x4.mul(f32x4.mul(p, s), e);
        const negative = i32x4.shr_s(v, 31);
        y = f32x4.mul(v, v128.bitselect(tail, f32x4.sub(one, tail), negative));
      } else if (kind == SIGMOID) {
        y = f32x4.div(one, f32x4.add(one, e));
      } else {
        y = f32x4.div(v, f32x4.add(one, e));
        if (kind == SWIGLU) y = f32x4.mul(y, v128.load(up));
      }
    }
    if (n < 4) {
      storePart(out, y, n);
      return;
    }
    v128.store(out, y);
    x += 16;
    up += 16;
    out += 16;
  }
}
