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
//   32 int8 q, then d, then −4·sum as i16 twice, then d·sum, where sum is the sum of q
//
// The −8 of int4 costs nothing: accumulators start at −4·sum in each of the two i16 that make up
// one row's i32. Sums of 16 products stay within ±30480, so that i16 does not overflow.

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
 * Adds 32 rows times `count` tokens, over one block of k, to `sums` [count][32]. `w` is a block of
 * one panel and `u` of another, `x` the tokens' activation blocks, one behind the other.
 *
 * All weights are unpacked before the loop over tokens, into far more variables than there are
 * registers. The engine keeps them on the stack, where, unlike in memory, every access is free of a
 * bounds check: a conditional branch each, which would cost more than the arithmetic.
 */
@inline
function blockTimes(
  w: usize,
  u: usize,
  x: usize,
  count: i32,
  sums: usize,
  wFactor: f32,
  uFactor: f32,
  hasMin: bool,
  quads: bool,
): void {
  const mask = i8x16.splat(15);
  const ones = i16x8.splat(1);
  const wLift = f32x4.splat(wFactor);
  const uLift = f32x4.splat(uFactor);
  let v = v128.load(w);
  const aScale = f16Any(f16Low(v), wLift);
  const bScale = f16Any(f16High(v), wLift);
  v = v128.load(w, 16);
  const cScale = f16Any(f16Low(v), wLift);
  const dScale = f16Any(f16High(v), wLift);
  v = v128.load(u);
  const eScale = f16Any(f16Low(v), uLift);
  const fScale = f16Any(f16High(v), uLift);
  v = v128.load(u, 16);
  const gScale = f16Any(f16Low(v), uLift);
  const hScale = f16Any(f16High(v), uLift);
  v = hasMin ? v128.load(w, 32) : v;
  const aMin = f16Any(f16Low(v), wLift);
  const bMin = f16Any(f16High(v), wLift);
  v = hasMin ? v128.load(w, 48) : v;
  const cMin = f16Any(f16Low(v), wLift);
  const dMin = f16Any(f16High(v), wLift);
  v = hasMin ? v128.load(u, 32) : v;
  const eMin = f16Any(f16Low(v), uLift);
  const fMin = f16Any(f16High(v), uLift);
  v = hasMin ? v128.load(u, 48) : v;
  const gMin = f16Any(f16Low(v), uLift);
  const hMin = f16Any(f16High(v), uLift);
  w += hasMin ? 64 : 32;
  u += hasMin ? 64 : 32;
  v = v128.load(w); const a0 = v128.and(v, mask); const a4 = high(v, mask);
  v = v128.load(u); const e0 = v128.and(v, mask); const e4 = high(v, mask);
  v = v128.load(w, 16); const a1 = v128.and(v, mask); const a5 = high(v, mask);
  v = v128.load(u, 16); const e1 = v128.and(v, mask); const e5 = high(v, mask);
  v = v128.load(w, 32); const a2 = v128.and(v, mask); const a6 = high(v, mask);
  v = v128.load(u, 32); const e2 = v128.and(v, mask); const e6 = high(v, mask);
  v = v128.load(w, 48); const a3 = v128.and(v, mask); const a7 = high(v, mask);
  v = v128.load(u, 48); const e3 = v128.and(v, mask); const e7 = high(v, mask);
  v = v128.load(w, 64); const b0 = v128.and(v, mask); const b4 = high(v, mask);
  v = v128.load(u, 64); const f0 = v128.and(v, mask); const f4 = high(v, mask);
  v = v128.load(w, 80); const b1 = v128.and(v, mask); const b5 = high(v, mask);
  v = v128.load(u, 80); const f1 = v128.and(v, mask); const f5 = high(v, mask);
  v = v128.load(w, 96); const b2 = v128.and(v, mask); const b6 = high(v, mask);
  v = v128.load(u, 96); const f2 = v128.and(v, mask); const f6 = high(v, mask);
  v = v128.load(w, 112); const b3 = v128.and(v, mask); const b7 = high(v, mask);
  v = v128.load(u, 112); const f3 = v128.and(v, mask); const f7 = high(v, mask);
  v = v128.load(w, 128); const c0 = v128.and(v, mask); const c4 = high(v, mask);
  v = v128.load(u, 128); const g0 = v128.and(v, mask); const g4 = high(v, mask);
  v = v128.load(w, 144); const c1 = v128.and(v, mask); const c5 = high(v, mask);
  v = v128.load(u, 144); const g1 = v128.and(v, mask); const g5 = high(v, mask);
  v = v128.load(w, 160); const c2 = v128.and(v, mask); const c6 = high(v, mask);
  v = v128.load(u, 160); const g2 = v128.and(v, mask); const g6 = high(v, mask);
  v = v128.load(w, 176); const c3 = v128.and(v, mask); const c7 = high(v, mask);
  v = v128.load(u, 176); const g3 = v128.and(v, mask); const g7 = high(v, mask);
  v = v128.load(w, 192); const d0 = v128.and(v, mask); const d4 = high(v, mask);
  v = v128.load(u, 192); const h0 = v128.and(v, mask); const h4 = high(v, mask);
  v = v128.load(w, 208); const d1 = v128.and(v, mask); const d5 = high(v, mask);
  v = v128.load(u, 208); const h1 = v128.and(v, mask); const h5 = high(v, mask);
  v = v128.load(w, 224); const d2 = v128.and(v, mask); const d6 = high(v, mask);
  v = v128.load(u, 224); const h2 = v128.and(v, mask); const h6 = high(v, mask);
  v = v128.load(w, 240); const d3 = v128.and(v, mask); const d7 = high(v, mask);
  v = v128.load(u, 240); const h3 = v128.and(v, mask); const h7 = high(v, mask);
  const end = x + count * 48;
  while (x < end) {
    const aux = v128.load(x, 32);
    const start = hasMin ? i16x8.splat(0) : startOf(lane1(aux), ones, quads);
    let xs = v128.load(x);
    let s = lane0(xs);
    let a = mac(start, s, a0, quads); let b = mac(start, s, b0, quads);
    let c = mac(start, s, c0, quads); let d = mac(start, s, d0, quads);
    let e = mac(start, s, e0, quads); let f = mac(start, s, f0, quads);
    let g = mac(start, s, g0, quads); let h = mac(start, s, h0, quads);
    s = lane1(xs);
    a = mac(a, s, a1, quads); b = mac(b, s, b1, quads); c = mac(c, s, c1, quads); d = mac(d, s, d1, quads);
    e = mac(e, s, e1, quads); f = mac(f, s, f1, quads); g = mac(g, s, g1, quads); h = mac(h, s, h1, quads);
    s = lane2(xs);
    a = mac(a, s, a2, quads); b = mac(b, s, b2, quads); c = mac(c, s, c2, quads); d = mac(d, s, d2, quads);
    e = mac(e, s, e2, quads); f = mac(f, s, f2, quads); g = mac(g, s, g2, quads); h = mac(h, s, h2, quads);
    s = lane3(xs);
    a = mac(a, s, a3, quads); b = mac(b, s, b3, quads); c = mac(c, s, c3, quads); d = mac(d, s, d3, quads);
    e = mac(e, s, e3, quads); f = mac(f, s, f3, quads); g = mac(g, s, g3, quads); h = mac(h, s, h3, quads);
    xs = v128.load(x, 16);
    s = lane0(xs);
    a = mac(a, s, a4, quads); b = mac(b, s, b4, quads); c = mac(c, s, c4, quads); d = mac(d, s, d4, quads);
    e = mac(e, s, e4, quads); f = mac(f, s, f4, quads); g = mac(g, s, g4, quads); h = mac(h, s, h4, quads);
    s = lane1(xs);
    a = mac(a, s, a5, quads); b = mac(b, s, b5, quads); c = mac(c, s, c5, quads); d = mac(d, s, d5, quads);
    e = mac(e, s, e5, quads); f = mac(f, s, f5, quads); g = mac(g, s, g5, quads); h = mac(h, s, h5, quads);
    s = lane2(xs);
    a = mac(a, s, a6, quads); b = mac(b, s, b6, quads); c = mac(c, s, c6, quads); d = mac(d, s, d6, quads);
    e = mac(e, s, e6, quads); f = mac(f, s, f6, quads); g = mac(g, s, g6, quads); h = mac(h, s, h6, quads);
    s = lane3(xs);
    a = mac(a, s, a7, quads); b = mac(b, s, b7, quads); c = mac(c, s, c7, quads); d = mac(d, s, d7, quads);
    e = mac(e, s, e7, quads); f = mac(f, s, f7, quads); g = mac(g, s, g7, quads); h = mac(h, s, h7, quads);
    s = lane0(aux);
    a = scaleSum(v128.load(sums), a, ones, f32x4.mul(aScale, s), quads);
    b = scaleSum(v128.load(sums, 16), b, ones, f32x4.mul(bScale, s), quads);
    c = scaleSum(v128.load(sums, 32), c, ones, f32x4.mul(cScale, s), quads);
    d = scaleSum(v128.load(sums, 48), d, ones, f32x4.mul(dScale, s), quads);
    e = scaleSum(v128.load(sums, 64), e, ones, f32x4.mul(eScale, s), quads);
    f = scaleSum(v128.load(sums, 80), f, ones, f32x4.mul(fScale, s), quads);
    g = scaleSum(v128.load(sums, 96), g, ones, f32x4.mul(gScale, s), quads);
    h = scaleSum(v128.load(sums, 112), h, ones, f32x4.mul(hScale, s), quads);
    if (hasMin) {
      s = lane2(aux);
      a = madd(aMin, s, a); b = madd(bMin, s, b); c = madd(cMin, s, c); d = madd(dMin, s, d);
      e = madd(eMin, s, e); f = madd(fMin, s, f); g = madd(gMin, s, g); h = madd(hMin, s, h);
    }
    v128.store(sums, a);
    v128.store(sums, b, 16);
    v128.store(sums, c, 32);
    v128.store(sums, d, 48);
    v128.store(sums, e, 64);
    v128.store(sums, f, 80);
    v128.store(sums, g, 96);
    v128.store(sums, h, 112);
    x += 48;
    sums += 128;
  }
}

function int4BlockPairs(
  w: usize,
  u: usize,
  x: usize,
  count: i32,
  sums: usize,
  wFactor: f32,
  uFactor: f32,
): void {
  blockTimes(w, u, x, count, sums, wFactor, uFactor, false, false);
}

function int4BlockQuads(
  w: usize,
  u: usize,
  x: usize,
  count: i32,
  sums: usize,
  wFactor: f32,
  uFactor: f32,
): void {
  blockTimes(w, u, x, count, sums, wFactor, uFactor, false, true);
}

/** See `blockTimes`. */
export function int4Block(
  w: usize,
  u: usize,
  x: usize,
  count: i32,
  sums: usize,
  wFactor: f32,
  uFactor: f32,
): void {
  if (ASC_FEATURE_RELAXED_SIMD && sumsQuads()) int4BlockQuads(w, u, x, count, sums, wFactor, uFactor);
  else int4BlockPairs(w, u, x, count, sums, wFactor, uFactor);
}

function int4mBlockPairs(
  w: usize,
  u: usize,
  x: usize,
  count: i32,
  sums: usize,
  wFactor: f32,
  uFactor: f32,
): void {
  blockTimes(w, u, x, count, sums, wFactor, uFactor, true, false);
}

function int4mBlockQuads(
  w: usize,
  u: usize,
  x: usize,
  count: i32,
  sums: usize,
  wFactor: f32,
  uFactor: f32,
): void {
  blockTimes(w, u, x, count, sums, wFactor, uFactor, true, true);
}

/** See `blockTimes`. */
export function int4mBlock(
  w: usize,
  u: usize,
  x: usize,
  count: i32,
  sums: usize,
  wFactor: f32,
  uFactor: f32,
): void {
  if (ASC_FEATURE_RELAXED_SIMD && sumsQuads()) int4mBlockQuads(w, u, x, count, sums, wFactor, uFactor);
  else int4mBlockPairs(w, u, x, count, sums, wFactor, uFactor);
}
