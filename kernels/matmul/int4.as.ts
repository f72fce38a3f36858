// INT4 weights, several tokens: the inner loops of matmulInt4 (value d·(q − 8)) and matmulInt4m
// (value d·q + m). They work on panels of 16 rows; integer.as.ts walks over panels, k and tokens;
// int4_vector.as.ts has the loops for one token.
//
// Packed block, 16 rows × 32 k (288 bytes, int4m 320):
//   16 halves  scales d
//   16 halves  minimums m (int4m only)
//   4 × 64 B   rows 4g … 4g+3: vector j has in lane r bytes 4j … 4j+3 of row 4g+r, and of these
//              byte i has k = 4j+i in its low half and k = 16+4j+i in its high half
// Activation block, 1 token × 32 k (48 bytes):
//   32 int8 q, then d, then −8·(sum of q at k < 16) and −8·(that of the others) as i16, then d·sum,
//   where sum is the sum of q
//
// The −8 of int4 costs nothing: accumulators start at these two in the two i16 that make up one
// row's i32. Sums of 16 products stay within ±31496, so that i16 does not overflow.

import { mac, startOf, sumOf, sumsQuads } from "../dots.as";
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


/** The high nibbles of sixteen bytes. */
@inline
export function high(w: v128, mask: v128): v128 {
  return v128.and(i16x8.shr_u(w, 4), mask);
}

/** acc + scale·(integer dot products of four rows). */
@inline
export function scaleSum(acc: v128, dots: v128, ones: v128, scale: v128, quads: bool): v128 {
  return madd(sumOf(dots, ones, quads), scale, acc);
}

/**
 * Adds 16 rows times `count` tokens, over one block of k, to the first 16 of each row of `sums`
 * [count][32]. `x` is the tokens' activation blocks, one behind the other. Tokens are taken in pairs,
 * so that what is loaded of the weights serves two.
 *
 * All weights are unpacked before the loop over tokens, into far more variables than there are
 * registers. The engine keeps them on the stack, where, unlike in memory, every access is free of a
 * bounds check: a conditional branch each, which would cost more than the arithmetic.
 */
@inline
function blockTimes(
  w: usize,
  x: usize,
  count: i32,
  sums: usize,
  factor: f32,
  hasMin: bool,
  quads: bool,
): void {
  const mask = i8x16.splat(15);
  const ones = i16x8.splat(1);
  const zero = i16x8.splat(0);
  const lift = f32x4.splat(factor);
  let v = v128.load(w);
  const aScale = f16Any(f16Low(v), lift);
  const bScale = f16Any(f16High(v), lift);
  v = v128.load(w, 16);
  const cScale = f16Any(f16Low(v), lift);
  const dScale = f16Any(f16High(v), lift);
  v = hasMin ? v128.load(w, 32) : v;
  const aMin = f16Any(f16Low(v), lift);
  const bMin = f16Any(f16High(v), lift);
  v = hasMin ? v128.load(w, 48) : v;
  const cMin = f16Any(f16Low(v), lift);
  const dMin = f16Any(f16High(v), lift);
  w += hasMin ? 64 : 32;
  v = v128.load(w); const a0 = v128.and(v, mask); const a4 = high(v, mask);
  v = v128.load(w, 16); const a1 = v128.and(v, mask); const a5 = high(v, mask);
  v = v128.load(w, 32); const a2 = v128.and(v, mask); const a6 = high(v, mask);
  v = v128.load(w, 48); const a3 = v128.and(v, mask); const a7 = high(v, mask);
  v = v128.load(w, 64); const b0 = v128.and(v, mask); const b4 = high(v, mask);
  v = v128.load(w, 80); const b1 = v128.and(v, mask); const b5 = high(v, mask);
  v = v128.load(w, 96); const b2 = v128.and(v, mask); const b6 = high(v, mask);
  v = v128.load(w, 112); const b3 = v128.and(v, mask); const b7 = high(v, mask);
  v = v128.load(w, 128); const c0 = v128.and(v, mask); const c4 = high(v, mask);
  v = v128.load(w, 144); const c1 = v128.and(v, mask); const c5 = high(v, mask);
  v = v128.load(w, 160); const c2 = v128.and(v, mask); const c6 = high(v, mask);
  v = v128.load(w, 176); const c3 = v128.and(v, mask); const c7 = high(v, mask);
  v = v128.load(w, 192); const d0 = v128.and(v, mask); const d4 = high(v, mask);
  v = v128.load(w, 208); const d1 = v128.and(v, mask); const d5 = high(v, mask);
  v = v128.load(w, 224); const d2 = v128.and(v, mask); const d6 = high(v, mask);
  v = v128.load(w, 240); const d3 = v128.and(v, mask); const d7 = high(v, mask);
  const end = x + count * 48;
  const pairs = x + (count & ~1) * 48;
  while (x < pairs) {
    const aux = v128.load(x, 32);
    const bux = v128.load(x, 80);
    let a = hasMin ? zero : startOf(lane1(aux), ones, quads), b = a, c = a, d = a;
    let e = hasMin ? zero : startOf(lane1(bux), ones, quads), f = e, g = e, h = e;
    let xs = v128.load(x);
    let ys = v128.load(x, 48);
    let s = lane0(xs); let t = lane0(ys);
    a = mac(a, s, a0, quads); e = mac(e, t, a0, quads); b = mac(b, s, b0, quads); f = mac(f, t, b0, quads);
    c = mac(c, s, c0, quads); g = mac(g, t, c0, quads); d = mac(d, s, d0, quads); h = mac(h, t, d0, quads);
    s = lane1(xs); t = lane1(ys);
    a = mac(a, s, a1, quads); e = mac(e, t, a1, quads); b = mac(b, s, b1, quads); f = mac(f, t, b1, quads);
    c = mac(c, s, c1, quads); g = mac(g, t, c1, quads); d = mac(d, s, d1, quads); h = mac(h, t, d1, quads);
    s = lane2(xs); t = lane2(ys);
    a = mac(a, s, a2, quads); e = mac(e, t, a2, quads); b = mac(b, s, b2, quads); f = mac(f, t, b2, quads);
    c = mac(c, s, c2, quads); g = mac(g, t, c2, quads); d = mac(d, s, d2, quads); h = mac(h, t, d2, quads);
    s = lane3(xs); t = lane3(ys);
    a = mac(a, s, a3, quads); e = mac(e, t, a3, quads); b = mac(b, s, b3, quads); f = mac(f, t, b3, quads);
    c = mac(c, s, c3, quads); g = mac(g, t, c3, quads); d = mac(d, s, d3, quads); h = mac(h, t, d3, quads);
    xs = v128.load(x, 16);
    ys = v128.load(x, 64);
    s = lane0(xs); t = lane0(ys);
    a = mac(a, s, a4, quads); e = mac(e, t, a4, quads); b = mac(b, s, b4, quads); f = mac(f, t, b4, quads);
    c = mac(c, s, c4, quads); g = mac(g, t, c4, quads); d = mac(d, s, d4, quads); h = mac(h, t, d4, quads);
    s = lane1(xs); t = lane1(ys);
    a = mac(a, s, a5, quads); e = mac(e, t, a5, quads); b = mac(b, s, b5, quads); f = mac(f, t, b5, quads);
    c = mac(c, s, c5, quads); g = mac(g, t, c5, quads); d = mac(d, s, d5, quads); h = mac(h, t, d5, quads);
    s = lane2(xs); t = lane2(ys);
    a = mac(a, s, a6, quads); e = mac(e, t, a6, quads); b = mac(b, s, b6, quads); f = mac(f, t, b6, quads);
    c = mac(c, s, c6, quads); g = mac(g, t, c6, quads); d = mac(d, s, d6, quads); h = mac(h, t, d6, quads);
    s = lane3(xs); t = lane3(ys);
    a = mac(a, s, a7, quads); e = mac(e, t, a7, quads); b = mac(b, s, b7, quads); f = mac(f, t, b7, quads);
    c = mac(c, s, c7, quads); g = mac(g, t, c7, quads); d = mac(d, s, d7, quads); h = mac(h, t, d7, quads);
    s = lane0(aux);
    t = lane0(bux);
    a = scaleSum(v128.load(sums), a, ones, f32x4.mul(aScale, s), quads);
    e = scaleSum(v128.load(sums, 128), e, ones, f32x4.mul(aScale, t), quads);
    b = scaleSum(v128.load(sums, 16), b, ones, f32x4.mul(bScale, s), quads);
    f = scaleSum(v128.load(sums, 144), f, ones, f32x4.mul(bScale, t), quads);
    c = scaleSum(v128.load(sums, 32), c, ones, f32x4.mul(cScale, s), quads);
    g = scaleSum(v128.load(sums, 160), g, ones, f32x4.mul(cScale, t), quads);
    d = scaleSum(v128.load(sums, 48), d, ones, f32x4.mul(dScale, s), quads);
    h = scaleSum(v128.load(sums, 176), h, ones, f32x4.mul(dScale, t), quads);
    if (hasMin) {
      s = lane2(aux);
      a = madd(aMin, s, a); b = madd(bMin, s, b); c = madd(cMin, s, c); d = madd(dMin, s, d);
      t = lane2(bux);
      e = madd(aMin, t, e); f = madd(bMin, t, f); g = madd(cMin, t, g); h = madd(dMin, t, h);
    }
    v128.store(sums, a);
    v128.store(sums, b, 16);
    v128.store(sums, c, 32);
    v128.store(sums, d, 48);
    v128.store(sums, e, 128);
    v128.store(sums, f, 144);
    v128.store(sums, g, 160);
    v128.store(sums, h, 176);
    x += 96;
    sums += 256;
  }
  if (x == end) return;
  const aux = v128.load(x, 32);
  let a = hasMin ? zero : startOf(lane1(aux), ones, quads), b = a, c = a, d = a;
  let xs = v128.load(x);
  let s = lane0(xs);
  a = mac(a, s, a0, quads); b = mac(b, s, b0, quads); c = mac(c, s, c0, quads); d = mac(d, s, d0, quads);
  s = lane1(xs);
  a = mac(a, s, a1, quads); b = mac(b, s, b1, quads); c = mac(c, s, c1, quads); d = mac(d, s, d1, quads);
  s = lane2(xs);
  a = mac(a, s, a2, quads); b = mac(b, s, b2, quads); c = mac(c, s, c2, quads); d = mac(d, s, d2, quads);
  s = lane3(xs);
  a = mac(a, s, a3, quads); b = mac(b, s, b3, quads); c = mac(c, s, c3, quads); d = mac(d, s, d3, quads);
  xs = v128.load(x, 16);
  s = lane0(xs);
  a = mac(a, s, a4, quads); b = mac(b, s, b4, quads); c = mac(c, s, c4, quads); d = mac(d, s, d4, quads);
  s = lane1(xs);
  a = mac(a, s, a5, quads); b = mac(b, s, b5, quads); c = mac(c, s, c5, quads); d = mac(d, s, d5, quads);
  s = lane2(xs);
  a = mac(a, s, a6, quads); b = mac(b, s, b6, quads); c = mac(c, s, c6, quads); d = mac(d, s, d6, quads);
  s = lane3(xs);
  a = mac(a, s, a7, quads); b = mac(b, s, b7, quads); c = mac(c, s, c7, quads); d = mac(d, s, d7, quads);
  s = lane0(aux);
  a = scaleSum(v128.load(sums), a, ones, f32x4.mul(aScale, s), quads);
  b = scaleSum(v128.load(sums, 16), b, ones, f32x4.mul(bScale, s), quads);
  c = scaleSum(v128.load(sums, 32), c, ones, f32x4.mul(cScale, s), quads);
  d = scaleSum(v128.load(sums, 48), d, ones, f32x4.mul(dScale, s), quads);
  if (hasMin) {
    s = lane2(aux);
    a = madd(aMin, s, a); b = madd(bMin, s, b); c = madd(cMin, s, c); d = madd(dMin, s, d);
  }
  v128.store(sums, a);
  v128.store(sums, b, 16);
  v128.store(sums, c, 32);
  v128.store(sums, d, 48);
}

function int4BlockPairs(w: usize, x: usize, count: i32, sums: usize, factor: f32): void {
  blockTimes(w, x, count, sums, factor, false, false);
}

function int4BlockQuads(w: usize, x: usize, count: i32, sums: usize, factor: f32): void {
  blockTimes(w, x, count, sums, factor, false, true);
}

/** See `blockTimes`. */
export function int4Block(w: usize, x: usize, count: i32, sums: usize, factor: f32): void {
  if (ASC_FEATURE_RELAXED_SIMD && sumsQuads()) int4BlockQuads(w, x, count, sums, factor);
  else int4BlockPairs(w, x, count, sums, factor);
}

function int4mBlockPairs(w: usize, x: usize, count: i32, sums: usize, factor: f32): void {
  blockTimes(w, x, count, sums, factor, true, false);
}

function int4mBlockQuads(w: usize, x: usize, count: i32, sums: usize, factor: f32): void {
  blockTimes(w, x, count, sums, factor, true, true);
}

/** See `blockTimes`. */
export function int4mBlock(w: usize, x: usize, count: i32, sums: usize, factor: f32): void {
  if (ASC_FEATURE_RELAXED_SIMD && sumsQuads()) int4mBlockQuads(w, x, count, sums, factor);
  else int4mBlockPairs(w, x, count, sums, factor);
}
