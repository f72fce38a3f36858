// The finer integer layouts (fine_codes.as.ts), several tokens: a block of 16 rows is unpacked once,
// as in int4.as.ts, and meets the tokens two by two.

import { sumsQuads } from "../dots.as";
import { f16Any, f16High, f16Low, lane0, lane1, lane2, lane3 } from "../simd.as";
import { INT4K, INT5K, INT6K } from "../constants.as";
import {
  addBlock,
  code0,
  code1,
  code2,
  code3,
  code4,
  code5,
  code6,
  code7,
  firstRest,
  firstScale,
  Int4k,
  Int5k,
  Int5m,
  Int6k,
  join,
  middle,
  multiplesOf,
  nibblesAt,
  offsetOf,
  Pairs,
  Quads,
  restAt,
  restMask,
  secondRest,
  secondScale,
  two,
} from "./fine_codes.as";
import { high } from "./int4.as";

/**
 * Adds 16 rows times `count` tokens, over the block at `w`, to the first 16 of each row of `sums`
 * [count][32], of which there is one to spare. `x` is the tokens' activation blocks, one behind the
 * other; `halves` is where the block's halves stand, `factor` the panel's.
 */
@inline
function blockTimes<L, Q>(
  w: usize,
  halves: usize,
  x: usize,
  count: i32,
  sums: usize,
  factor: f32,
): void {
  const lift = f32x4.splat(factor);
  const minLift = f32x4.splat(sizeof<L>() == sizeof<Int5m>() ? factor : -factor);
  const mask = i8x16.splat(15);
  const restBits = restMask<L>();
  let v = v128.load(halves);
  const aScale = f16Any(f16Low(v), lift), bScale = f16Any(f16High(v), lift);
  v = v128.load(halves, 16);
  const cScale = f16Any(f16Low(v), lift), dScale = f16Any(f16High(v), lift);
  let aMin = lift, bMin = lift, cMin = lift, dMin = lift;
  if (sizeof<L>() != sizeof<Int6k>()) {
    v = v128.load(halves, 32);
    aMin = f16Any(f16Low(v), minLift);
    bMin = f16Any(f16High(v), minLift);
    v = v128.load(halves, 48);
    cMin = f16Any(f16Low(v), minLift);
    dMin = f16Any(f16High(v), minLift);
  }
  const am = multiplesOf<L>(w + 0);
  const aFirst = firstScale<L>(am), aSecond = secondScale<L>(am, aFirst);
  const aOffset = offsetOf<L>(am, aMin);
  const bm = multiplesOf<L>(w + 8);
  const bFirst = firstScale<L>(bm), bSecond = secondScale<L>(bm, bFirst);
  const bOffset = offsetOf<L>(bm, bMin);
  const cm = multiplesOf<L>(w + 16);
  const cFirst = firstScale<L>(cm), cSecond = secondScale<L>(cm, cFirst);
  const cOffset = offsetOf<L>(cm, cMin);
  const dm = multiplesOf<L>(w + 24);
  const dFirst = firstScale<L>(dm), dSecond = secondScale<L>(dm, dFirst);
  const dOffset = offsetOf<L>(dm, dMin);
  let nibbles = w + nibblesAt<L>();
  let place = restAt<L>(w, 0);
  let rest = firstRest<L>(place);
  let more = secondRest<L>(place, rest);
  v = v128.load(nibbles, 0);
  const a0 = code0<L>(v128.and(v, mask), rest, restBits);
  const a4 = code4<L>(high(v, mask), more, restBits);
  v = v128.load(nibbles, 16);
  const a1 = code1<L>(v128.and(v, mask), rest, restBits);
  const a5 = code5<L>(high(v, mask), more, restBits);
  v = v128.load(nibbles, 32);
  const a2 = code2<L>(v128.and(v, mask), rest, restBits);
  const a6 = code6<L>(high(v, mask), more, restBits);
  v = v128.load(nibbles, 48);
  const a3 = code3<L>(v128.and(v, mask), rest, restBits);
  const a7 = code7<L>(high(v, mask), more, restBits);
  nibbles += 64;
  place = restAt<L>(w, 1);
  rest = firstRest<L>(place);
  more = secondRest<L>(place, rest);
  v = v128.load(nibbles, 0);
  const b0 = code0<L>(v128.and(v, mask), rest, restBits);
  const b4 = code4<L>(high(v, mask), more, restBits);
  v = v128.load(nibbles, 16);
  const b1 = code1<L>(v128.and(v, mask), rest, restBits);
  const b5 = code5<L>(high(v, mask), more, restBits);
  v = v128.load(nibbles, 32);
  const b2 = code2<L>(v128.and(v, mask), rest, restBits);
  const b6 = code6<L>(high(v, mask), more, restBits);
  v = v128.load(nibbles, 48);
  const b3 = code3<L>(v128.and(v, mask), rest, restBits);
  const b7 = code7<L>(high(v, mask), more, restBits);
  nibbles += 64;
  place = restAt<L>(w, 2);
  rest = firstRest<L>(place);
  more = secondRest<L>(place, rest);
  v = v128.load(nibbles, 0);
  const c0 = code0<L>(v128.and(v, mask), rest, restBits);
  const c4 = code4<L>(high(v, mask), more, restBits);
  v = v128.load(nibbles, 16);
  const c1 = code1<L>(v128.and(v, mask), rest, restBits);
  const c5 = code5<L>(high(v, mask), more, restBits);
  v = v128.load(nibbles, 32);
  const c2 = code2<L>(v128.and(v, mask), rest, restBits);
  const c6 = code6<L>(high(v, mask), more, restBits);
  v = v128.load(nibbles, 48);
  const c3 = code3<L>(v128.and(v, mask), rest, restBits);
  const c7 = code7<L>(high(v, mask), more, restBits);
  nibbles += 64;
  place = restAt<L>(w, 3);
  rest = firstRest<L>(place);
  more = secondRest<L>(place, rest);
  v = v128.load(nibbles, 0);
  const d0 = code0<L>(v128.and(v, mask), rest, restBits);
  const d4 = code4<L>(high(v, mask), more, restBits);
  v = v128.load(nibbles, 16);
  const d1 = code1<L>(v128.and(v, mask), rest, restBits);
  const d5 = code5<L>(high(v, mask), more, restBits);
  v = v128.load(nibbles, 32);
  const d2 = code2<L>(v128.and(v, mask), rest, restBits);
  const d6 = code6<L>(high(v, mask), more, restBits);
  v = v128.load(nibbles, 48);
  const d3 = code3<L>(v128.and(v, mask), rest, restBits);
  const d7 = code7<L>(high(v, mask), more, restBits);
  const zero = i32x4.splat(0);
  const end = x + count * 48;
  while (x < end) {
    // Of an odd number the last is taken twice; the second sums are the row that is to spare.
    const y = x + 48 < end ? x + 48 : x;
    let u = v128.load(x);
    v = v128.load(y);
    const x0 = lane0(u), x1 = lane1(u), x2 = lane2(u), x3 = lane3(u);
    const y0 = lane0(v), y1 = lane1(v), y2 = lane2(v), y3 = lane3(v);
    u = v128.load(x, 16);
    v = v128.load(y, 16);
    const x4 = lane0(u), x5 = lane1(u), x6 = lane2(u), x7 = lane3(u);
    const y4 = lane0(v), y5 = lane1(v), y6 = lane2(v), y7 = lane3(v);
    u = v128.load(x, 32);
    v = v128.load(y, 32);
    const dx = lane0(u), parts = lane1(u), dxSum = lane2(u);
    const dy = lane0(v), yParts = lane1(v), dySum = lane2(v);
    let p0 = two<Q>(zero, x0, a0, x1, a1), q0 = two<Q>(zero, y0, a0, y1, a1);
    let p1 = two<Q>(p0, x2, a2, x3, a3), q1 = two<Q>(q0, y2, a2, y3, a3);
    let p2 = two<Q>(middle<L>(p1, zero), x4, a4, x5, a5), q2 = two<Q>(middle<L>(q1, zero), y4, a4, y5, a5);
    let p3 = two<Q>(p2, x6, a6, x7, a7), q3 = two<Q>(q2, y6, a6, y7, a7);
    u = join<L, Q>(p0, p1, p2, p3, aFirst, aSecond);
    v = join<L, Q>(q0, q1, q2, q3, aFirst, aSecond);
    u = addBlock<L>(v128.load(sums), u, am, aScale, aOffset, dx, parts, dxSum);
    v = addBlock<L>(v128.load(sums, 128), v, am, aScale, aOffset, dy, yParts, dySum);
    v128.store(sums, u);
    v128.store(sums, v, 128);
    p0 = two<Q>(zero, x0, b0, x1, b1); q0 = two<Q>(zero, y0, b0, y1, b1);
    p1 = two<Q>(p0, x2, b2, x3, b3); q1 = two<Q>(q0, y2, b2, y3, b3);
    p2 = two<Q>(middle<L>(p1, zero), x4, b4, x5, b5); q2 = two<Q>(middle<L>(q1, zero), y4, b4, y5, b5);
    p3 = two<Q>(p2, x6, b6, x7, b7); q3 = two<Q>(q2, y6, b6, y7, b7);
    u = join<L, Q>(p0, p1, p2, p3, bFirst, bSecond);
    v = join<L, Q>(q0, q1, q2, q3, bFirst, bSecond);
    u = addBlock<L>(v128.load(sums, 16), u, bm, bScale, bOffset, dx, parts, dxSum);
    v = addBlock<L>(v128.load(sums, 144), v, bm, bScale, bOffset, dy, yParts, dySum);
    v128.store(sums, u, 16);
    v128.store(sums, v, 144);
    p0 = two<Q>(zero, x0, c0, x1, c1); q0 = two<Q>(zero, y0, c0, y1, c1);
    p1 = two<Q>(p0, x2, c2, x3, c3); q1 = two<Q>(q0, y2, c2, y3, c3);
    p2 = two<Q>(middle<L>(p1, zero), x4, c4, x5, c5); q2 = two<Q>(middle<L>(q1, zero), y4, c4, y5, c5);
    p3 = two<Q>(p2, x6, c6, x7, c7); q3 = two<Q>(q2, y6, c6, y7, c7);
    u = join<L, Q>(p0, p1, p2, p3, cFirst, cSecond);
    v = join<L, Q>(q0, q1, q2, q3, cFirst, cSecond);
    u = addBlock<L>(v128.load(sums, 32), u, cm, cScale, cOffset, dx, parts, dxSum);
    v = addBlock<L>(v128.load(sums, 160), v, cm, cScale, cOffset, dy, yParts, dySum);
    v128.store(sums, u, 32);
    v128.store(sums, v, 160);
    p0 = two<Q>(zero, x0, d0, x1, d1); q0 = two<Q>(zero, y0, d0, y1, d1);
    p1 = two<Q>(p0, x2, d2, x3, d3); q1 = two<Q>(q0, y2, d2, y3, d3);
    p2 = two<Q>(middle<L>(p1, zero), x4, d4, x5, d5); q2 = two<Q>(middle<L>(q1, zero), y4, d4, y5, d5);
    p3 = two<Q>(p2, x6, d6, x7, d7); q3 = two<Q>(q2, y6, d6, y7, d7);
    u = join<L, Q>(p0, p1, p2, p3, dFirst, dSecond);
    v = join<L, Q>(q0, q1, q2, q3, dFirst, dSecond);
    u = addBlock<L>(v128.load(sums, 48), u, dm, dScale, dOffset, dx, parts, dxSum);
    v = addBlock<L>(v128.load(sums, 176), v, dm, dScale, dOffset, dy, yParts, dySum);
    v128.store(sums, u, 48);
    v128.store(sums, v, 176);
    x += 96;
    sums += 256;
  }
}

function int5mBlockPairs(
  w: usize,
  halves: usize,
  x: usize,
  count: i32,
  sums: usize,
  factor: f32,
): void {
  blockTimes<Int5m, Pairs>(w, halves, x, count, sums, factor);
}

function int5mBlockQuads(
  w: usize,
  halves: usize,
  x: usize,
  count: i32,
  sums: usize,
  factor: f32,
): void {
  blockTimes<Int5m, Quads>(w, halves, x, count, sums, factor);
}

function int4kBlockPairs(
  w: usize,
  halves: usize,
  x: usize,
  count: i32,
  sums: usize,
  factor: f32,
): void {
  blockTimes<Int4k, Pairs>(w, halves, x, count, sums, factor);
}

function int4kBlockQuads(
  w: usize,
  halves: usize,
  x: usize,
  count: i32,
  sums: usize,
  factor: f32,
): void {
  blockTimes<Int4k, Quads>(w, halves, x, count, sums, factor);
}

function int5kBlockPairs(
  w: usize,
  halves: usize,
  x: usize,
  count: i32,
  sums: usize,
  factor: f32,
): void {
  blockTimes<Int5k, Pairs>(w, halves, x, count, sums, factor);
}

function int5kBlockQuads(
  w: usize,
  halves: usize,
  x: usize,
  count: i32,
  sums: usize,
  factor: f32,
): void {
  blockTimes<Int5k, Quads>(w, halves, x, count, sums, factor);
}

function int6kBlockPairs(
  w: usize,
  halves: usize,
  x: usize,
  count: i32,
  sums: usize,
  factor: f32,
): void {
  blockTimes<Int6k, Pairs>(w, halves, x, count, sums, factor);
}

function int6kBlockQuads(
  w: usize,
  halves: usize,
  x: usize,
  count: i32,
  sums: usize,
  factor: f32,
): void {
  blockTimes<Int6k, Quads>(w, halves, x, count, sums, factor);
}

/** See `blockTimes`; `layout` is one of the finer ones. */
export function fineBlock(
  layout: i32,
  w: usize,
  halves: usize,
  x: usize,
  count: i32,
  sums: usize,
  factor: f32,
): void {
  if (ASC_FEATURE_RELAXED_SIMD && sumsQuads()) {
    if (layout == INT4K) int4kBlockQuads(w, halves, x, count, sums, factor);
    else if (layout == INT6K) int6kBlockQuads(w, halves, x, count, sums, factor);
    else if (layout == INT5K) int5kBlockQuads(w, halves, x, count, sums, factor);
    else int5mBlockQuads(w, halves, x, count, sums, factor);
    return;
  }
  if (layout == INT4K) int4kBlockPairs(w, halves, x, count, sums, factor);
  else if (layout == INT6K) int6kBlockPairs(w, halves, x, count, sums, factor);
  else if (layout == INT5K) int5kBlockPairs(w, halves, x, count, sums, factor);
  else int5mBlockPairs(w, halves, x, count, sums, factor);
}
