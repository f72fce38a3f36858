// Weighted sums of values in caches of int8 (cache_store/layout.ts). Weights times scales are rounded
// to int16, with one step for 64 rows of a lane; lanes of a vector are rows, so that nothing is splat,
// and are added up after these. 64 products of 32767 · 127 are far from the end of int32. Every loop
// adds 64 rows at once to what was there, so that a lane's sums do not depend on the others'.
//
// A block's weights are held on the stack while its values go by, as the queries of scores_int8.as.ts.

import { lane0, lane1, lane2, lane3, madd } from "../simd.as";
import {
  addLanes,
  dot,
  evenCodes,
  greatestLanes,
  LARGEST_CODE,
  MAGIC,
  oddCodes,
  toCodes,
} from "./codes.as";

/** Bytes of a group of 32 elements of 128 values: scales, then 16 × 16 vectors of codes. */
@inline export const VALUE_GROUP_BYTES: usize = 512 + 4096;
/** Bytes of its scales. */
@inline export const VALUE_SCALE_BYTES: usize = 512;

/**
 * Rounds weights[8][4][8] times scales[8][8] to codes[8][4][8] and returns their steps. A row of weight
 * 0 may have any scale, NaN included. Where the first lane is `alone`, a constant, the others are left
 * out.
 */
@inline
function scaleWeights(weights: usize, scales: usize, alone: bool, codes: usize): v128 {
  const magic = f32x4.splat(MAGIC);
  const largest = f32x4.splat(LARGEST_CODE);
  let p = f32x4.splat(1e-30);
  let q = p, r = p, s = p;
  let w = weights;
  let d = scales;
  for (let i = 0; i < 8; i++) {
    // pmax passes over NaN on its right.
    const x = v128.load(d);
    const y = v128.load(d, 16);
    p = f32x4.pmax(p, f32x4.mul(v128.load(w), x));
    p = f32x4.pmax(p, f32x4.mul(v128.load(w, 16), y));
    if (!alone) {
      q = f32x4.pmax(q, f32x4.mul(v128.load(w, 32), x));
      q = f32x4.pmax(q, f32x4.mul(v128.load(w, 48), y));
      r = f32x4.pmax(r, f32x4.mul(v128.load(w, 64), x));
      r = f32x4.pmax(r, f32x4.mul(v128.load(w, 80), y));
      s = f32x4.pmax(s, f32x4.mul(v128.load(w, 96), x));
      s = f32x4.pmax(s, f32x4.mul(v128.load(w, 112), y));
    }
    w += 128;
    d += 32;
  }
  const most = greatestLanes(p, q, r, s);
  const inverse = f32x4.div(largest, most);
  p = lane0(inverse);
  q = lane1(inverse);
  r = lane2(inverse);
  s = lane3(inverse);
  for (let i = 0; i < 8; i++) {
    const x = v128.load(scales);
    const y = v128.load(scales, 16);
    const p0 = f32x4.mul(v128.load(weights), x);
    const p1 = f32x4.mul(v128.load(weights, 16), y);
    if (alone) {
      v128.store(codes, toCodes(p0, p1, p, magic));
    } else {
      const q0 = f32x4.mul(v128.load(weights, 32), x);
      const q1 = f32x4.mul(v128.load(weights, 48), y);
      const r0 = f32x4.mul(v128.load(weights, 64), x);
      const r1 = f32x4.mul(v128.load(weights, 80), y);
      const s0 = f32x4.mul(v128.load(weights, 96), x);
      const s1 = f32x4.mul(v128.load(weights, 112), y);
      v128.store(codes, toCodes(p0, p1, p, magic));
      v128.store(codes, toCodes(q0, q1, q, magic), 16);
      v128.store(codes, toCodes(r0, r1, r, magic), 32);
      v128.store(codes, toCodes(s0, s1, s, magic), 48);
    }
    weights += 128;
    scales += 32;
    codes += 64;
  }
  return f32x4.mul(most, f32x4.splat(1 / LARGEST_CODE));
}

/**
 * sums[2·pairs][4] += the weighted sum over 128 rows, for a quad with `codes` [16][4][8] of weights in
 * units of `steps`[4], in the second half of `next`[4].
 */
function sumQuad128(codes: usize, steps: v128, next: v128, values: usize, pairs: i32, sums: usize): void {
  const ones = i16x8.splat(1);
  const p0 = v128.load(codes); const q0 = v128.load(codes, 16);
  const r0 = v128.load(codes, 32); const s0 = v128.load(codes, 48);
  const p1 = v128.load(codes, 64); const q1 = v128.load(codes, 80);
  const r1 = v128.load(codes, 96); const s1 = v128.load(codes, 112);
  const p2 = v128.load(codes, 128); const q2 = v128.load(codes, 144);
  const r2 = v128.load(codes, 160); const s2 = v128.load(codes, 176);
  const p3 = v128.load(codes, 192); const q3 = v128.load(codes, 208);
  const r3 = v128.load(codes, 224); const s3 = v128.load(codes, 240);
  const p4 = v128.load(codes, 256); const q4 = v128.load(codes, 272);
  const r4 = v128.load(codes, 288); const s4 = v128.load(codes, 304);
  const p5 = v128.load(codes, 320); const q5 = v128.load(codes, 336);
  const r5 = v128.load(codes, 352); const s5 = v128.load(codes, 368);
  const p6 = v128.load(codes, 384); const q6 = v128.load(codes, 400);
  const r6 = v128.load(codes, 416); const s6 = v128.load(codes, 432);
  const p7 = v128.load(codes, 448); const q7 = v128.load(codes, 464);
  const r7 = v128.load(codes, 480); const s7 = v128.load(codes, 496);
  const p8 = v128.load(codes, 512); const q8 = v128.load(codes, 528);
  const r8 = v128.load(codes, 544); const s8 = v128.load(codes, 560);
  const p9 = v128.load(codes, 576); const q9 = v128.load(codes, 592);
  const r9 = v128.load(codes, 608); const s9 = v128.load(codes, 624);
  const p10 = v128.load(codes, 640); const q10 = v128.load(codes, 656);
  const r10 = v128.load(codes, 672); const s10 = v128.load(codes, 688);
  const p11 = v128.load(codes, 704); const q11 = v128.load(codes, 720);
  const r11 = v128.load(codes, 736); const s11 = v128.load(codes, 752);
  const p12 = v128.load(codes, 768); const q12 = v128.load(codes, 784);
  const r12 = v128.load(codes, 800); const s12 = v128.load(codes, 816);
  const p13 = v128.load(codes, 832); const q13 = v128.load(codes, 848);
  const r13 = v128.load(codes, 864); const s13 = v128.load(codes, 880);
  const p14 = v128.load(codes, 896); const q14 = v128.load(codes, 912);
  const r14 = v128.load(codes, 928); const s14 = v128.load(codes, 944);
  const p15 = v128.load(codes, 960); const q15 = v128.load(codes, 976);
  const r15 = v128.load(codes, 992); const s15 = v128.load(codes, 1008);
  for (; pairs > 0; pairs--) {
    let v = ones, x = v, y = v, a = v, b = v, c = v, d = v, e = v, f = v, g = v, h = v;
    v = v128.load(values); x = evenCodes(v, ones); y = oddCodes(v);
    a = i32x4.dot_i16x8_s(x, p0); e = i32x4.dot_i16x8_s(y, p0); b = i32x4.dot_i16x8_s(x, q0); f = i32x4.dot_i16x8_s(y, q0);
    c = i32x4.dot_i16x8_s(x, r0); g = i32x4.dot_i16x8_s(y, r0); d = i32x4.dot_i16x8_s(x, s0); h = i32x4.dot_i16x8_s(y, s0);
    v = v128.load(values, 16); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p1, a); e = dot(y, p1, e); b = dot(x, q1, b); f = dot(y, q1, f);
    c = dot(x, r1, c); g = dot(y, r1, g); d = dot(x, s1, d); h = dot(y, s1, h);
    v = v128.load(values, 32); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p2, a); e = dot(y, p2, e); b = dot(x, q2, b); f = dot(y, q2, f);
    c = dot(x, r2, c); g = dot(y, r2, g); d = dot(x, s2, d); h = dot(y, s2, h);
    v = v128.load(values, 48); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p3, a); e = dot(y, p3, e); b = dot(x, q3, b); f = dot(y, q3, f);
    c = dot(x, r3, c); g = dot(y, r3, g); d = dot(x, s3, d); h = dot(y, s3, h);
    v = v128.load(values, 64); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p4, a); e = dot(y, p4, e); b = dot(x, q4, b); f = dot(y, q4, f);
    c = dot(x, r4, c); g = dot(y, r4, g); d = dot(x, s4, d); h = dot(y, s4, h);
    v = v128.load(values, 80); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p5, a); e = dot(y, p5, e); b = dot(x, q5, b); f = dot(y, q5, f);
    c = dot(x, r5, c); g = dot(y, r5, g); d = dot(x, s5, d); h = dot(y, s5, h);
    v = v128.load(values, 96); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p6, a); e = dot(y, p6, e); b = dot(x, q6, b); f = dot(y, q6, f);
    c = dot(x, r6, c); g = dot(y, r6, g); d = dot(x, s6, d); h = dot(y, s6, h);
    v = v128.load(values, 112); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p7, a); e = dot(y, p7, e); b = dot(x, q7, b); f = dot(y, q7, f);
    c = dot(x, r7, c); g = dot(y, r7, g); d = dot(x, s7, d); h = dot(y, s7, h);
    const even = madd(f32x4.convert_i32x4_s(addLanes(a, b, c, d)), steps, v128.load(sums));
    const odd = madd(f32x4.convert_i32x4_s(addLanes(e, f, g, h)), steps, v128.load(sums, 16));
    v = v128.load(values, 128); x = evenCodes(v, ones); y = oddCodes(v);
    a = i32x4.dot_i16x8_s(x, p8); e = i32x4.dot_i16x8_s(y, p8); b = i32x4.dot_i16x8_s(x, q8); f = i32x4.dot_i16x8_s(y, q8);
    c = i32x4.dot_i16x8_s(x, r8); g = i32x4.dot_i16x8_s(y, r8); d = i32x4.dot_i16x8_s(x, s8); h = i32x4.dot_i16x8_s(y, s8);
    v = v128.load(values, 144); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p9, a); e = dot(y, p9, e); b = dot(x, q9, b); f = dot(y, q9, f);
    c = dot(x, r9, c); g = dot(y, r9, g); d = dot(x, s9, d); h = dot(y, s9, h);
    v = v128.load(values, 160); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p10, a); e = dot(y, p10, e); b = dot(x, q10, b); f = dot(y, q10, f);
    c = dot(x, r10, c); g = dot(y, r10, g); d = dot(x, s10, d); h = dot(y, s10, h);
    v = v128.load(values, 176); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p11, a); e = dot(y, p11, e); b = dot(x, q11, b); f = dot(y, q11, f);
    c = dot(x, r11, c); g = dot(y, r11, g); d = dot(x, s11, d); h = dot(y, s11, h);
    v = v128.load(values, 192); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p12, a); e = dot(y, p12, e); b = dot(x, q12, b); f = dot(y, q12, f);
    c = dot(x, r12, c); g = dot(y, r12, g); d = dot(x, s12, d); h = dot(y, s12, h);
    v = v128.load(values, 208); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p13, a); e = dot(y, p13, e); b = dot(x, q13, b); f = dot(y, q13, f);
    c = dot(x, r13, c); g = dot(y, r13, g); d = dot(x, s13, d); h = dot(y, s13, h);
    v = v128.load(values, 224); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p14, a); e = dot(y, p14, e); b = dot(x, q14, b); f = dot(y, q14, f);
    c = dot(x, r14, c); g = dot(y, r14, g); d = dot(x, s14, d); h = dot(y, s14, h);
    v = v128.load(values, 240); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p15, a); e = dot(y, p15, e); b = dot(x, q15, b); f = dot(y, q15, f);
    c = dot(x, r15, c); g = dot(y, r15, g); d = dot(x, s15, d); h = dot(y, s15, h);
    v128.store(sums, madd(f32x4.convert_i32x4_s(addLanes(a, b, c, d)), next, even));
    v128.store(sums, madd(f32x4.convert_i32x4_s(addLanes(e, f, g, h)), next, odd), 16);
    values += 256;
    sums += 32;
  }
}

/**
 * sums[2·pairs][4] += the weighted sum over 64 rows, for a quad with `codes` [8][4][8] of weights in
 * units of `steps`[4].
 */
function sumQuad64(codes: usize, steps: v128, values: usize, pairs: i32, sums: usize): void {
  const ones = i16x8.splat(1);
  const p0 = v128.load(codes); const q0 = v128.load(codes, 16);
  const r0 = v128.load(codes, 32); const s0 = v128.load(codes, 48);
  const p1 = v128.load(codes, 64); const q1 = v128.load(codes, 80);
  const r1 = v128.load(codes, 96); const s1 = v128.load(codes, 112);
  const p2 = v128.load(codes, 128); const q2 = v128.load(codes, 144);
  const r2 = v128.load(codes, 160); const s2 = v128.load(codes, 176);
  const p3 = v128.load(codes, 192); const q3 = v128.load(codes, 208);
  const r3 = v128.load(codes, 224); const s3 = v128.load(codes, 240);
  const p4 = v128.load(codes, 256); const q4 = v128.load(codes, 272);
  const r4 = v128.load(codes, 288); const s4 = v128.load(codes, 304);
  const p5 = v128.load(codes, 320); const q5 = v128.load(codes, 336);
  const r5 = v128.load(codes, 352); const s5 = v128.load(codes, 368);
  const p6 = v128.load(codes, 384); const q6 = v128.load(codes, 400);
  const r6 = v128.load(codes, 416); const s6 = v128.load(codes, 432);
  const p7 = v128.load(codes, 448); const q7 = v128.load(codes, 464);
  const r7 = v128.load(codes, 480); const s7 = v128.load(codes, 496);
  for (; pairs > 0; pairs--) {
    let v = ones, x = v, y = v, a = v, b = v, c = v, d = v, e = v, f = v, g = v, h = v;
    v = v128.load(values); x = evenCodes(v, ones); y = oddCodes(v);
    a = i32x4.dot_i16x8_s(x, p0); e = i32x4.dot_i16x8_s(y, p0); b = i32x4.dot_i16x8_s(x, q0); f = i32x4.dot_i16x8_s(y, q0);
    c = i32x4.dot_i16x8_s(x, r0); g = i32x4.dot_i16x8_s(y, r0); d = i32x4.dot_i16x8_s(x, s0); h = i32x4.dot_i16x8_s(y, s0);
    v = v128.load(values, 16); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p1, a); e = dot(y, p1, e); b = dot(x, q1, b); f = dot(y, q1, f);
    c = dot(x, r1, c); g = dot(y, r1, g); d = dot(x, s1, d); h = dot(y, s1, h);
    v = v128.load(values, 32); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p2, a); e = dot(y, p2, e); b = dot(x, q2, b); f = dot(y, q2, f);
    c = dot(x, r2, c); g = dot(y, r2, g); d = dot(x, s2, d); h = dot(y, s2, h);
    v = v128.load(values, 48); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p3, a); e = dot(y, p3, e); b = dot(x, q3, b); f = dot(y, q3, f);
    c = dot(x, r3, c); g = dot(y, r3, g); d = dot(x, s3, d); h = dot(y, s3, h);
    v = v128.load(values, 64); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p4, a); e = dot(y, p4, e); b = dot(x, q4, b); f = dot(y, q4, f);
    c = dot(x, r4, c); g = dot(y, r4, g); d = dot(x, s4, d); h = dot(y, s4, h);
    v = v128.load(values, 80); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p5, a); e = dot(y, p5, e); b = dot(x, q5, b); f = dot(y, q5, f);
    c = dot(x, r5, c); g = dot(y, r5, g); d = dot(x, s5, d); h = dot(y, s5, h);
    v = v128.load(values, 96); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p6, a); e = dot(y, p6, e); b = dot(x, q6, b); f = dot(y, q6, f);
    c = dot(x, r6, c); g = dot(y, r6, g); d = dot(x, s6, d); h = dot(y, s6, h);
    v = v128.load(values, 112); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p7, a); e = dot(y, p7, e); b = dot(x, q7, b); f = dot(y, q7, f);
    c = dot(x, r7, c); g = dot(y, r7, g); d = dot(x, s7, d); h = dot(y, s7, h);
    x = v128.load(sums);
    y = v128.load(sums, 16);
    v128.store(sums, madd(f32x4.convert_i32x4_s(addLanes(a, b, c, d)), steps, x));
    v128.store(sums, madd(f32x4.convert_i32x4_s(addLanes(e, f, g, h)), steps, y), 16);
    values += 256;
    sums += 32;
  }
}

/** As `sumQuad64` for the first lane alone. */
function sumLane64(codes: usize, steps: v128, values: usize, pairs: i32, sums: usize): void {
  const ones = i16x8.splat(1);
  const p0 = v128.load(codes);
  const p1 = v128.load(codes, 64);
  const p2 = v128.load(codes, 128);
  const p3 = v128.load(codes, 192);
  const p4 = v128.load(codes, 256);
  const p5 = v128.load(codes, 320);
  const p6 = v128.load(codes, 384);
  const p7 = v128.load(codes, 448);
  for (; pairs > 0; pairs--) {
    let v = v128.load(values);
    let w = v128.load(values, 16);
    let a = i32x4.dot_i16x8_s(evenCodes(v, ones), p0);
    let b = i32x4.dot_i16x8_s(oddCodes(v), p0);
    a = dot(evenCodes(w, ones), p1, a);
    b = dot(oddCodes(w), p1, b);
    v = v128.load(values, 32);
    w = v128.load(values, 48);
    a = dot(evenCodes(v, ones), p2, a);
    b = dot(oddCodes(v), p2, b);
    a = dot(evenCodes(w, ones), p3, a);
    b = dot(oddCodes(w), p3, b);
    v = v128.load(values, 64);
    w = v128.load(values, 80);
    a = dot(evenCodes(v, ones), p4, a);
    b = dot(oddCodes(v), p4, b);
    a = dot(evenCodes(w, ones), p5, a);
    b = dot(oddCodes(w), p5, b);
    v = v128.load(values, 96);
    w = v128.load(values, 112);
    a = dot(evenCodes(v, ones), p6, a);
    b = dot(oddCodes(v), p6, b);
    a = dot(evenCodes(w, ones), p7, a);
    b = dot(oddCodes(w), p7, b);
    const both = f32x4.convert_i32x4_s(addLanes(a, b, a, b));
    v = v128.load(sums);
    w = v128.load(sums, 16);
    v128.store(sums, madd(both, steps, v));
    v128.store(sums, madd(lane1(both), steps, w), 16);
    values += 256;
    sums += 32;
  }
}

/**
 * sums[2·pairs][4] += `factors` times the sum of `halves` × 64 rows with weights [8·halves][4][8],
 * scales and `values`, which begin at the first row's codes; for a quad, or its first lane `alone`.
 * `room` has 1024 bytes.
 */
export function sumInt8(
  weights: usize,
  factors: v128,
  scales: usize,
  values: usize,
  pairs: i32,
  halves: i32,
  alone: bool,
  room: usize,
  sums: usize,
): void {
  if (alone) {
    for (; halves > 0; halves--) {
      const steps = f32x4.mul(factors, scaleWeights(weights, scales, true, room));
      sumLane64(room, steps, values, pairs, sums);
      weights += 1024;
      scales += 256;
      values += 128;
    }
    return;
  }
  const steps = f32x4.mul(factors, scaleQuad(weights, scales, room));
  if (halves == 1) {
    sumQuad64(room, steps, values, pairs, sums);
  } else {
    const next = f32x4.mul(factors, scaleQuad(weights + 1024, scales + 256, room + 512));
    sumQuad128(room, steps, next, values, pairs, sums);
  }
}

/** See `scaleWeights`. */
function scaleQuad(weights: usize, scales: usize, codes: usize): v128 {
  return scaleWeights(weights, scales, false, codes);
}
