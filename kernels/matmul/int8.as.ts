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

/** Adds the products of four rows to their sums: the weights' scale times the activations' one. */
@inline
function addScaled(sums: usize, dots: v128, scale: v128, d: v128): void {
  v128.store(sums, madd(f32x4.convert_i32x4_s(dots), f32x4.mul(scale, d), v128.load(sums)));
}

/**
 * Adds 16 rows times `count` tokens, over one block of k, to the first 16 of each row of `sums`
 * [count][32]. `x` is the tokens' activation blocks, one behind the other. Weights are kept on the
 * stack, and tokens are taken in pairs, as in int4.as.ts.
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
  const pairs = x + (count & ~1) * 48;
  while (x < pairs) {
    const aux = v128.load(x, 32);
    const bux = v128.load(x, 80);
    let a = lane3(aux), b = a, c = a, d = a;
    let e = lane3(bux), f = e, g = e, h = e;
    let xs = v128.load_ext<i8>(x);
    let ys = v128.load_ext<i8>(x, 48);
    let s = lane0(xs); let t = lane0(ys);
    a = mac(a, s, a0); e = mac(e, t, a0); b = mac(b, s, b0); f = mac(f, t, b0);
    c = mac(c, s, c0); g = mac(g, t, c0); d = mac(d, s, d0); h = mac(h, t, d0);
    s = lane1(xs); t = lane1(ys);
    a = mac(a, s, a1); e = mac(e, t, a1); b = mac(b, s, b1); f = mac(f, t, b1);
    c = mac(c, s, c1); g = mac(g, t, c1); d = mac(d, s, d1); h = mac(h, t, d1);
    s = lane2(xs); t = lane2(ys);
    a = mac(a, s, a2); e = mac(e, t, a2); b = mac(b, s, b2); f = mac(f, t, b2);
    c = mac(c, s, c2); g = mac(g, t, c2); d = mac(d, s, d2); h = mac(h, t, d2);
    s = lane3(xs); t = lane3(ys);
    a = mac(a, s, a3); e = mac(e, t, a3); b = mac(b, s, b3); f = mac(f, t, b3);
    c = mac(c, s, c3); g = mac(g, t, c3); d = mac(d, s, d3); h = mac(h, t, d3);
    xs = v128.load_ext<i8>(x, 8);
    ys = v128.load_ext<i8>(x, 56);
    s = lane0(xs); t = lane0(ys);
    a = mac(a, s, a4); e = mac(e, t, a4); b = mac(b, s, b4); f = mac(f, t, b4);
    c = mac(c, s, c4); g = mac(g, t, c4); d = mac(d, s, d4); h = mac(h, t, d4);
    s = lane1(xs); t = lane1(ys);
    a = mac(a, s, a5); e = mac(e, t, a5); b = mac(b, s, b5); f = mac(f, t, b5);
    c = mac(c, s, c5); g = mac(g, t, c5); d = mac(d, s, d5); h = mac(h, t, d5);
    s = lane2(xs); t = lane2(ys);
    a = mac(a, s, a6); e = mac(e, t, a6); b = mac(b, s, b6); f = mac(f, t, b6);
    c = mac(c, s, c6); g = mac(g, t, c6); d = mac(d, s, d6); h = mac(h, t, d6);
    s = lane3(xs); t = lane3(ys);
    a = mac(a, s, a7); e = mac(e, t, a7); b = mac(b, s, b7); f = mac(f, t, b7);
    c = mac(c, s, c7); g = mac(g, t, c7); d = mac(d, s, d7); h = mac(h, t, d7);
    xs = v128.load_ext<i8>(x, 16);
    ys = v128.load_ext<i8>(x, 64);
    s = lane0(xs); t = lane0(ys);
    a = mac(a, s, a8); e = mac(e, t, a8); b = mac(b, s, b8); f = mac(f, t, b8);
    c = mac(c, s, c8); g = mac(g, t, c8); d = mac(d, s, d8); h = mac(h, t, d8);
    s = lane1(xs); t = lane1(ys);
    a = mac(a, s, a9); e = mac(e, t, a9); b = mac(b, s, b9); f = mac(f, t, b9);
    c = mac(c, s, c9); g = mac(g, t, c9); d = mac(d, s, d9); h = mac(h, t, d9);
    s = lane2(xs); t = lane2(ys);
    a = mac(a, s, a10); e = mac(e, t, a10); b = mac(b, s, b10); f = mac(f, t, b10);
    c = mac(c, s, c10); g = mac(g, t, c10); d = mac(d, s, d10); h = mac(h, t, d10);
    s = lane3(xs); t = lane3(ys);
    a = mac(a, s, a11); e = mac(e, t, a11); b = mac(b, s, b11); f = mac(f, t, b11);
    c = mac(c, s, c11); g = mac(g, t, c11); d = mac(d, s, d11); h = mac(h, t, d11);
    xs = v128.load_ext<i8>(x, 24);
    ys = v128.load_ext<i8>(x, 72);
    s = lane0(xs); t = lane0(ys);
    a = mac(a, s, a12); e = mac(e, t, a12); b = mac(b, s, b12); f = mac(f, t, b12);
    c = mac(c, s, c12); g = mac(g, t, c12); d = mac(d, s, d12); h = mac(h, t, d12);
    s = lane1(xs); t = lane1(ys);
    a = mac(a, s, a13); e = mac(e, t, a13); b = mac(b, s, b13); f = mac(f, t, b13);
    c = mac(c, s, c13); g = mac(g, t, c13); d = mac(d, s, d13); h = mac(h, t, d13);
    s = lane2(xs); t = lane2(ys);
    a = mac(a, s, a14); e = mac(e, t, a14); b = mac(b, s, b14); f = mac(f, t, b14);
    c = mac(c, s, c14); g = mac(g, t, c14); d = mac(d, s, d14); h = mac(h, t, d14);
    s = lane3(xs); t = lane3(ys);
    a = mac(a, s, a15); e = mac(e, t, a15); b = mac(b, s, b15); f = mac(f, t, b15);
    c = mac(c, s, c15); g = mac(g, t, c15); d = mac(d, s, d15); h = mac(h, t, d15);
    s = lane0(aux);
    t = lane0(bux);
    addScaled(sums, a, aScale, s);
    addScaled(sums + 128, e, aScale, t);
    addScaled(sums + 16, b, bScale, s);
    addScaled(sums + 144, f, bScale, t);
    addScaled(sums + 32, c, cScale, s);
    addScaled(sums + 160, g, cScale, t);
    addScaled(sums + 48, d, dScale, s);
    addScaled(sums + 176, h, dScale, t);
    x += 96;
    sums += 256;
  }
  if (x == end) return;
  const aux = v128.load(x, 32);
  let a = lane3(aux), b = a, c = a, d = a;
  let xs = v128.load_ext<i8>(x);
  let s = lane0(xs);
  a = mac(a, s, a0); b = mac(b, s, b0); c = mac(c, s, c0); d = mac(d, s, d0);
  s = lane1(xs);
  a = mac(a, s, a1); b = mac(b, s, b1); c = mac(c, s, c1); d = mac(d, s, d1);
  s = lane2(xs);
  a = mac(a, s, a2); b = mac(b, s, b2); c = mac(c, s, c2); d = mac(d, s, d2);
  s = lane3(xs);
  a = mac(a, s, a3); b = mac(b, s, b3); c = mac(c, s, c3); d = mac(d, s, d3);
  xs = v128.load_ext<i8>(x, 8);
  s = lane0(xs);
  a = mac(a, s, a4); b = mac(b, s, b4); c = mac(c, s, c4); d = mac(d, s, d4);
  s = lane1(xs);
  a = mac(a, s, a5); b = mac(b, s, b5); c = mac(c, s, c5); d = mac(d, s, d5);
  s = lane2(xs);
  a = mac(a, s, a6); b = mac(b, s, b6); c = mac(c, s, c6); d = mac(d, s, d6);
  s = lane3(xs);
  a = mac(a, s, a7); b = mac(b, s, b7); c = mac(c, s, c7); d = mac(d, s, d7);
  xs = v128.load_ext<i8>(x, 16);
  s = lane0(xs);
  a = mac(a, s, a8); b = mac(b, s, b8); c = mac(c, s, c8); d = mac(d, s, d8);
  s = lane1(xs);
  a = mac(a, s, a9); b = mac(b, s, b9); c = mac(c, s, c9); d = mac(d, s, d9);
  s = lane2(xs);
  a = mac(a, s, a10); b = mac(b, s, b10); c = mac(c, s, c10); d = mac(d, s, d10);
  s = lane3(xs);
  a = mac(a, s, a11); b = mac(b, s, b11); c = mac(c, s, c11); d = mac(d, s, d11);
  xs = v128.load_ext<i8>(x, 24);
  s = lane0(xs);
  a = mac(a, s, a12); b = mac(b, s, b12); c = mac(c, s, c12); d = mac(d, s, d12);
  s = lane1(xs);
  a = mac(a, s, a13); b = mac(b, s, b13); c = mac(c, s, c13); d = mac(d, s, d13);
  s = lane2(xs);
  a = mac(a, s, a14); b = mac(b, s, b14); c = mac(c, s, c14); d = mac(d, s, d14);
  s = lane3(xs);
  a = mac(a, s, a15); b = mac(b, s, b15); c = mac(c, s, c15); d = mac(d, s, d15);
  s = lane0(aux);
  addScaled(sums, a, aScale, s);
  addScaled(sums + 16, b, bScale, s);
  addScaled(sums + 32, c, cScale, s);
  addScaled(sums + 48, d, dScale, s);
}
