// Scores on caches of int8 (cache_store/layout.ts): queries are rounded to int16 with one step per 32
// elements of a lane, and pairs of elements multiplied as integers. 32 products of 32767 · 127 are far
// from the end of int32.
//
// Queries are splat before the loop over keys, into far more variables than there are registers: on
// the stack every access is free of a bounds check (see matmul/int4.as.ts).

import { lane0, lane1, lane2, lane3, madd } from "../simd.as";
import { dot, evenCodes, LARGEST_CODE, MAGIC, oddCodes } from "./codes.as";

/** Bytes of the scales of a group of 32 elements of eight keys, after its 16 vectors of codes. */
@inline export const KEY_SCALE_BYTES: usize = 32;
@inline const KEY_GROUP_BYTES: usize = 256 + KEY_SCALE_BYTES;

/**
 * scores[blocks][4][8] = or, with `more`, += the part of 64 elements, for a quad. `codes` [32][4][2]
 * and `steps` [2][4] are its queries, `keys` two groups of the first block.
 */
function scoreQuad64(
  codes: usize,
  steps: usize,
  keys: usize,
  blocks: i32,
  blockBytes: usize,
  more: bool,
  scores: usize,
): void {
  const ones = i16x8.splat(1);
  let v = v128.load(steps);
  const pStep = lane0(v); const qStep = lane1(v); const rStep = lane2(v); const sStep = lane3(v);
  v = v128.load(steps, 16);
  const pNext = lane0(v); const qNext = lane1(v); const rNext = lane2(v); const sNext = lane3(v);
  v = v128.load(codes, 0); const p0 = lane0(v); const q0 = lane1(v); const r0 = lane2(v); const s0 = lane3(v);
  v = v128.load(codes, 16); const p1 = lane0(v); const q1 = lane1(v); const r1 = lane2(v); const s1 = lane3(v);
  v = v128.load(codes, 32); const p2 = lane0(v); const q2 = lane1(v); const r2 = lane2(v); const s2 = lane3(v);
  v = v128.load(codes, 48); const p3 = lane0(v); const q3 = lane1(v); const r3 = lane2(v); const s3 = lane3(v);
  v = v128.load(codes, 64); const p4 = lane0(v); const q4 = lane1(v); const r4 = lane2(v); const s4 = lane3(v);
  v = v128.load(codes, 80); const p5 = lane0(v); const q5 = lane1(v); const r5 = lane2(v); const s5 = lane3(v);
  v = v128.load(codes, 96); const p6 = lane0(v); const q6 = lane1(v); const r6 = lane2(v); const s6 = lane3(v);
  v = v128.load(codes, 112); const p7 = lane0(v); const q7 = lane1(v); const r7 = lane2(v); const s7 = lane3(v);
  v = v128.load(codes, 128); const p8 = lane0(v); const q8 = lane1(v); const r8 = lane2(v); const s8 = lane3(v);
  v = v128.load(codes, 144); const p9 = lane0(v); const q9 = lane1(v); const r9 = lane2(v); const s9 = lane3(v);
  v = v128.load(codes, 160); const p10 = lane0(v); const q10 = lane1(v); const r10 = lane2(v); const s10 = lane3(v);
  v = v128.load(codes, 176); const p11 = lane0(v); const q11 = lane1(v); const r11 = lane2(v); const s11 = lane3(v);
  v = v128.load(codes, 192); const p12 = lane0(v); const q12 = lane1(v); const r12 = lane2(v); const s12 = lane3(v);
  v = v128.load(codes, 208); const p13 = lane0(v); const q13 = lane1(v); const r13 = lane2(v); const s13 = lane3(v);
  v = v128.load(codes, 224); const p14 = lane0(v); const q14 = lane1(v); const r14 = lane2(v); const s14 = lane3(v);
  v = v128.load(codes, 240); const p15 = lane0(v); const q15 = lane1(v); const r15 = lane2(v); const s15 = lane3(v);
  v = v128.load(codes, 256); const p16 = lane0(v); const q16 = lane1(v); const r16 = lane2(v); const s16 = lane3(v);
  v = v128.load(codes, 272); const p17 = lane0(v); const q17 = lane1(v); const r17 = lane2(v); const s17 = lane3(v);
  v = v128.load(codes, 288); const p18 = lane0(v); const q18 = lane1(v); const r18 = lane2(v); const s18 = lane3(v);
  v = v128.load(codes, 304); const p19 = lane0(v); const q19 = lane1(v); const r19 = lane2(v); const s19 = lane3(v);
  v = v128.load(codes, 320); const p20 = lane0(v); const q20 = lane1(v); const r20 = lane2(v); const s20 = lane3(v);
  v = v128.load(codes, 336); const p21 = lane0(v); const q21 = lane1(v); const r21 = lane2(v); const s21 = lane3(v);
  v = v128.load(codes, 352); const p22 = lane0(v); const q22 = lane1(v); const r22 = lane2(v); const s22 = lane3(v);
  v = v128.load(codes, 368); const p23 = lane0(v); const q23 = lane1(v); const r23 = lane2(v); const s23 = lane3(v);
  v = v128.load(codes, 384); const p24 = lane0(v); const q24 = lane1(v); const r24 = lane2(v); const s24 = lane3(v);
  v = v128.load(codes, 400); const p25 = lane0(v); const q25 = lane1(v); const r25 = lane2(v); const s25 = lane3(v);
  v = v128.load(codes, 416); const p26 = lane0(v); const q26 = lane1(v); const r26 = lane2(v); const s26 = lane3(v);
  v = v128.load(codes, 432); const p27 = lane0(v); const q27 = lane1(v); const r27 = lane2(v); const s27 = lane3(v);
  v = v128.load(codes, 448); const p28 = lane0(v); const q28 = lane1(v); const r28 = lane2(v); const s28 = lane3(v);
  v = v128.load(codes, 464); const p29 = lane0(v); const q29 = lane1(v); const r29 = lane2(v); const s29 = lane3(v);
  v = v128.load(codes, 480); const p30 = lane0(v); const q30 = lane1(v); const r30 = lane2(v); const s30 = lane3(v);
  v = v128.load(codes, 496); const p31 = lane0(v); const q31 = lane1(v); const r31 = lane2(v); const s31 = lane3(v);
  const end = keys + <usize>blocks * blockBytes;
  while (keys < end) {
    let x = v, y = v, a = v, b = v, c = v, d = v, e = v, f = v, g = v, h = v;
    v = v128.load(keys); x = evenCodes(v, ones); y = oddCodes(v);
    a = i32x4.dot_i16x8_s(x, p0); b = i32x4.dot_i16x8_s(y, p0); c = i32x4.dot_i16x8_s(x, q0); d = i32x4.dot_i16x8_s(y, q0);
    e = i32x4.dot_i16x8_s(x, r0); f = i32x4.dot_i16x8_s(y, r0); g = i32x4.dot_i16x8_s(x, s0); h = i32x4.dot_i16x8_s(y, s0);
    v = v128.load(keys, 16); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p1, a); b = dot(y, p1, b); c = dot(x, q1, c); d = dot(y, q1, d);
    e = dot(x, r1, e); f = dot(y, r1, f); g = dot(x, s1, g); h = dot(y, s1, h);
    v = v128.load(keys, 32); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p2, a); b = dot(y, p2, b); c = dot(x, q2, c); d = dot(y, q2, d);
    e = dot(x, r2, e); f = dot(y, r2, f); g = dot(x, s2, g); h = dot(y, s2, h);
    v = v128.load(keys, 48); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p3, a); b = dot(y, p3, b); c = dot(x, q3, c); d = dot(y, q3, d);
    e = dot(x, r3, e); f = dot(y, r3, f); g = dot(x, s3, g); h = dot(y, s3, h);
    v = v128.load(keys, 64); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p4, a); b = dot(y, p4, b); c = dot(x, q4, c); d = dot(y, q4, d);
    e = dot(x, r4, e); f = dot(y, r4, f); g = dot(x, s4, g); h = dot(y, s4, h);
    v = v128.load(keys, 80); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p5, a); b = dot(y, p5, b); c = dot(x, q5, c); d = dot(y, q5, d);
    e = dot(x, r5, e); f = dot(y, r5, f); g = dot(x, s5, g); h = dot(y, s5, h);
    v = v128.load(keys, 96); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p6, a); b = dot(y, p6, b); c = dot(x, q6, c); d = dot(y, q6, d);
    e = dot(x, r6, e); f = dot(y, r6, f); g = dot(x, s6, g); h = dot(y, s6, h);
    v = v128.load(keys, 112); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p7, a); b = dot(y, p7, b); c = dot(x, q7, c); d = dot(y, q7, d);
    e = dot(x, r7, e); f = dot(y, r7, f); g = dot(x, s7, g); h = dot(y, s7, h);
    v = v128.load(keys, 128); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p8, a); b = dot(y, p8, b); c = dot(x, q8, c); d = dot(y, q8, d);
    e = dot(x, r8, e); f = dot(y, r8, f); g = dot(x, s8, g); h = dot(y, s8, h);
    v = v128.load(keys, 144); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p9, a); b = dot(y, p9, b); c = dot(x, q9, c); d = dot(y, q9, d);
    e = dot(x, r9, e); f = dot(y, r9, f); g = dot(x, s9, g); h = dot(y, s9, h);
    v = v128.load(keys, 160); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p10, a); b = dot(y, p10, b); c = dot(x, q10, c); d = dot(y, q10, d);
    e = dot(x, r10, e); f = dot(y, r10, f); g = dot(x, s10, g); h = dot(y, s10, h);
    v = v128.load(keys, 176); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p11, a); b = dot(y, p11, b); c = dot(x, q11, c); d = dot(y, q11, d);
    e = dot(x, r11, e); f = dot(y, r11, f); g = dot(x, s11, g); h = dot(y, s11, h);
    v = v128.load(keys, 192); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p12, a); b = dot(y, p12, b); c = dot(x, q12, c); d = dot(y, q12, d);
    e = dot(x, r12, e); f = dot(y, r12, f); g = dot(x, s12, g); h = dot(y, s12, h);
    v = v128.load(keys, 208); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p13, a); b = dot(y, p13, b); c = dot(x, q13, c); d = dot(y, q13, d);
    e = dot(x, r13, e); f = dot(y, r13, f); g = dot(x, s13, g); h = dot(y, s13, h);
    v = v128.load(keys, 224); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p14, a); b = dot(y, p14, b); c = dot(x, q14, c); d = dot(y, q14, d);
    e = dot(x, r14, e); f = dot(y, r14, f); g = dot(x, s14, g); h = dot(y, s14, h);
    v = v128.load(keys, 240); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p15, a); b = dot(y, p15, b); c = dot(x, q15, c); d = dot(y, q15, d);
    e = dot(x, r15, e); f = dot(y, r15, f); g = dot(x, s15, g); h = dot(y, s15, h);
    let low = v128.load(keys, 256), high = v128.load(keys, 272);
    let pLow = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(a), low), pStep);
    let pHigh = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(b), high), pStep);
    let qLow = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(c), low), qStep);
    let qHigh = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(d), high), qStep);
    let rLow = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(e), low), rStep);
    let rHigh = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(f), high), rStep);
    let sLow = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(g), low), sStep);
    let sHigh = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(h), high), sStep);
    v = v128.load(keys, 288); x = evenCodes(v, ones); y = oddCodes(v);
    a = i32x4.dot_i16x8_s(x, p16); b = i32x4.dot_i16x8_s(y, p16); c = i32x4.dot_i16x8_s(x, q16); d = i32x4.dot_i16x8_s(y, q16);
    e = i32x4.dot_i16x8_s(x, r16); f = i32x4.dot_i16x8_s(y, r16); g = i32x4.dot_i16x8_s(x, s16); h = i32x4.dot_i16x8_s(y, s16);
    v = v128.load(keys, 304); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p17, a); b = dot(y, p17, b); c = dot(x, q17, c); d = dot(y, q17, d);
    e = dot(x, r17, e); f = dot(y, r17, f); g = dot(x, s17, g); h = dot(y, s17, h);
    v = v128.load(keys, 320); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p18, a); b = dot(y, p18, b); c = dot(x, q18, c); d = dot(y, q18, d);
    e = dot(x, r18, e); f = dot(y, r18, f); g = dot(x, s18, g); h = dot(y, s18, h);
    v = v128.load(keys, 336); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p19, a); b = dot(y, p19, b); c = dot(x, q19, c); d = dot(y, q19, d);
    e = dot(x, r19, e); f = dot(y, r19, f); g = dot(x, s19, g); h = dot(y, s19, h);
    v = v128.load(keys, 352); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p20, a); b = dot(y, p20, b); c = dot(x, q20, c); d = dot(y, q20, d);
    e = dot(x, r20, e); f = dot(y, r20, f); g = dot(x, s20, g); h = dot(y, s20, h);
    v = v128.load(keys, 368); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p21, a); b = dot(y, p21, b); c = dot(x, q21, c); d = dot(y, q21, d);
    e = dot(x, r21, e); f = dot(y, r21, f); g = dot(x, s21, g); h = dot(y, s21, h);
    v = v128.load(keys, 384); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p22, a); b = dot(y, p22, b); c = dot(x, q22, c); d = dot(y, q22, d);
    e = dot(x, r22, e); f = dot(y, r22, f); g = dot(x, s22, g); h = dot(y, s22, h);
    v = v128.load(keys, 400); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p23, a); b = dot(y, p23, b); c = dot(x, q23, c); d = dot(y, q23, d);
    e = dot(x, r23, e); f = dot(y, r23, f); g = dot(x, s23, g); h = dot(y, s23, h);
    v = v128.load(keys, 416); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p24, a); b = dot(y, p24, b); c = dot(x, q24, c); d = dot(y, q24, d);
    e = dot(x, r24, e); f = dot(y, r24, f); g = dot(x, s24, g); h = dot(y, s24, h);
    v = v128.load(keys, 432); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p25, a); b = dot(y, p25, b); c = dot(x, q25, c); d = dot(y, q25, d);
    e = dot(x, r25, e); f = dot(y, r25, f); g = dot(x, s25, g); h = dot(y, s25, h);
    v = v128.load(keys, 448); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p26, a); b = dot(y, p26, b); c = dot(x, q26, c); d = dot(y, q26, d);
    e = dot(x, r26, e); f = dot(y, r26, f); g = dot(x, s26, g); h = dot(y, s26, h);
    v = v128.load(keys, 464); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p27, a); b = dot(y, p27, b); c = dot(x, q27, c); d = dot(y, q27, d);
    e = dot(x, r27, e); f = dot(y, r27, f); g = dot(x, s27, g); h = dot(y, s27, h);
    v = v128.load(keys, 480); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p28, a); b = dot(y, p28, b); c = dot(x, q28, c); d = dot(y, q28, d);
    e = dot(x, r28, e); f = dot(y, r28, f); g = dot(x, s28, g); h = dot(y, s28, h);
    v = v128.load(keys, 496); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p29, a); b = dot(y, p29, b); c = dot(x, q29, c); d = dot(y, q29, d);
    e = dot(x, r29, e); f = dot(y, r29, f); g = dot(x, s29, g); h = dot(y, s29, h);
    v = v128.load(keys, 512); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p30, a); b = dot(y, p30, b); c = dot(x, q30, c); d = dot(y, q30, d);
    e = dot(x, r30, e); f = dot(y, r30, f); g = dot(x, s30, g); h = dot(y, s30, h);
    v = v128.load(keys, 528); x = evenCodes(v, ones); y = oddCodes(v);
    a = dot(x, p31, a); b = dot(y, p31, b); c = dot(x, q31, c); d = dot(y, q31, d);
    e = dot(x, r31, e); f = dot(y, r31, f); g = dot(x, s31, g); h = dot(y, s31, h);
    low = v128.load(keys, 544); high = v128.load(keys, 560);
    pLow = madd(f32x4.mul(f32x4.convert_i32x4_s(a), low), pNext, pLow);
    pHigh = madd(f32x4.mul(f32x4.convert_i32x4_s(b), high), pNext, pHigh);
    qLow = madd(f32x4.mul(f32x4.convert_i32x4_s(c), low), qNext, qLow);
    qHigh = madd(f32x4.mul(f32x4.convert_i32x4_s(d), high), qNext, qHigh);
    rLow = madd(f32x4.mul(f32x4.convert_i32x4_s(e), low), rNext, rLow);
    rHigh = madd(f32x4.mul(f32x4.convert_i32x4_s(f), high), rNext, rHigh);
    sLow = madd(f32x4.mul(f32x4.convert_i32x4_s(g), low), sNext, sLow);
    sHigh = madd(f32x4.mul(f32x4.convert_i32x4_s(h), high), sNext, sHigh);
    if (more) {
      pLow = f32x4.add(pLow, v128.load(scores)); pHigh = f32x4.add(pHigh, v128.load(scores, 16));
      qLow = f32x4.add(qLow, v128.load(scores, 32)); qHigh = f32x4.add(qHigh, v128.load(scores, 48));
      rLow = f32x4.add(rLow, v128.load(scores, 64)); rHigh = f32x4.add(rHigh, v128.load(scores, 80));
      sLow = f32x4.add(sLow, v128.load(scores, 96)); sHigh = f32x4.add(sHigh, v128.load(scores, 112));
    }
    v128.store(scores, pLow); v128.store(scores, pHigh, 16);
    v128.store(scores, qLow, 32); v128.store(scores, qHigh, 48);
    v128.store(scores, rLow, 64); v128.store(scores, rHigh, 80);
    v128.store(scores, sLow, 96); v128.store(scores, sHigh, 112);
    keys += blockBytes;
    scores += 128;
  }
}

/** As `scoreQuad64` for up to 32 elements: `pairs` of them, in one group. */
function scoreQuad32(
  codes: usize,
  steps: usize,
  keys: usize,
  pairs: i32,
  blocks: i32,
  blockBytes: usize,
  more: bool,
  scores: usize,
): void {
  const ones = i16x8.splat(1);
  const factors = v128.load(steps);
  for (; blocks > 0; blocks--) {
    let a = i32x4.splat(0);
    let b = a, c = a, d = a, e = a, f = a, g = a, h = a;
    let code = codes;
    let key = keys;
    for (let i = pairs; i > 0; i--) {
      const v = v128.load(code);
      const z = v128.load(key);
      const x = evenCodes(z, ones);
      const y = oddCodes(z);
      let s = lane0(v);
      a = dot(x, s, a);
      b = dot(y, s, b);
      s = lane1(v);
      c = dot(x, s, c);
      d = dot(y, s, d);
      s = lane2(v);
      e = dot(x, s, e);
      f = dot(y, s, f);
      s = lane3(v);
      g = dot(x, s, g);
      h = dot(y, s, h);
      code += 16;
      key += 16;
    }
    const low = v128.load(key);
    const high = v128.load(key, 16);
    storeScores(a, b, low, high, lane0(factors), more, scores);
    storeScores(c, d, low, high, lane1(factors), more, scores + 32);
    storeScores(e, f, low, high, lane2(factors), more, scores + 64);
    storeScores(g, h, low, high, lane3(factors), more, scores + 96);
    keys += blockBytes;
    scores += 128;
  }
}

/** Eight sums times their rows' scales and a step, to `scores` or added to them. */
@inline
function storeScores(
  a: v128,
  b: v128,
  low: v128,
  high: v128,
  step: v128,
  more: bool,
  scores: usize,
): void {
  a = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(a), low), step);
  b = f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(b), high), step);
  if (more) {
    a = f32x4.add(a, v128.load(scores));
    b = f32x4.add(b, v128.load(scores, 16));
  }
  v128.store(scores, a);
  v128.store(scores, b, 16);
}

/**
 * scores[blocks][4][8] of a quad for blocks of eight keys with heads of `n` elements. The queries are
 * codes [⌈n/2⌉][4][2] with steps [⌈n/32⌉][4], as `quantizeQueries` leaves them.
 */
export function scoreQuadInt8(
  codes: usize,
  steps: usize,
  keys: usize,
  n: i32,
  blocks: i32,
  blockBytes: usize,
  scores: usize,
): void {
  let more = false;
  for (; n >= 64; n -= 64) {
    scoreQuad64(codes, steps, keys, blocks, blockBytes, more, scores);
    codes += 512;
    steps += 32;
    keys += 2 * KEY_GROUP_BYTES;
    more = true;
  }
  for (; n > 0; n -= 32) {
    const pairs = (min(n, 32) + 1) >> 1;
    scoreQuad32(codes, steps, keys, pairs, blocks, blockBytes, more, scores);
    codes += 256;
    steps += 16;
    keys += KEY_GROUP_BYTES;
    more = true;
  }
}

/** As `scoreQuadInt8` for the first lane alone. */
export function scoreLaneInt8(
  codes: usize,
  steps: usize,
  keys: usize,
  n: i32,
  blocks: i32,
  blockBytes: usize,
  scores: usize,
): void {
  const ones = i16x8.splat(1);
  const zero = i32x4.splat(0);
  for (; blocks > 0; blocks--) {
    // As quads do it: two groups together, while there are two, and these one after another.
    let f0 = f32x4.splat(0);
    let f1 = f0, t0 = f0, t1 = f0;
    let isSecond = false;
    let code = codes;
    let step = steps;
    let key = keys;
    for (let left = n; left > 0; left -= 32) {
      let c0 = zero;
      let c1 = zero;
      let d0 = zero;
      let d1 = zero;
      let pairs = (min(left, 32) + 1) >> 1;
      for (; pairs >= 2; pairs -= 2) {
        const s = v128.load32_splat(code);
        const t = v128.load32_splat(code, 16);
        const v = v128.load(key);
        const w = v128.load(key, 16);
        c0 = dot(evenCodes(v, ones), s, c0);
        c1 = dot(oddCodes(v), s, c1);
        d0 = dot(evenCodes(w, ones), t, d0);
        d1 = dot(oddCodes(w), t, d1);
        code += 32;
        key += 32;
      }
      if (pairs > 0) {
        const s = v128.load32_splat(code);
        const v = v128.load(key);
        c0 = dot(evenCodes(v, ones), s, c0);
        c1 = dot(oddCodes(v), s, c1);
        key += 16;
      }
      const factor = v128.load32_splat(step);
      c0 = f32x4.mul(f32x4.convert_i32x4_s(i32x4.add(c0, d0)), v128.load(key));
      c1 = f32x4.mul(f32x4.convert_i32x4_s(i32x4.add(c1, d1)), v128.load(key, 16));
      t0 = isSecond ? madd(c0, factor, t0) : f32x4.mul(c0, factor);
      t1 = isSecond ? madd(c1, factor, t1) : f32x4.mul(c1, factor);
      isSecond = !isSecond && left >= 64;
      if (!isSecond) {
        f0 = f32x4.add(t0, f0);
        f1 = f32x4.add(t1, f1);
      }
      key += 32;
      step += 16;
    }
    v128.store(scores, f0);
    v128.store(scores, f1, 16);
    keys += blockBytes;
    scores += 128;
  }
}

/** Rounds a quad's queries [n][4] in place to codes [⌈n/2⌉][4][2], with steps [⌈n/32⌉][4]. */
export function quantizeQueries(queries: usize, n: i32, steps: usize): void {
  const least = f32x4.splat(1e-30);
  const magic = f32x4.splat(MAGIC);
  const low = i32x4.splat(0xffff);
  let to = queries;
  for (; n > 0; n -= 32) {
    const count = min(n, 32);
    let max = least;
    for (let i = 0; i < count; i++) {
      // NaN stays: the step is NaN too.
      max = f32x4.max(max, f32x4.abs(v128.load(queries + (<usize>i << 4))));
    }
    v128.store(steps, f32x4.mul(max, f32x4.splat(1 / LARGEST_CODE)));
    steps += 16;
    const inverse = f32x4.div(f32x4.splat(LARGEST_CODE), max);
    for (let i = 0; i < count; i += 2) {
      const x = f32x4.add(f32x4.mul(v128.load(queries), inverse), magic);
      let pair = v128.and(x, low);
      if (i + 1 < count) {
        const y = f32x4.add(f32x4.mul(v128.load(queries, 16), inverse), magic);
        pair = v128.or(pair, i32x4.shl(y, 16));
      }
      v128.store(to, pair);
      queries += 32;
      to += 16;
    }
  }
}
