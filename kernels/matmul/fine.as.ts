// The finer integer layouts (fine_codes.as.ts), several tokens: a block of 16 rows is unpacked once,
// as in int4.as.ts, and meets the tokens two by two.

import { sumsQuads } from "../dots.as";
import { f16Any, f16High, f16Low, lane0, lane1, lane2, lane3 } from "../simd.as";
import { INT4K, INT5, INT5K, INT6K } from "../constants.as";
import {
  addBlock,
  above5,
  above6,
  begun,
  code3,
  code4,
  code7,
  codeBytes,
  codeMask,
  codesAt,
  fifthVector,
  firstScale,
  halfway,
  hasMinimums,
  Int4k,
  Int5,
  Int5k,
  Int5m,
  Int6k,
  is,
  middle,
  multiplesOf,
  offsetOf,
  Pairs,
  partsOf,
  Quads,
  secondScale,
  sixthVector,
  step,
  whole,
} from "./fine_codes.as";

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
  const minLift = f32x4.splat(is<L, Int5m>() ? factor : -factor);
  const mask = codeMask<L>();
  let v = v128.load(halves);
  const aScale = f16Any(f16Low(v), lift), bScale = f16Any(f16High(v), lift);
  v = v128.load(halves, 16);
  const cScale = f16Any(f16Low(v), lift), dScale = f16Any(f16High(v), lift);
  let aMin = lift, bMin = lift, cMin = lift, dMin = lift;
  if (hasMinimums<L>()) {
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
  let p = w + codesAt<L>();
  let u0 = v128.load(p), u1 = v128.load(p, 16), u2 = v128.load(p, 32), u3 = v128.load(p, 48);
  let u4 = fifthVector<L>(p, u0), u5 = sixthVector<L>(p, u0);
  let v5 = above5<L>(u0, u1, u4, mask), v6 = above6<L>(u2, u3, u5, mask);
  const a0 = v128.and(u0, mask), a1 = v128.and(u1, mask), a2 = v128.and(u2, mask);
  const a3 = code3<L>(u0, u1, u2, u3, mask), a4 = code4<L>(u0, u3, u4, mask);
  const a5 = v128.and(v5, mask), a6 = v128.and(v6, mask), a7 = code7<L>(u3, u4, v5, v6, mask);
  p += codeBytes<L>();
  u0 = v128.load(p); u1 = v128.load(p, 16); u2 = v128.load(p, 32); u3 = v128.load(p, 48);
  u4 = fifthVector<L>(p, u0); u5 = sixthVector<L>(p, u0);
  v5 = above5<L>(u0, u1, u4, mask); v6 = above6<L>(u2, u3, u5, mask);
  const b0 = v128.and(u0, mask), b1 = v128.and(u1, mask), b2 = v128.and(u2, mask);
  const b3 = code3<L>(u0, u1, u2, u3, mask), b4 = code4<L>(u0, u3, u4, mask);
  const b5 = v128.and(v5, mask), b6 = v128.and(v6, mask), b7 = code7<L>(u3, u4, v5, v6, mask);
  p += codeBytes<L>();
  u0 = v128.load(p); u1 = v128.load(p, 16); u2 = v128.load(p, 32); u3 = v128.load(p, 48);
  u4 = fifthVector<L>(p, u0); u5 = sixthVector<L>(p, u0);
  v5 = above5<L>(u0, u1, u4, mask); v6 = above6<L>(u2, u3, u5, mask);
  const c0 = v128.and(u0, mask), c1 = v128.and(u1, mask), c2 = v128.and(u2, mask);
  const c3 = code3<L>(u0, u1, u2, u3, mask), c4 = code4<L>(u0, u3, u4, mask);
  const c5 = v128.and(v5, mask), c6 = v128.and(v6, mask), c7 = code7<L>(u3, u4, v5, v6, mask);
  p += codeBytes<L>();
  u0 = v128.load(p); u1 = v128.load(p, 16); u2 = v128.load(p, 32); u3 = v128.load(p, 48);
  u4 = fifthVector<L>(p, u0); u5 = sixthVector<L>(p, u0);
  v5 = above5<L>(u0, u1, u4, mask); v6 = above6<L>(u2, u3, u5, mask);
  const d0 = v128.and(u0, mask), d1 = v128.and(u1, mask), d2 = v128.and(u2, mask);
  const d3 = code3<L>(u0, u1, u2, u3, mask), d4 = code4<L>(u0, u3, u4, mask);
  const d5 = v128.and(v5, mask), d6 = v128.and(v6, mask), d7 = code7<L>(u3, u4, v5, v6, mask);
  const zero = i32x4.splat(0);
  const last = x + (count - 1) * 48;
  for (; x <= last; x += 96, sums += 256) {
    // Of an odd number the last is taken twice; the second sums are the row that is to spare.
    const y = min(x + 48, last);
    let xs = v128.load(x), ys = v128.load(y);
    let x0 = lane0(xs), x1 = lane1(xs), y0 = lane0(ys), y1 = lane1(ys);
    let a = begun<L, Q>(x0, a0, x1, a1, aFirst), e = begun<L, Q>(y0, a0, y1, a1, aFirst);
    let b = begun<L, Q>(x0, b0, x1, b1, bFirst), f = begun<L, Q>(y0, b0, y1, b1, bFirst);
    let c = begun<L, Q>(x0, c0, x1, c1, cFirst), g = begun<L, Q>(y0, c0, y1, c1, cFirst);
    let d = begun<L, Q>(x0, d0, x1, d1, dFirst), h = begun<L, Q>(y0, d0, y1, d1, dFirst);
    x0 = lane2(xs); x1 = lane3(xs); y0 = lane2(ys); y1 = lane3(ys);
    a = step<L, Q>(a, x0, a2, x1, a3, aFirst); e = step<L, Q>(e, y0, a2, y1, a3, aFirst);
    b = step<L, Q>(b, x0, b2, x1, b3, bFirst); f = step<L, Q>(f, y0, b2, y1, b3, bFirst);
    c = step<L, Q>(c, x0, c2, x1, c3, cFirst); g = step<L, Q>(g, y0, c2, y1, c3, cFirst);
    d = step<L, Q>(d, x0, d2, x1, d3, dFirst); h = step<L, Q>(h, y0, d2, y1, d3, dFirst);
    // Only quads of int6k have their multiples to meet here.
    const aLow = halfway<L, Q>(a, aFirst), eLow = halfway<L, Q>(e, aFirst);
    const bLow = halfway<L, Q>(b, bFirst), fLow = halfway<L, Q>(f, bFirst);
    const cLow = halfway<L, Q>(c, cFirst), gLow = halfway<L, Q>(g, cFirst);
    const dLow = halfway<L, Q>(d, dFirst), hLow = halfway<L, Q>(h, dFirst);
    a = middle<L, Q>(a, zero); e = middle<L, Q>(e, zero);
    b = middle<L, Q>(b, zero); f = middle<L, Q>(f, zero);
    c = middle<L, Q>(c, zero); g = middle<L, Q>(g, zero);
    d = middle<L, Q>(d, zero); h = middle<L, Q>(h, zero);
    xs = v128.load(x, 16); ys = v128.load(y, 16);
    x0 = lane0(xs); x1 = lane1(xs); y0 = lane0(ys); y1 = lane1(ys);
    a = step<L, Q>(a, x0, a4, x1, a5, aSecond); e = step<L, Q>(e, y0, a4, y1, a5, aSecond);
    b = step<L, Q>(b, x0, b4, x1, b5, bSecond); f = step<L, Q>(f, y0, b4, y1, b5, bSecond);
    c = step<L, Q>(c, x0, c4, x1, c5, cSecond); g = step<L, Q>(g, y0, c4, y1, c5, cSecond);
    d = step<L, Q>(d, x0, d4, x1, d5, dSecond); h = step<L, Q>(h, y0, d4, y1, d5, dSecond);
    x0 = lane2(xs); x1 = lane3(xs); y0 = lane2(ys); y1 = lane3(ys);
    a = step<L, Q>(a, x0, a6, x1, a7, aSecond); e = step<L, Q>(e, y0, a6, y1, a7, aSecond);
    b = step<L, Q>(b, x0, b6, x1, b7, bSecond); f = step<L, Q>(f, y0, b6, y1, b7, bSecond);
    c = step<L, Q>(c, x0, c6, x1, c7, cSecond); g = step<L, Q>(g, y0, c6, y1, c7, cSecond);
    d = step<L, Q>(d, x0, d6, x1, d7, dSecond); h = step<L, Q>(h, y0, d6, y1, d7, dSecond);
    xs = v128.load(x, 32); ys = v128.load(y, 32);
    x0 = lane0(xs); y0 = lane0(ys); // scales
    x1 = partsOf<L>(lane1(xs)); y1 = partsOf<L>(lane1(ys)); // sums of each
    xs = lane2(xs); ys = lane2(ys); // sums with scales
    a = whole<L, Q>(a, aLow, aSecond);
    e = whole<L, Q>(e, eLow, aSecond);
    a = addBlock<L>(v128.load(sums), a, am, aScale, aOffset, x0, x1, xs);
    e = addBlock<L>(v128.load(sums, 128), e, am, aScale, aOffset, y0, y1, ys);
    v128.store(sums, a);
    v128.store(sums, e, 128);
    b = whole<L, Q>(b, bLow, bSecond);
    f = whole<L, Q>(f, fLow, bSecond);
    b = addBlock<L>(v128.load(sums, 16), b, bm, bScale, bOffset, x0, x1, xs);
    f = addBlock<L>(v128.load(sums, 144), f, bm, bScale, bOffset, y0, y1, ys);
    v128.store(sums, b, 16);
    v128.store(sums, f, 144);
    c = whole<L, Q>(c, cLow, cSecond);
    g = whole<L, Q>(g, gLow, cSecond);
    c = addBlock<L>(v128.load(sums, 32), c, cm, cScale, cOffset, x0, x1, xs);
    g = addBlock<L>(v128.load(sums, 160), g, cm, cScale, cOffset, y0, y1, ys);
    v128.store(sums, c, 32);
    v128.store(sums, g, 160);
    d = whole<L, Q>(d, dLow, dSecond);
    h = whole<L, Q>(h, hLow, dSecond);
    d = addBlock<L>(v128.load(sums, 48), d, dm, dScale, dOffset, x0, x1, xs);
    h = addBlock<L>(v128.load(sums, 176), h, dm, dScale, dOffset, y0, y1, ys);
    v128.store(sums, d, 48);
    v128.store(sums, h, 176);
  }
}

function int5BlockPairs(
  w: usize,
  halves: usize,
  x: usize,
  count: i32,
  sums: usize,
  factor: f32,
): void {
  blockTimes<Int5, Pairs>(w, halves, x, count, sums, factor);
}

function int5BlockQuads(
  w: usize,
  halves: usize,
  x: usize,
  count: i32,
  sums: usize,
  factor: f32,
): void {
  blockTimes<Int5, Quads>(w, halves, x, count, sums, factor);
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
    else if (layout == INT5) int5BlockQuads(w, halves, x, count, sums, factor);
    else int5mBlockQuads(w, halves, x, count, sums, factor);
    return;
  }
  if (layout == INT4K) int4kBlockPairs(w, halves, x, count, sums, factor);
  else if (layout == INT6K) int6kBlockPairs(w, halves, x, count, sums, factor);
  else if (layout == INT5K) int5kBlockPairs(w, halves, x, count, sums, factor);
  else if (layout == INT5) int5BlockPairs(w, halves, x, count, sums, factor);
  else int5mBlockPairs(w, halves, x, count, sums, factor);
}
