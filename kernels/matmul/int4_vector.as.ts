// INT4 weights, one token: the inner loop of matmulInt4 and matmulInt4m that takes four panels at
// once, and most of the time of a token. int4_panel.as.ts takes one; int4.as.ts has the packed layout;
// integer.as.ts walks over panels.

import { mac, startOf, sumsQuads } from "../dots.as";
import {
  dotPairs,
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
import { macNibbles } from "./int4_panel.as";

export { int4mTimes1, int4Times1 } from "./int4_panel.as";

/** As `macNibbles` where the sum begins; without `start` where weights have minimums. */
@inline
function firstNibbles(
  start: v128,
  x0: v128,
  x1: v128,
  w: v128,
  mask: v128,
  hasMin: bool,
  quads: bool,
): v128 {
  if (hasMin && !quads) return mac(dotPairs(x0, v128.and(w, mask)), x1, high(w, mask), quads);
  return macNibbles(start, x0, x1, w, mask, quads);
}

/** Scale times step of rows 0 … 3 (or 4 … 7) of eight halves. */
@inline
function lowScale(halves: v128, bits: v128, lift: v128, d: v128): v128 {
  return f32x4.mul(f16Finite(f16Low(halves), bits, lift), d);
}

@inline
function highScale(halves: v128, bits: v128, lift: v128, d: v128): v128 {
  return f32x4.mul(f16Finite(f16High(halves), bits, lift), d);
}

/**
 * Adds four panels times one token to `sums` [4][16]. The first panel's header is at `panel`, the
 * others follow at the given distance. They are read side by side because a core keeps more of the
 * memory's bandwidth busy with four streams than with one; not in a loop, because it predicts what
 * to fetch by the address of the instruction that loads.
 *
 * The sums are variables, as weights are in int4.as.ts. Four loads follow each other, with the
 * branches of their bounds checks: the code between them, without any, is decoded faster.
 */
@inline
function fourTimes1(
  panel: usize,
  distance: usize,
  x: usize,
  blocks: i32,
  sums: usize,
  hasMin: bool,
  quads: bool,
): void {
  const mask = i8x16.splat(15);
  const ones = i16x8.splat(1);
  const bits = i32x4.splat(F16_BITS);
  const first: usize = hasMin ? 64 : 32; // of a block's bytes that are no scales
  let w0 = panel;
  let w1 = w0 + distance;
  let w2 = w1 + distance;
  let w3 = w2 + distance;
  const lift0 = v128.load32_splat(w0, 4);
  const lift1 = v128.load32_splat(w1, 4);
  const lift2 = v128.load32_splat(w2, 4);
  const lift3 = v128.load32_splat(w3, 4);
  w0 += 16;
  w1 += 16;
  w2 += 16;
  w3 += 16;
  let s00 = v128.load(sums); let s01 = v128.load(sums, 16);
  let s02 = v128.load(sums, 32); let s03 = v128.load(sums, 48);
  let s10 = v128.load(sums, 64); let s11 = v128.load(sums, 80);
  let s12 = v128.load(sums, 96); let s13 = v128.load(sums, 112);
  let s20 = v128.load(sums, 128); let s21 = v128.load(sums, 144);
  let s22 = v128.load(sums, 160); let s23 = v128.load(sums, 176);
  let s30 = v128.load(sums, 192); let s31 = v128.load(sums, 208);
  let s32 = v128.load(sums, 224); let s33 = v128.load(sums, 240);
  const end = x + blocks * 48;
  while (x < end) {
    const xa = v128.load(x);
    const xb = v128.load(x, 16);
    const aux = v128.load(x, 32);
    const l0 = lane0(xa); // meet low nibbles
    const l1 = lane1(xa);
    const l2 = lane2(xa);
    const l3 = lane3(xa);
    const h0 = lane0(xb); // meet high nibbles
    const h1 = lane1(xb);
    const h2 = lane2(xb);
    const h3 = lane3(xb);
    const d = lane0(aux);
    const ds = lane2(aux);
    const start = hasMin ? i16x8.splat(0) : startOf(lane1(aux), ones, quads);
    let p0: usize;
    let p1: usize;
    let p2: usize;
    let p3: usize;
    let u0: v128;
    let u1: v128;
    let u2: v128;
    let u3: v128;
    let a0: v128;
    let a1: v128;
    let a2: v128;
    let a3: v128;

    p0 = w0 + first; p1 = p0 + 64; p2 = p0 + 128; p3 = p0 + 192;
    u0 = v128.load(p0); u1 = v128.load(p1); u2 = v128.load(p2); u3 = v128.load(p3);
    a0 = firstNibbles(start, l0, h0, u0, mask, hasMin, quads);
    a1 = firstNibbles(start, l0, h0, u1, mask, hasMin, quads);
    a2 = firstNibbles(start, l0, h0, u2, mask, hasMin, quads);
    a3 = firstNibbles(start, l0, h0, u3, mask, hasMin, quads);
    u0 = v128.load(p0, 16); u1 = v128.load(p1, 16); u2 = v128.load(p2, 16); u3 = v128.load(p3, 16);
    a0 = macNibbles(a0, l1, h1, u0, mask, quads);
    a1 = macNibbles(a1, l1, h1, u1, mask, quads);
    a2 = macNibbles(a2, l1, h1, u2, mask, quads);
    a3 = macNibbles(a3, l1, h1, u3, mask, quads);
    u0 = v128.load(p0, 32); u1 = v128.load(p1, 32); u2 = v128.load(p2, 32); u3 = v128.load(p3, 32);
    a0 = macNibbles(a0, l2, h2, u0, mask, quads);
    a1 = macNibbles(a1, l2, h2, u1, mask, quads);
    a2 = macNibbles(a2, l2, h2, u2, mask, quads);
    a3 = macNibbles(a3, l2, h2, u3, mask, quads);
    u0 = v128.load(p0, 48); u1 = v128.load(p1, 48); u2 = v128.load(p2, 48); u3 = v128.load(p3, 48);
    a0 = macNibbles(a0, l3, h3, u0, mask, quads);
    a1 = macNibbles(a1, l3, h3, u1, mask, quads);
    a2 = macNibbles(a2, l3, h3, u2, mask, quads);
    a3 = macNibbles(a3, l3, h3, u3, mask, quads);
    u0 = v128.load(w0); u1 = v128.load(w0, 16);
    s00 = scaleSum(s00, a0, ones, lowScale(u0, bits, lift0, d), quads);
    s01 = scaleSum(s01, a1, ones, highScale(u0, bits, lift0, d), quads);
    s02 = scaleSum(s02, a2, ones, lowScale(u1, bits, lift0, d), quads);
    s03 = scaleSum(s03, a3, ones, highScale(u1, bits, lift0, d), quads);
    if (hasMin) {
      u0 = v128.load(w0, 32); u1 = v128.load(w0, 48);
      s00 = madd(f16Finite(f16Low(u0), bits, lift0), ds, s00);
      s01 = madd(f16Finite(f16High(u0), bits, lift0), ds, s01);
      s02 = madd(f16Finite(f16Low(u1), bits, lift0), ds, s02);
      s03 = madd(f16Finite(f16High(u1), bits, lift0), ds, s03);
    }

    p0 = w1 + first; p1 = p0 + 64; p2 = p0 + 128; p3 = p0 + 192;
    u0 = v128.load(p0); u1 = v128.load(p1); u2 = v128.load(p2); u3 = v128.load(p3);
    a0 = firstNibbles(start, l0, h0, u0, mask, hasMin, quads);
    a1 = firstNibbles(start, l0, h0, u1, mask, hasMin, quads);
    a2 = firstNibbles(start, l0, h0, u2, mask, hasMin, quads);
    a3 = firstNibbles(start, l0, h0, u3, mask, hasMin, quads);
    u0 = v128.load(p0, 16); u1 = v128.load(p1, 16); u2 = v128.load(p2, 16); u3 = v128.load(p3, 16);
    a0 = macNibbles(a0, l1, h1, u0, mask, quads);
    a1 = macNibbles(a1, l1, h1, u1, mask, quads);
    a2 = macNibbles(a2, l1, h1, u2, mask, quads);
    a3 = macNibbles(a3, l1, h1, u3, mask, quads);
    u0 = v128.load(p0, 32); u1 = v128.load(p1, 32); u2 = v128.load(p2, 32); u3 = v128.load(p3, 32);
    a0 = macNibbles(a0, l2, h2, u0, mask, quads);
    a1 = macNibbles(a1, l2, h2, u1, mask, quads);
    a2 = macNibbles(a2, l2, h2, u2, mask, quads);
    a3 = macNibbles(a3, l2, h2, u3, mask, quads);
    u0 = v128.load(p0, 48); u1 = v128.load(p1, 48); u2 = v128.load(p2, 48); u3 = v128.load(p3, 48);
    a0 = macNibbles(a0, l3, h3, u0, mask, quads);
    a1 = macNibbles(a1, l3, h3, u1, mask, quads);
    a2 = macNibbles(a2, l3, h3, u2, mask, quads);
    a3 = macNibbles(a3, l3, h3, u3, mask, quads);
    u0 = v128.load(w1); u1 = v128.load(w1, 16);
    s10 = scaleSum(s10, a0, ones, lowScale(u0, bits, lift1, d), quads);
    s11 = scaleSum(s11, a1, ones, highScale(u0, bits, lift1, d), quads);
    s12 = scaleSum(s12, a2, ones, lowScale(u1, bits, lift1, d), quads);
    s13 = scaleSum(s13, a3, ones, highScale(u1, bits, lift1, d), quads);
    if (hasMin) {
      u0 = v128.load(w1, 32); u1 = v128.load(w1, 48);
      s10 = madd(f16Finite(f16Low(u0), bits, lift1), ds, s10);
      s11 = madd(f16Finite(f16High(u0), bits, lift1), ds, s11);
      s12 = madd(f16Finite(f16Low(u1), bits, lift1), ds, s12);
      s13 = madd(f16Finite(f16High(u1), bits, lift1), ds, s13);
    }

    p0 = w2 + first; p1 = p0 + 64; p2 = p0 + 128; p3 = p0 + 192;
    u0 = v128.load(p0); u1 = v128.load(p1); u2 = v128.load(p2); u3 = v128.load(p3);
    a0 = firstNibbles(start, l0, h0, u0, mask, hasMin, quads);
    a1 = firstNibbles(start, l0, h0, u1, mask, hasMin, quads);
    a2 = firstNibbles(start, l0, h0, u2, mask, hasMin, quads);
    a3 = firstNibbles(start, l0, h0, u3, mask, hasMin, quads);
    u0 = v128.load(p0, 16); u1 = v128.load(p1, 16); u2 = v128.load(p2, 16); u3 = v128.load(p3, 16);
    a0 = macNibbles(a0, l1, h1, u0, mask, quads);
    a1 = macNibbles(a1, l1, h1, u1, mask, quads);
    a2 = macNibbles(a2, l1, h1, u2, mask, quads);
    a3 = macNibbles(a3, l1, h1, u3, mask, quads);
    u0 = v128.load(p0, 32); u1 = v128.load(p1, 32); u2 = v128.load(p2, 32); u3 = v128.load(p3, 32);
    a0 = macNibbles(a0, l2, h2, u0, mask, quads);
    a1 = macNibbles(a1, l2, h2, u1, mask, quads);
    a2 = macNibbles(a2, l2, h2, u2, mask, quads);
    a3 = macNibbles(a3, l2, h2, u3, mask, quads);
    u0 = v128.load(p0, 48); u1 = v128.load(p1, 48); u2 = v128.load(p2, 48); u3 = v128.load(p3, 48);
    a0 = macNibbles(a0, l3, h3, u0, mask, quads);
    a1 = macNibbles(a1, l3, h3, u1, mask, quads);
    a2 = macNibbles(a2, l3, h3, u2, mask, quads);
    a3 = macNibbles(a3, l3, h3, u3, mask, quads);
    u0 = v128.load(w2); u1 = v128.load(w2, 16);
    s20 = scaleSum(s20, a0, ones, lowScale(u0, bits, lift2, d), quads);
    s21 = scaleSum(s21, a1, ones, highScale(u0, bits, lift2, d), quads);
    s22 = scaleSum(s22, a2, ones, lowScale(u1, bits, lift2, d), quads);
    s23 = scaleSum(s23, a3, ones, highScale(u1, bits, lift2, d), quads);
    if (hasMin) {
      u0 = v128.load(w2, 32); u1 = v128.load(w2, 48);
      s20 = madd(f16Finite(f16Low(u0), bits, lift2), ds, s20);
      s21 = madd(f16Finite(f16High(u0), bits, lift2), ds, s21);
      s22 = madd(f16Finite(f16Low(u1), bits, lift2), ds, s22);
      s23 = madd(f16Finite(f16High(u1), bits, lift2), ds, s23);
    }

    p0 = w3 + first; p1 = p0 + 64; p2 = p0 + 128; p3 = p0 + 192;
    u0 = v128.load(p0); u1 = v128.load(p1); u2 = v128.load(p2); u3 = v128.load(p3);
    a0 = firstNibbles(start, l0, h0, u0, mask, hasMin, quads);
    a1 = firstNibbles(start, l0, h0, u1, mask, hasMin, quads);
    a2 = firstNibbles(start, l0, h0, u2, mask, hasMin, quads);
    a3 = firstNibbles(start, l0, h0, u3, mask, hasMin, quads);
    u0 = v128.load(p0, 16); u1 = v128.load(p1, 16); u2 = v128.load(p2, 16); u3 = v128.load(p3, 16);
    a0 = macNibbles(a0, l1, h1, u0, mask, quads);
    a1 = macNibbles(a1, l1, h1, u1, mask, quads);
    a2 = macNibbles(a2, l1, h1, u2, mask, quads);
    a3 = macNibbles(a3, l1, h1, u3, mask, quads);
    u0 = v128.load(p0, 32); u1 = v128.load(p1, 32); u2 = v128.load(p2, 32); u3 = v128.load(p3, 32);
    a0 = macNibbles(a0, l2, h2, u0, mask, quads);
    a1 = macNibbles(a1, l2, h2, u1, mask, quads);
    a2 = macNibbles(a2, l2, h2, u2, mask, quads);
    a3 = macNibbles(a3, l2, h2, u3, mask, quads);
    u0 = v128.load(p0, 48); u1 = v128.load(p1, 48); u2 = v128.load(p2, 48); u3 = v128.load(p3, 48);
    a0 = macNibbles(a0, l3, h3, u0, mask, quads);
    a1 = macNibbles(a1, l3, h3, u1, mask, quads);
    a2 = macNibbles(a2, l3, h3, u2, mask, quads);
    a3 = macNibbles(a3, l3, h3, u3, mask, quads);
    u0 = v128.load(w3); u1 = v128.load(w3, 16);
    s30 = scaleSum(s30, a0, ones, lowScale(u0, bits, lift3, d), quads);
    s31 = scaleSum(s31, a1, ones, highScale(u0, bits, lift3, d), quads);
    s32 = scaleSum(s32, a2, ones, lowScale(u1, bits, lift3, d), quads);
    s33 = scaleSum(s33, a3, ones, highScale(u1, bits, lift3, d), quads);
    if (hasMin) {
      u0 = v128.load(w3, 32); u1 = v128.load(w3, 48);
      s30 = madd(f16Finite(f16Low(u0), bits, lift3), ds, s30);
      s31 = madd(f16Finite(f16High(u0), bits, lift3), ds, s31);
      s32 = madd(f16Finite(f16Low(u1), bits, lift3), ds, s32);
      s33 = madd(f16Finite(f16High(u1), bits, lift3), ds, s33);
    }

    w0 += hasMin ? 320 : 288;
    w1 += hasMin ? 320 : 288;
    w2 += hasMin ? 320 : 288;
    w3 += hasMin ? 320 : 288;
    x += 48;
  }
  v128.store(sums, s00); v128.store(sums, s01, 16);
  v128.store(sums, s02, 32); v128.store(sums, s03, 48);
  v128.store(sums, s10, 64); v128.store(sums, s11, 80);
  v128.store(sums, s12, 96); v128.store(sums, s13, 112);
  v128.store(sums, s20, 128); v128.store(sums, s21, 144);
  v128.store(sums, s22, 160); v128.store(sums, s23, 176);
  v128.store(sums, s30, 192); v128.store(sums, s31, 208);
  v128.store(sums, s32, 224); v128.store(sums, s33, 240);
}

function int4FourTimes1Pairs(w: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1(w, distance, x, blocks, sums, false, false);
}

function int4FourTimes1Quads(w: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1(w, distance, x, blocks, sums, false, true);
}

/** See `fourTimes1`. */
export function int4FourTimes1(w: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD && sumsQuads()) int4FourTimes1Quads(w, distance, x, blocks, sums);
  else int4FourTimes1Pairs(w, distance, x, blocks, sums);
}

function int4mFourTimes1Pairs(w: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1(w, distance, x, blocks, sums, true, false);
}

function int4mFourTimes1Quads(w: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  fourTimes1(w, distance, x, blocks, sums, true, true);
}

/** See `fourTimes1`. */
export function int4mFourTimes1(w: usize, distance: usize, x: usize, blocks: i32, sums: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD && sumsQuads()) int4mFourTimes1Quads(w, distance, x, blocks, sums);
  else int4mFourTimes1Pairs(w, distance, x, blocks, sums);
}
