// INT8 weights: the inner loops of matmulInt8. They work on panels of 16 rows; integer.as.ts walks
// over panels, k and tokens. Products are exact: both sides widen to i16, pairs add in i32.
//
// Packed block, 16 rows × 32 k (544 bytes):
//   16 halves  scales d
//   4 × 128 B  rows 4g … 4g+3: eight bytes i have k = 2i, 2i+1 of the four rows
// Activation block, 1 token × 32 k (48 bytes): 32 int8, then d; the rest is for INT4 weights

import {
  F16_BITS,
  f16Any,
  f16Finite,
  f16High,
  f16Low,
  lane0,
  lane1,
  lane2,
  lane3,
  madd,
} from "../simd.as";

/** Bytes of a packed block. */
export const INT8_BLOCK: usize = 544;

/** acc + x·w over two k of four rows, all i16. */
@inline
function mac(acc: v128, x: v128, w: v128): v128 {
  return i32x4.add(acc, i32x4.dot_i16x8_s(x, w));
}

@inline
function low(bytes: v128): v128 {
  return i16x8.extend_low_i8x16_s(bytes);
}

@inline
function high(bytes: v128): v128 {
  return i16x8.extend_high_i8x16_s(bytes);
}

/** Adds 16 rows times one token, over all blocks of k, to `sums`. Scales must be finite. */
export function int8Times1(w: usize, x: usize, blocks: i32, sums: usize, factor: f32): void {
  const bits = i32x4.splat(F16_BITS);
  const lift = f32x4.splat(factor);
  let f0 = v128.load(sums);
  let f1 = v128.load(sums, 16);
  let f2 = v128.load(sums, 32);
  let f3 = v128.load(sums, 48);
  const end = x + blocks * 48;
  while (x < end) {
    let a0 = i32x4.splat(0);
    let a1 = i32x4.splat(0);
    let a2 = i32x4.splat(0);
    let a3 = i32x4.splat(0);
    let xs = v128.load_ext<i8>(x);
    let s = lane0(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 32)); a1 = mac(a1, s, v128.load_ext<i8>(w, 160));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 288)); a3 = mac(a3, s, v128.load_ext<i8>(w, 416));
    s = lane1(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 40)); a1 = mac(a1, s, v128.load_ext<i8>(w, 168));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 296)); a3 = mac(a3, s, v128.load_ext<i8>(w, 424));
    s = lane2(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 48)); a1 = mac(a1, s, v128.load_ext<i8>(w, 176));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 304)); a3 = mac(a3, s, v128.load_ext<i8>(w, 432));
    s = lane3(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 56)); a1 = mac(a1, s, v128.load_ext<i8>(w, 184));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 312)); a3 = mac(a3, s, v128.load_ext<i8>(w, 440));
    xs = v128.load_ext<i8>(x, 8);
    s = lane0(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 64)); a1 = mac(a1, s, v128.load_ext<i8>(w, 192));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 320)); a3 = mac(a3, s, v128.load_ext<i8>(w, 448));
    s = lane1(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 72)); a1 = mac(a1, s, v128.load_ext<i8>(w, 200));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 328)); a3 = mac(a3, s, v128.load_ext<i8>(w, 456));
    s = lane2(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 80)); a1 = mac(a1, s, v128.load_ext<i8>(w, 208));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 336)); a3 = mac(a3, s, v128.load_ext<i8>(w, 464));
    s = lane3(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 88)); a1 = mac(a1, s, v128.load_ext<i8>(w, 216));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 344)); a3 = mac(a3, s, v128.load_ext<i8>(w, 472));
    xs = v128.load_ext<i8>(x, 16);
    s = lane0(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 96)); a1 = mac(a1, s, v128.load_ext<i8>(w, 224));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 352)); a3 = mac(a3, s, v128.load_ext<i8>(w, 480));
    s = lane1(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 104)); a1 = mac(a1, s, v128.load_ext<i8>(w, 232));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 360)); a3 = mac(a3, s, v128.load_ext<i8>(w, 488));
    s = lane2(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 112)); a1 = mac(a1, s, v128.load_ext<i8>(w, 240));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 368)); a3 = mac(a3, s, v128.load_ext<i8>(w, 496));
    s = lane3(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 120)); a1 = mac(a1, s, v128.load_ext<i8>(w, 248));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 376)); a3 = mac(a3, s, v128.load_ext<i8>(w, 504));
    xs = v128.load_ext<i8>(x, 24);
    s = lane0(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 128)); a1 = mac(a1, s, v128.load_ext<i8>(w, 256));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 384)); a3 = mac(a3, s, v128.load_ext<i8>(w, 512));
    s = lane1(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 136)); a1 = mac(a1, s, v128.load_ext<i8>(w, 264));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 392)); a3 = mac(a3, s, v128.load_ext<i8>(w, 520));
    s = lane2(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 144)); a1 = mac(a1, s, v128.load_ext<i8>(w, 272));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 400)); a3 = mac(a3, s, v128.load_ext<i8>(w, 528));
    s = lane3(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 152)); a1 = mac(a1, s, v128.load_ext<i8>(w, 280));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 408)); a3 = mac(a3, s, v128.load_ext<i8>(w, 536));
    s = lane0(v128.load(x, 32));
    const s0 = v128.load(w);
    const s1 = v128.load(w, 16);
    const d0 = f32x4.mul(f16Finite(f16Low(s0), bits, lift), s);
    const d1 = f32x4.mul(f16Finite(f16High(s0), bits, lift), s);
    const d2 = f32x4.mul(f16Finite(f16Low(s1), bits, lift), s);
    const d3 = f32x4.mul(f16Finite(f16High(s1), bits, lift), s);
    f0 = madd(f32x4.convert_i32x4_s(a0), d0, f0);
    f1 = madd(f32x4.convert_i32x4_s(a1), d1, f1);
    f2 = madd(f32x4.convert_i32x4_s(a2), d2, f2);
    f3 = madd(f32x4.convert_i32x4_s(a3), d3, f3);
    w += INT8_BLOCK;
    x += 48;
  }
  v128.store(sums, f0);
  v128.store(sums, f1, 16);
  v128.store(sums, f2, 32);
  v128.store(sums, f3, 48);
}

/**
 * Adds 16 rows times `count` tokens, over one block of k, to `sums` [count + 1][32], of
 * which it uses the first 16. `x` is the tokens' activation blocks, one behind the other. Weights are kept on the stack, as in
 * int4.as.ts. Tokens are taken in pairs; an odd last one is taken twice, with sums of its own.
 */
export function int8Block(w: usize, x: usize, count: i32, sums: usize, factor: f32): void {
  const lift = f32x4.splat(factor);
  const aScale = f16Any(f16Low(v128.load(w)), lift);
  const bScale = f16Any(f16High(v128.load(w)), lift);
  const cScale = f16Any(f16Low(v128.load(w, 16)), lift);
  const dScale = f16Any(f16High(v128.load(w, 16)), lift);
  let v = v128.load(w, 32); const a0 = low(v); const a1 = high(v);
  v = v128.load(w, 48); const a2 = low(v); const a3 = high(v);
  v = v128.load(w, 64); const a4 = low(v); const a5 = high(v);
  v = v128.load(w, 80); const a6 = low(v); const a7 = high(v);
  v = v128.load(w, 96); const a8 = low(v); const a9 = high(v);
  v = v128.load(w, 112); const a10 = low(v); const a11 = high(v);
  v = v128.load(w, 128); const a12 = low(v); const a13 = high(v);
  v = v128.load(w, 144); const a14 = low(v); const a15 = high(v);
  v = v128.load(w, 160); const b0 = low(v); const b1 = high(v);
  v = v128.load(w, 176); const b2 = low(v); const b3 = high(v);
  v = v128.load(w, 192); const b4 = low(v); const b5 = high(v);
  v = v128.load(w, 208); const b6 = low(v); const b7 = high(v);
  v = v128.load(w, 224); const b8 = low(v); const b9 = high(v);
  v = v128.load(w, 240); const b10 = low(v); const b11 = high(v);
  v = v128.load(w, 256); const b12 = low(v); const b13 = high(v);
  v = v128.load(w, 272); const b14 = low(v); const b15 = high(v);
  v = v128.load(w, 288); const c0 = low(v); const c1 = high(v);
  v = v128.load(w, 304); const c2 = low(v); const c3 = high(v);
  v = v128.load(w, 320); const c4 = low(v); const c5 = high(v);
  v = v128.load(w, 336); const c6 = low(v); const c7 = high(v);
  v = v128.load(w, 352); const c8 = low(v); const c9 = high(v);
  v = v128.load(w, 368); const c10 = low(v); const c11 = high(v);
  v = v128.load(w, 384); const c12 = low(v); const c13 = high(v);
  v = v128.load(w, 400); const c14 = low(v); const c15 = high(v);
  v = v128.load(w, 416); const d0 = low(v); const d1 = high(v);
  v = v128.load(w, 432); const d2 = low(v); const d3 = high(v);
  v = v128.load(w, 448); const d4 = low(v); const d5 = high(v);
  v = v128.load(w, 464); const d6 = low(v); const d7 = high(v);
  v = v128.load(w, 480); const d8 = low(v); const d9 = high(v);
  v = v128.load(w, 496); const d10 = low(v); const d11 = high(v);
  v = v128.load(w, 512); const d12 = low(v); const d13 = high(v);
  v = v128.load(w, 528); const d14 = low(v); const d15 = high(v);
  const end = x + count * 48;
  while (x < end) {
    const y = min(x + 48, end - 48);
    let ax = i32x4.splat(0);
    let ay = ax;
    let bx = ax;
    let by = ax;
    let cx = ax;
    let cy = ax;
    let dx = ax;
    let dy = ax;
    let xs = v128.load_ext<i8>(x);
    let ys = v128.load_ext<i8>(y);
    let s = lane0(xs);
    let t = lane0(ys);
    ax = mac(ax, s, a0); ay = mac(ay, t, a0); bx = mac(bx, s, b0); by = mac(by, t, b0);
    cx = mac(cx, s, c0); cy = mac(cy, t, c0); dx = mac(dx, s, d0); dy = mac(dy, t, d0);
    s = lane1(xs);
    t = lane1(ys);
    ax = mac(ax, s, a1); ay = mac(ay, t, a1); bx = mac(bx, s, b1); by = mac(by, t, b1);
    cx = mac(cx, s, c1); cy = mac(cy, t, c1); dx = mac(dx, s, d1); dy = mac(dy, t, d1);
    s = lane2(xs);
    t = lane2(ys);
    ax = mac(ax, s, a2); ay = mac(ay, t, a2); bx = mac(bx, s, b2); by = mac(by, t, b2);
    cx = mac(cx, s, c2); cy = mac(cy, t, c2); dx = mac(dx, s, d2); dy = mac(dy, t, d2);
    s = lane3(xs);
    t = lane3(ys);
    ax = mac(ax, s, a3); ay = mac(ay, t, a3); bx = mac(bx, s, b3); by = mac(by, t, b3);
    cx = mac(cx, s, c3); cy = mac(cy, t, c3); dx = mac(dx, s, d3); dy = mac(dy, t, d3);
    xs = v128.load_ext<i8>(x, 8);
    ys = v128.load_ext<i8>(y, 8);
    s = lane0(xs);
    t = lane0(ys);
    ax = mac(ax, s, a4); ay = mac(ay, t, a4); bx = mac(bx, s, b4); by = mac(by, t, b4);
    cx = mac(cx, s, c4); cy = mac(cy, t, c4); dx = mac(dx, s, d4); dy = mac(dy, t, d4);
    s = lane1(xs);
    t = lane1(ys);
    ax = mac(ax, s, a5); ay = mac(ay, t, a5); bx = mac(bx, s, b5); by = mac(by, t, b5);
    cx = mac(cx, s, c5); cy = mac(cy, t, c5); dx = mac(dx, s, d5); dy = mac(dy, t, d5);
    s = lane2(xs);
    t = lane2(ys);
    ax = mac(ax, s, a6); ay = mac(ay, t, a6); bx = mac(bx, s, b6); by = mac(by, t, b6);
    cx = mac(cx, s, c6); cy = mac(cy, t, c6); dx = mac(dx, s, d6); dy = mac(dy, t, d6);
    s = lane3(xs);
    t = lane3(ys);
    ax = mac(ax, s, a7); ay = mac(ay, t, a7); bx = mac(bx, s, b7); by = mac(by, t, b7);
    cx = mac(cx, s, c7); cy = mac(cy, t, c7); dx = mac(dx, s, d7); dy = mac(dy, t, d7);
    xs = v128.load_ext<i8>(x, 16);
    ys = v128.load_ext<i8>(y, 16);
    s = lane0(xs);
    t = lane0(ys);
    ax = mac(ax, s, a8); ay = mac(ay, t, a8); bx = mac(bx, s, b8); by = mac(by, t, b8);
    cx = mac(cx, s, c8); cy = mac(cy, t, c8); dx = mac(dx, s, d8); dy = mac(dy, t, d8);
    s = lane1(xs);
    t = lane1(ys);
    ax = mac(ax, s, a9); ay = mac(ay, t, a9); bx = mac(bx, s, b9); by = mac(by, t, b9);
    cx = mac(cx, s, c9); cy = mac(cy, t, c9); dx = mac(dx, s, d9); dy = mac(dy, t, d9);
    s = lane2(xs);
    t = lane2(ys);
    ax = mac(ax, s, a10); ay = mac(ay, t, a10); bx = mac(bx, s, b10); by = mac(by, t, b10);
    cx = mac(cx, s, c10); cy = mac(cy, t, c10); dx = mac(dx, s, d10); dy = mac(dy, t, d10);
    s = lane3(xs);
    t = lane3(ys);
    ax = mac(ax, s, a11); ay = mac(ay, t, a11); bx = mac(bx, s, b11); by = mac(by, t, b11);
    cx = mac(cx, s, c11); cy = mac(cy, t, c11); dx = mac(dx, s, d11); dy = mac(dy, t, d11);
    xs = v128.load_ext<i8>(x, 24);
    ys = v128.load_ext<i8>(y, 24);
    s = lane0(xs);
    t = lane0(ys);
    ax = mac(ax, s, a12); ay = mac(ay, t, a12); bx = mac(bx, s, b12); by = mac(by, t, b12);
    cx = mac(cx, s, c12); cy = mac(cy, t, c12); dx = mac(dx, s, d12); dy = mac(dy, t, d12);
    s = lane1(xs);
    t = lane1(ys);
    ax = mac(ax, s, a13); ay = mac(ay, t, a13); bx = mac(bx, s, b13); by = mac(by, t, b13);
    cx = mac(cx, s, c13); cy = mac(cy, t, c13); dx = mac(dx, s, d13); dy = mac(dy, t, d13);
    s = lane2(xs);
    t = lane2(ys);
    ax = mac(ax, s, a14); ay = mac(ay, t, a14); bx = mac(bx, s, b14); by = mac(by, t, b14);
    cx = mac(cx, s, c14); cy = mac(cy, t, c14); dx = mac(dx, s, d14); dy = mac(dy, t, d14);
    s = lane3(xs);
    t = lane3(ys);
    ax = mac(ax, s, a15); ay = mac(ay, t, a15); bx = mac(bx, s, b15); by = mac(by, t, b15);
    cx = mac(cx, s, c15); cy = mac(cy, t, c15); dx = mac(dx, s, d15); dy = mac(dy, t, d15);
    s = lane0(v128.load(x, 32));
    t = lane0(v128.load(y, 32));
    ax = madd(f32x4.convert_i32x4_s(ax), f32x4.mul(aScale, s), v128.load(sums));
    bx = madd(f32x4.convert_i32x4_s(bx), f32x4.mul(bScale, s), v128.load(sums, 16));
    cx = madd(f32x4.convert_i32x4_s(cx), f32x4.mul(cScale, s), v128.load(sums, 32));
    dx = madd(f32x4.convert_i32x4_s(dx), f32x4.mul(dScale, s), v128.load(sums, 48));
    ay = madd(f32x4.convert_i32x4_s(ay), f32x4.mul(aScale, t), v128.load(sums, 128));
    by = madd(f32x4.convert_i32x4_s(by), f32x4.mul(bScale, t), v128.load(sums, 144));
    cy = madd(f32x4.convert_i32x4_s(cy), f32x4.mul(cScale, t), v128.load(sums, 160));
    dy = madd(f32x4.convert_i32x4_s(dy), f32x4.mul(dScale, t), v128.load(sums, 176));
    v128.store(sums, ax);
    v128.store(sums, bx, 16);
    v128.store(sums, cx, 32);
    v128.store(sums, dx, 48);
    v128.store(sums, ay, 128);
    v128.store(sums, by, 144);
    v128.store(sums, cy, 160);
    v128.store(sums, dy, 176);
    x += 96;
    sums += 256;
  }
}
