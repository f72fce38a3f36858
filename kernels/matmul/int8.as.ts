// INT8 weights, several tokens: the inner loop of matmulInt8. It works on panels of 16 rows;
// integer.as.ts walks over panels, k and tokens; int8_vector.as.ts has the loops for one token. Products are exact: both sides widen to i16, pairs add in i32.
//
// Packed block, 16 rows × 32 k (544 bytes):
//   16 halves  scales d
//   4 × 128 B  rows 4g … 4g+3: vector j has in lane r the bytes of row 4g+r for k = 4j, 4j+2, 4j+1,
//              4j+3, the first and third of which have 128 added
// Activation block, 1 token × 32 k (48 bytes):
//   32 int8 q, then d, 8 bytes for INT4 weights, then −128·(sum of q at k = 4j and 4j+1)
//
// So the even bytes of a vector are the low halves of i16 that need no sign: one operation widens
// them, another the odd bytes. Accumulators start at the sum that takes the 128 back.

import {
  f16Any,
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
export function mac(acc: v128, x: v128, w: v128): v128 {
  return i32x4.add(acc, i32x4.dot_i16x8_s(x, w));
}

/** The even bytes, k = 4j and 4j+1 of four rows, as i16; `mask` is 0x00ff in every lane. */
@inline
export function even(v: v128, mask: v128): v128 {
  return v128.and(v, mask);
}

/** The odd bytes, k = 4j+2 and 4j+3 of four rows, as i16. */
@inline
export function odd(v: v128): v128 {
  return i16x8.shr_s(v, 8);
}

/**
 * Adds 16 rows times `count` tokens, over one block of k, to the first 16 of each row of `sums`
 * [count + 1][32]. `x` is the tokens' activation blocks, one behind the other. Weights are kept on
 * the stack, as in int4.as.ts. Tokens are taken in pairs; an odd last one is taken twice, with sums
 * of its own.
 */
export function int8Block(w: usize, x: usize, count: i32, sums: usize, factor: f32): void {
  const mask = i16x8.splat(255);
  const lift = f32x4.splat(factor);
  const aScale = f16Any(f16Low(v128.load(w)), lift);
  const bScale = f16Any(f16High(v128.load(w)), lift);
  const cScale = f16Any(f16Low(v128.load(w, 16)), lift);
  const dScale = f16Any(f16High(v128.load(w, 16)), lift);
  let v = v128.load(w, 32); const a0 = even(v, mask); const a1 = odd(v);
  v = v128.load(w, 48); const a2 = even(v, mask); const a3 = odd(v);
  v = v128.load(w, 64); const a4 = even(v, mask); const a5 = odd(v);
  v = v128.load(w, 80); const a6 = even(v, mask); const a7 = odd(v);
  v = v128.load(w, 96); const a8 = even(v, mask); const a9 = odd(v);
  v = v128.load(w, 112); const a10 = even(v, mask); const a11 = odd(v);
  v = v128.load(w, 128); const a12 = even(v, mask); const a13 = odd(v);
  v = v128.load(w, 144); const a14 = even(v, mask); const a15 = odd(v);
  v = v128.load(w, 160); const b0 = even(v, mask); const b1 = odd(v);
  v = v128.load(w, 176); const b2 = even(v, mask); const b3 = odd(v);
  v = v128.load(w, 192); const b4 = even(v, mask); const b5 = odd(v);
  v = v128.load(w, 208); const b6 = even(v, mask); const b7 = odd(v);
  v = v128.load(w, 224); const b8 = even(v, mask); const b9 = odd(v);
  v = v128.load(w, 240); const b10 = even(v, mask); const b11 = odd(v);
  v = v128.load(w, 256); const b12 = even(v, mask); const b13 = odd(v);
  v = v128.load(w, 272); const b14 = even(v, mask); const b15 = odd(v);
  v = v128.load(w, 288); const c0 = even(v, mask); const c1 = odd(v);
  v = v128.load(w, 304); const c2 = even(v, mask); const c3 = odd(v);
  v = v128.load(w, 320); const c4 = even(v, mask); const c5 = odd(v);
  v = v128.load(w, 336); const c6 = even(v, mask); const c7 = odd(v);
  v = v128.load(w, 352); const c8 = even(v, mask); const c9 = odd(v);
  v = v128.load(w, 368); const c10 = even(v, mask); const c11 = odd(v);
  v = v128.load(w, 384); const c12 = even(v, mask); const c13 = odd(v);
  v = v128.load(w, 400); const c14 = even(v, mask); const c15 = odd(v);
  v = v128.load(w, 416); const d0 = even(v, mask); const d1 = odd(v);
  v = v128.load(w, 432); const d2 = even(v, mask); const d3 = odd(v);
  v = v128.load(w, 448); const d4 = even(v, mask); const d5 = odd(v);
  v = v128.load(w, 464); const d6 = even(v, mask); const d7 = odd(v);
  v = v128.load(w, 480); const d8 = even(v, mask); const d9 = odd(v);
  v = v128.load(w, 496); const d10 = even(v, mask); const d11 = odd(v);
  v = v128.load(w, 512); const d12 = even(v, mask); const d13 = odd(v);
  v = v128.load(w, 528); const d14 = even(v, mask); const d15 = odd(v);
  const end = x + count * 48;
  while (x < end) {
    const y = min(x + 48, end - 48);
    const xAux = v128.load(x, 32);
    const yAux = v128.load(y, 32);
    let ax = lane3(xAux);
    let ay = lane3(yAux);
    let bx = ax;
    let by = ay;
    let cx = ax;
    let cy = ay;
    let dx = ax;
    let dy = ay;
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
    s = lane0(xAux);
    t = lane0(yAux);
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
