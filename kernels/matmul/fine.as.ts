// The finer integer layouts (fine_codes.as.ts), several tokens: a block of 16 rows is unpacked once,
// as in int4.as.ts, and meets the tokens one after another.

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
  fineDots,
  firstRest,
  firstScale,
  Int4k,
  Int5k,
  Int5m,
  Int6k,
  multiplesOf,
  nibblesAt,
  Pairs,
  Quads,
  restAt,
  restMask,
  secondRest,
  secondScale,
} from "./fine_codes.as";
import { high } from "./int4.as";

/**
 * Adds 16 rows times `count` tokens, over the block at `w`, to the first 16 of each row of `sums`
 * [count][32]. `x` is the tokens' activation blocks, one behind the other; `halves` is where the
 * block's halves stand, `factor` the panel's.
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
  const minLift = f32x4.splat(sizeof<L>() == sizeof<Int5m>() ? factor : factor * 0.125);
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
  const bm = multiplesOf<L>(w + 8);
  const bFirst = firstScale<L>(bm), bSecond = secondScale<L>(bm, bFirst);
  const cm = multiplesOf<L>(w + 16);
  const cFirst = firstScale<L>(cm), cSecond = secondScale<L>(cm, cFirst);
  const dm = multiplesOf<L>(w + 24);
  const dFirst = firstScale<L>(dm), dSecond = secondScale<L>(dm, dFirst);
  let p = w + nibblesAt<L>();
  let place = restAt<L>(w, 0);
  let rest = firstRest<L>(place);
  let more = secondRest<L>(place, rest);
  v = v128.load(p, 0);
  const a0 = code0<L>(v128.and(v, mask), rest, restBits);
  const a4 = code4<L>(high(v, mask), more, restBits);
  v = v128.load(p, 16);
  const a1 = code1<L>(v128.and(v, mask), rest, restBits);
  const a5 = code5<L>(high(v, mask), more, restBits);
  v = v128.load(p, 32);
  const a2 = code2<L>(v128.and(v, mask), rest, restBits);
  const a6 = code6<L>(high(v, mask), more, restBits);
  v = v128.load(p, 48);
  const a3 = code3<L>(v128.and(v, mask), rest, restBits);
  const a7 = code7<L>(high(v, mask), more, restBits);
  p += 64;
  place = restAt<L>(w, 1);
  rest = firstRest<L>(place);
  more = secondRest<L>(place, rest);
  v = v128.load(p, 0);
  const b0 = code0<L>(v128.and(v, mask), rest, restBits);
  const b4 = code4<L>(high(v, mask), more, restBits);
  v = v128.load(p, 16);
  const b1 = code1<L>(v128.and(v, mask), rest, restBits);
  const b5 = code5<L>(high(v, mask), more, restBits);
  v = v128.load(p, 32);
  const b2 = code2<L>(v128.and(v, mask), rest, restBits);
  const b6 = code6<L>(high(v, mask), more, restBits);
  v = v128.load(p, 48);
  const b3 = code3<L>(v128.and(v, mask), rest, restBits);
  const b7 = code7<L>(high(v, mask), more, restBits);
  p += 64;
  place = restAt<L>(w, 2);
  rest = firstRest<L>(place);
  more = secondRest<L>(place, rest);
  v = v128.load(p, 0);
  const c0 = code0<L>(v128.and(v, mask), rest, restBits);
  const c4 = code4<L>(high(v, mask), more, restBits);
  v = v128.load(p, 16);
  const c1 = code1<L>(v128.and(v, mask), rest, restBits);
  const c5 = code5<L>(high(v, mask), more, restBits);
  v = v128.load(p, 32);
  const c2 = code2<L>(v128.and(v, mask), rest, restBits);
  const c6 = code6<L>(high(v, mask), more, restBits);
  v = v128.load(p, 48);
  const c3 = code3<L>(v128.and(v, mask), rest, restBits);
  const c7 = code7<L>(high(v, mask), more, restBits);
  p += 64;
  place = restAt<L>(w, 3);
  rest = firstRest<L>(place);
  more = secondRest<L>(place, rest);
  v = v128.load(p, 0);
  const d0 = code0<L>(v128.and(v, mask), rest, restBits);
  const d4 = code4<L>(high(v, mask), more, restBits);
  v = v128.load(p, 16);
  const d1 = code1<L>(v128.and(v, mask), rest, restBits);
  const d5 = code5<L>(high(v, mask), more, restBits);
  v = v128.load(p, 32);
  const d2 = code2<L>(v128.and(v, mask), rest, restBits);
  const d6 = code6<L>(high(v, mask), more, restBits);
  v = v128.load(p, 48);
  const d3 = code3<L>(v128.and(v, mask), rest, restBits);
  const d7 = code7<L>(high(v, mask), more, restBits);
  for (const end = x + count * 48; x < end; x += 48) {
    const xa = v128.load(x), xb = v128.load(x, 16), aux = v128.load(x, 32);
    const x0 = lane0(xa), x1 = lane1(xa), x2 = lane2(xa), x3 = lane3(xa);
    const x4 = lane0(xb), x5 = lane1(xb), x6 = lane2(xb), x7 = lane3(xb);
    const dx = lane0(aux), parts = lane1(aux), dxSum = lane2(aux);
    let dots = fineDots<L, Q>(
      x0, x1, x2, x3, x4, x5, x6, x7, a0, a1, a2, a3, a4, a5, a6, a7, aFirst, aSecond,
    );
    v = v128.load(sums);
    v128.store(sums, addBlock<L>(v, dots, am, aScale, aMin, dx, parts, dxSum));
    dots = fineDots<L, Q>(
      x0, x1, x2, x3, x4, x5, x6, x7, b0, b1, b2, b3, b4, b5, b6, b7, bFirst, bSecond,
    );
    v = v128.load(sums, 16);
    v128.store(sums, addBlock<L>(v, dots, bm, bScale, bMin, dx, parts, dxSum), 16);
    dots = fineDots<L, Q>(
      x0, x1, x2, x3, x4, x5, x6, x7, c0, c1, c2, c3, c4, c5, c6, c7, cFirst, cSecond,
    );
    v = v128.load(sums, 32);
    v128.store(sums, addBlock<L>(v, dots, cm, cScale, cMin, dx, parts, dxSum), 32);
    dots = fineDots<L, Q>(
      x0, x1, x2, x3, x4, x5, x6, x7, d0, d1, d2, d3, d4, d5, d6, d7, dFirst, dSecond,
    );
    v = v128.load(sums, 48);
    v128.store(sums, addBlock<L>(v, dots, dm, dScale, dMin, dx, parts, dxSum), 48);
    sums += 128;
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
