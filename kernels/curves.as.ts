// The functions of `activation` and `glu`, four f32 lanes at a time; math.as.ts says how e^x is made.
// silu is off by 1.6e-7 at most, sigmoid by 1.5e-7, tanh by 2.4e-7 (tests/curves_wasm_test.ts).
//
// The constants are splat outside the loops by hand: V8 would build them again at each use.

import {
  GELU,
  GELU_QUICK,
  GELU_TANH,
  RELU,
  RELU_SQUARED,
  SIGMOID,
  SILU,
  TANH,
} from "./constants.as";
import {
  E2,
  E3,
  E4,
  E5,
  E6,
  LEAST,
  LN2_HIGH,
  LN2_LOW,
  LOG2E,
  MOST,
  ROUND,
} from "./math.as";
import { madd } from "./simd.as";
import { storePart } from "./vector.as";

/** From tanh(20) on, tanh is 1 in f32. */
@inline const TANH_MOST: f32 = 40;

// geluTanh(x) = x / (1 + exp(−2·sqrt(2/π)·(x + 0.044715·x³))): the tanh form of arXiv:1606.08415.
@inline const GELU_1: f32 = -1.5957691216057308;
@inline const GELU_3: f32 = -0.07135481282553494;

// geluQuick(x) = x / (1 + exp(−1.702·x)): the sigmoid form of the same paper.
@inline const QUICK: f32 = -1.702;

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
 * out[i] = f(x[i]) for `n` floats, times up[i] if `gated`. `kind` and `gated` are constants. All
 * three begin at a multiple of 16 bytes; up to 12 bytes beyond the last element are read.
 */
@inline
export function draw(kind: i32, gated: bool, x: usize, up: usize, out: usize, n: i32): void {
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
  const zero = f32x4.splat(0);
  const one = f32x4.splat(1);
  const c1 = f32x4.splat(kind == GELU ? -0.5 : kind == GELU_QUICK ? QUICK : GELU_1);
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
    let y: v128;
    if (kind == RELU || kind == RELU_SQUARED) {
      y = f32x4.pmax(v, zero); // keeps NaN
      if (kind == RELU_SQUARED) y = f32x4.mul(y, y);
    } else {
      // What is raised: e^argument.
      let argument: v128;
      if (kind == TANH) {
        argument = f32x4.add(v, v);
      } else if (kind == GELU) {
        argument = f32x4.mul(f32x4.mul(v, v), c1);
      } else if (kind == GELU_TANH) {
        argument = f32x4.mul(v, madd(f32x4.mul(v, v), c3, c1));
      } else if (kind == GELU_QUICK) {
        argument = f32x4.mul(v, c1);
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
        }
      }
    }
    if (gated) y = f32x4.mul(y, v128.load(up));
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

// A function of its own for each, so that one's constants are not in the way of another's.

function drawRelu(x: usize, out: usize, n: i32): void {
  draw(RELU, false, x, 0, out, n);
}

function drawGelu(x: usize, out: usize, n: i32): void {
  draw(GELU, false, x, 0, out, n);
}

function drawGeluTanh(x: usize, out: usize, n: i32): void {
  draw(GELU_TANH, false, x, 0, out, n);
}

function drawSilu(x: usize, out: usize, n: i32): void {
  draw(SILU, false, x, 0, out, n);
}

function drawSigmoid(x: usize, out: usize, n: i32): void {
  draw(SIGMOID, false, x, 0, out, n);
}

function drawTanh(x: usize, out: usize, n: i32): void {
  draw(TANH, false, x, 0, out, n);
}

function drawGeluQuick(x: usize, out: usize, n: i32): void {
  draw(GELU_QUICK, false, x, 0, out, n);
}

function drawReluSquared(x: usize, out: usize, n: i32): void {
  draw(RELU_SQUARED, false, x, 0, out, n);
}

function gateRelu(x: usize, up: usize, out: usize, n: i32): void {
  draw(RELU, true, x, up, out, n);
}

function gateGelu(x: usize, up: usize, out: usize, n: i32): void {
  draw(GELU, true, x, up, out, n);
}

function gateGeluTanh(x: usize, up: usize, out: usize, n: i32): void {
  draw(GELU_TANH, true, x, up, out, n);
}

function gateSilu(x: usize, up: usize, out: usize, n: i32): void {
  draw(SILU, true, x, up, out, n);
}

function gateSigmoid(x: usize, up: usize, out: usize, n: i32): void {
  draw(SIGMOID, true, x, up, out, n);
}

function gateTanh(x: usize, up: usize, out: usize, n: i32): void {
  draw(TANH, true, x, up, out, n);
}

function gateGeluQuick(x: usize, up: usize, out: usize, n: i32): void {
  draw(GELU_QUICK, true, x, up, out, n);
}

/** out[i] = kind(x[i]), with memory as in `draw`. */
export function activate(kind: i32, x: usize, out: usize, n: i32): void {
  switch (kind) {
    case RELU: drawRelu(x, out, n); break;
    case GELU: drawGelu(x, out, n); break;
    case GELU_TANH: drawGeluTanh(x, out, n); break;
    case SILU: drawSilu(x, out, n); break;
    case SIGMOID: drawSigmoid(x, out, n); break;
    case TANH: drawTanh(x, out, n); break;
    case GELU_QUICK: drawGeluQuick(x, out, n); break;
    case RELU_SQUARED: drawReluSquared(x, out, n); break;
    default: unreachable();
  }
}

/** out[i] = kind(x[i])·up[i], with memory as in `draw`. */
export function gate(kind: i32, x: usize, up: usize, out: usize, n: i32): void {
  switch (kind) {
    case RELU: gateRelu(x, up, out, n); break;
    case GELU: gateGelu(x, up, out, n); break;
    case GELU_TANH: gateGeluTanh(x, up, out, n); break;
    case SILU: gateSilu(x, up, out, n); break;
    case SIGMOID: gateSigmoid(x, up, out, n); break;
    case TANH: gateTanh(x, up, out, n); break;
    case GELU_QUICK: gateGeluQuick(x, up, out, n); break;
    default: unreachable();
  }
}
