// INT4 weights, two tokens: the inner loop of matmulInt4 and matmulInt4m for runs of a few tokens. It
// takes one panel along all of k; weights are unpacked where they are multiplied, which costs less
// than keeping them for tokens to come (int4.as.ts) as long as there are few. The packed layout stands
// in int4.as.ts; integer.as.ts walks over panels and tokens.

import { mac, startOf, sumsQuads } from "../dots.as";
import {
  F16_BITS,
  f16Finite,
  f16High,
  f16Low,
  lane0,
  lane1,
  lane2,
  lane3,
  madd,
} from "../simd.as";
import { high, scaleSum } from "./int4.as";

/**
 * Adds a panel times two tokens, whose activation blocks lie behind each other and `step` bytes apart
 * along k, to the first 16 of both rows of `sums` [2][32]. The panel's header is at `w`; scales must
 * be finite.
 *
 * Eight sums, the activations of four k (two tokens, low and high nibbles) and one vector of weights
 * are as many variables as there are registers.
 */
@inline
function panelTimesTwo(
  w: usize,
  x: usize,
  step: usize,
  blocks: i32,
  sums: usize,
  hasMin: bool,
  quads: bool,
): void {
  const mask = i8x16.splat(15);
  const ones = i16x8.splat(1);
  const bits = i32x4.splat(F16_BITS);
  const lift = v128.load32_splat(w, 4);
  const end = x + <usize> blocks * step;
  w += 16;
  let f0 = v128.load(sums); let f1 = v128.load(sums, 16);
  let f2 = v128.load(sums, 32); let f3 = v128.load(sums, 48);
  let g0 = v128.load(sums, 128); let g1 = v128.load(sums, 144);
  let g2 = v128.load(sums, 160); let g3 = v128.load(sums, 176);
  while (x < end) {
    const aux = v128.load(x, 32);
    const bux = v128.load(x, 80);
    const p0 = hasMin ? w + 64 : w + 32;
    const p1 = hasMin ? w + 128 : w + 96;
    const p2 = hasMin ? w + 192 : w + 160;
    const p3 = hasMin ? w + 256 : w + 224;
    let a0 = hasMin ? i16x8.splat(0) : startOf(lane1(aux), ones, quads), a1 = a0, a2 = a0, a3 = a0;
    let b0 = hasMin ? i16x8.splat(0) : startOf(lane1(bux), ones, quads), b1 = b0, b2 = b0, b3 = b0;
    let s: v128, t: v128, u: v128, v: v128, m: v128, n: v128;
    s = v128.load32_splat(x, 0); t = v128.load32_splat(x, 16);
    u = v128.load32_splat(x, 48); v = v128.load32_splat(x, 64);
    m = v128.load(p0); n = v128.and(m, mask); m = high(m, mask);
    a0 = mac(mac(a0, s, n, quads), t, m, quads); b0 = mac(mac(b0, u, n, quads), v, m, quads);
    m = v128.load(p1); n = v128.and(m, mask); m = high(m, mask);
    a1 = mac(mac(a1, s, n, quads), t, m, quads); b1 = mac(mac(b1, u, n, quads), v, m, quads);
    m = v128.load(p2); n = v128.and(m, mask); m = high(m, mask);
    a2 = mac(mac(a2, s, n, quads), t, m, quads); b2 = mac(mac(b2, u, n, quads), v, m, quads);
    m = v128.load(p3); n = v128.and(m, mask); m = high(m, mask);
    a3 = mac(mac(a3, s, n, quads), t, m, quads); b3 = mac(mac(b3, u, n, quads), v, m, quads);
    s = v128.load32_splat(x, 4); t = v128.load32_splat(x, 20);
    u = v128.load32_splat(x, 52); v = v128.load32_splat(x, 68);
    m = v128.load(p0, 16); n = v128.and(m, mask); m = high(m, mask);
    a0 = mac(mac(a0, s, n, quads), t, m, quads); b0 = mac(mac(b0, u, n, quads), v, m, quads);
    m = v128.load(p1, 16); n = v128.and(m, mask); m = high(m, mask);
    a1 = mac(mac(a1, s, n, quads), t, m, quads); b1 = mac(mac(b1, u, n, quads), v, m, quads);
    m = v128.load(p2, 16); n = v128.and(m, mask); m = high(m, mask);
    a2 = mac(mac(a2, s, n, quads), t, m, quads); b2 = mac(mac(b2, u, n, quads), v, m, quads);
    m = v128.load(p3, 16); n = v128.and(m, mask); m = high(m, mask);
    a3 = mac(mac(a3, s, n, quads), t, m, quads); b3 = mac(mac(b3, u, n, quads), v, m, quads);
    s = v128.load32_splat(x, 8); t = v128.load32_splat(x, 24);
    u = v128.load32_splat(x, 56); v = v128.load32_splat(x, 72);
    m = v128.load(p0, 32); n = v128.and(m, mask); m = high(m, mask);
    a0 = mac(mac(a0, s, n, quads), t, m, quads); b0 = mac(mac(b0, u, n, quads), v, m, quads);
    m = v128.load(p1, 32); n = v128.and(m, mask); m = high(m, mask);
    a1 = mac(mac(a1, s, n, quads), t, m, quads); b1 = mac(mac(b1, u, n, quads), v, m, quads);
    m = v128.load(p2, 32); n = v128.and(m, mask); m = high(m, mask);
    a2 = mac(mac(a2, s, n, quads), t, m, quads); b2 = mac(mac(b2, u, n, quads), v, m, quads);
    m = v128.load(p3, 32); n = v128.and(m, mask); m = high(m, mask);
    a3 = mac(mac(a3, s, n, quads), t, m, quads); b3 = mac(mac(b3, u, n, quads), v, m, quads);
    s = v128.load32_splat(x, 12); t = v128.load32_splat(x, 28);
    u = v128.load32_splat(x, 60); v = v128.load32_splat(x, 76);
    m = v128.load(p0, 48); n = v128.and(m, mask); m = high(m, mask);
    a0 = mac(mac(a0, s, n, quads), t, m, quads); b0 = mac(mac(b0, u, n, quads), v, m, quads);
    m = v128.load(p1, 48); n = v128.and(m, mask); m = high(m, mask);
    a1 = mac(mac(a1, s, n, quads), t, m, quads); b1 = mac(mac(b1, u, n, quads), v, m, quads);
    m = v128.load(p2, 48); n = v128.and(m, mask); m = high(m, mask);
    a2 = mac(mac(a2, s, n, quads), t, m, quads); b2 = mac(mac(b2, u, n, quads), v, m, quads);
    m = v128.load(p3, 48); n = v128.and(m, mask); m = high(m, mask);
    a3 = mac(mac(a3, s, n, quads), t, m, quads); b3 = mac(mac(b3, u, n, quads), v, m, quads);
    s = lane0(aux);
    t = lane0(bux);
    m = v128.load(w);
    n = v128.load(w, 16);
    u = f16Finite(f16Low(m), bits, lift);
    f0 = scaleSum(f0, a0, ones, f32x4.mul(u, s), quads);
    g0 = scaleSum(g0, b0, ones, f32x4.mul(u, t), quads);
    u = f16Finite(f16High(m), bits, lift);
    f1 = scaleSum(f1, a1, ones, f32x4.mul(u, s), quads);
    g1 = scaleSum(g1, b1, ones, f32x4.mul(u, t), quads);
    u = f16Finite(f16Low(n), bits, lift);
    f2 = scaleSum(f2, a2, ones, f32x4.mul(u, s), quads);
    g2 = scaleSum(g2, b2, ones, f32x4.mul(u, t), quads);
    u = f16Finite(f16High(n), bits, lift);
    f3 = scaleSum(f3, a3, ones, f32x4.mul(u, s), quads);
    g3 = scaleSum(g3, b3, ones, f32x4.mul(u, t), quads);
    if (hasMin) {
      s = lane2(aux);
      t = lane2(bux);
      m = v128.load(w, 32);
      n = v128.load(w, 48);
      u = f16Finite(f16Low(m), bits, lift);
      f0 = madd(u, s, f0); g0 = madd(u, t, g0);
      u = f16Finite(f16High(m), bits, lift);
      f1 = madd(u, s, f1); g1 = madd(u, t, g1);
      u = f16Finite(f16Low(n), bits, lift);
      f2 = madd(u, s, f2); g2 = madd(u, t, g2);
      u = f16Finite(f16High(n), bits, lift);
      f3 = madd(u, s, f3); g3 = madd(u, t, g3);
    }
    w += hasMin ? 320 : 288;
    x += step;
  }
  v128.store(sums, f0); v128.store(sums, f1, 16);
  v128.store(sums, f2, 32); v128.store(sums, f3, 48);
  v128.store(sums, g0, 128); v128.store(sums, g1, 144);
  v128.store(sums, g2, 160); v128.store(sums, g3, 176);
}

function int4TimesTwoPairs(w: usize, x: usize, step: usize, blocks: i32, sums: usize): void {
  panelTimesTwo(w, x, step, blocks, sums, false, false);
}

function int4TimesTwoQuads(w: usize, x: usize, step: usize, blocks: i32, sums: usize): void {
  panelTimesTwo(w, x, step, blocks, sums, false, true);
}

/** See `panelTimesTwo`. */
export function int4TimesTwo(w: usize, x: usize, step: usize, blocks: i32, sums: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD && sumsQuads()) int4TimesTwoQuads(w, x, step, blocks, sums);
  else int4TimesTwoPairs(w, x, step, blocks, sums);
}

function int4mTimesTwoPairs(w: usize, x: usize, step: usize, blocks: i32, sums: usize): void {
  panelTimesTwo(w, x, step, blocks, sums, true, false);
}

function int4mTimesTwoQuads(w: usize, x: usize, step: usize, blocks: i32, sums: usize): void {
  panelTimesTwo(w, x, step, blocks, sums, true, true);
}

/** See `panelTimesTwo`. */
export function int4mTimesTwo(w: usize, x: usize, step: usize, blocks: i32, sums: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD && sumsQuads()) int4mTimesTwoQuads(w, x, step, blocks, sums);
  else int4mTimesTwoPairs(w, x, step, blocks, sums);
}
