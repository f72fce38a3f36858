// The inner loops of attention on caches of int8 (cache_store/layout.ts): as in tile.as.ts, outer
// products of four queries and eight rows or elements, but of int16 by int8 in pairs, with int32
// sums. Queries are rounded to int16 with one step per 32 elements of a lane, weights with one per
// block of 64 rows; 64 products of 32767 · 127 are far from the end of int32.

import { lane0, lane1, lane2, lane3, madd } from "../simd.as";

/** Bytes of the scales of a group of 32 elements in a block of eight keys, after its codes. */
@inline export const KEY_SCALE_BYTES: usize = 32;
/** Bytes of such a group: 16 pairs of elements of eight rows. */
@inline const KEY_GROUP_BYTES: usize = 256 + 32;
/** Bytes of the scales of a group of 32 elements in a block of 64 values, before its codes. */
@inline export const VALUE_SCALE_BYTES: usize = 256;
/** Bytes of such a group: four pieces of 8 elements of 32 pairs of rows. */
@inline export const VALUE_GROUP_BYTES: usize = 256 + 2048;

@inline const LARGEST_CODE: f32 = 32767;
/** 1.5·2^23: added to a small number, it leaves the nearest integer in the low bits. */
@inline const MAGIC: f32 = 12582912;

@inline
function dot(x: v128, y: v128, sum: v128): v128 {
  return i32x4.add(sum, i32x4.dot_i16x8_s(x, y));
}

/**
 * to[eight][4] = or, after the first group, += scales[eight]·steps[4]·sum of a[n][4][2] ⊗ b[n][8][2]
 * over `n` pairs of elements: the scores of a quad for a block of eight keys.
 */
@inline
function scoreGroup(a: usize, b: usize, n: i32, steps: v128, first: bool, to: usize): void {
  let c00 = i32x4.splat(0);
  let c01 = c00;
  let c10 = c00;
  let c11 = c00;
  let c20 = c00;
  let c21 = c00;
  let c30 = c00;
  let c31 = c00;
  for (; n >= 2; n -= 2) {
    const v = v128.load(a);
    const x = v128.load8x8_s(b);
    const y = v128.load8x8_s(b, 8);
    let s = lane0(v);
    c00 = dot(x, s, c00);
    c01 = dot(y, s, c01);
    s = lane1(v);
    c10 = dot(x, s, c10);
    c11 = dot(y, s, c11);
    s = lane2(v);
    c20 = dot(x, s, c20);
    c21 = dot(y, s, c21);
    s = lane3(v);
    c30 = dot(x, s, c30);
    c31 = dot(y, s, c31);
    const v1 = v128.load(a, 16);
    const x1 = v128.load8x8_s(b, 16);
    const y1 = v128.load8x8_s(b, 24);
    s = lane0(v1);
    c00 = dot(x1, s, c00);
    c01 = dot(y1, s, c01);
    s = lane1(v1);
    c10 = dot(x1, s, c10);
    c11 = dot(y1, s, c11);
    s = lane2(v1);
    c20 = dot(x1, s, c20);
    c21 = dot(y1, s, c21);
    s = lane3(v1);
    c30 = dot(x1, s, c30);
    c31 = dot(y1, s, c31);
    a += 32;
    b += 32;
  }
  if (n > 0) {
    const v = v128.load(a);
    const x = v128.load8x8_s(b);
    const y = v128.load8x8_s(b, 8);
    let s = lane0(v);
    c00 = dot(x, s, c00);
    c01 = dot(y, s, c01);
    s = lane1(v);
    c10 = dot(x, s, c10);
    c11 = dot(y, s, c11);
    s = lane2(v);
    c20 = dot(x, s, c20);
    c21 = dot(y, s, c21);
    s = lane3(v);
    c30 = dot(x, s, c30);
    c31 = dot(y, s, c31);
    b += 16;
  }
  scaleRows(c00, c10, c20, c30, v128.load(b), steps, first, to);
  scaleRows(c01, c11, c21, c31, v128.load(b, 16), steps, first, to + 64);
}

/** Columns of a 4×4 matrix of sums, each times its row's scale and the lanes' steps. */
@inline
function scaleRows(
  r0: v128,
  r1: v128,
  r2: v128,
  r3: v128,
  scales: v128,
  steps: v128,
  first: bool,
  to: usize,
): void {
  const a = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
  const b = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
  const d = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
  const e = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
  addRow(v128.shuffle<i64>(a, b, 0, 2), f32x4.mul(steps, lane0(scales)), first, to);
  addRow(v128.shuffle<i64>(a, b, 1, 3), f32x4.mul(steps, lane1(scales)), first, to + 16);
  addRow(v128.shuffle<i64>(d, e, 0, 2), f32x4.mul(steps, lane2(scales)), first, to + 32);
  addRow(v128.shuffle<i64>(d, e, 1, 3), f32x4.mul(steps, lane3(scales)), first, to + 48);
}

@inline
function addRow(sums: v128, factors: v128, first: bool, to: usize): void {
  const v = f32x4.convert_i32x4_s(sums);
  v128.store(to, first ? f32x4.mul(v, factors) : madd(v, factors, v128.load(to)));
}

/**
 * scores[8][4] of a quad for a block of eight keys with heads of `n` elements. The queries
 * are codes [⌈n/2⌉][4][2] with steps [⌈n/32⌉][4], as `quantizeQueries` leaves them.
 */
export function scoreQuadInt8(codes: usize, steps: usize, keys: usize, n: i32, scores: usize): void {
  scoreGroup(codes, keys, (min(n, 32) + 1) >> 1, v128.load(steps), true, scores);
  for (n -= 32; n > 0; n -= 32) {
    codes += 256;
    steps += 16;
    keys += KEY_GROUP_BYTES;
    scoreGroup(codes, keys, (min(n, 32) + 1) >> 1, v128.load(steps), false, scores);
  }
}

/** As `scoreQuadInt8` for the first lane alone. */
export function scoreLaneInt8(codes: usize, steps: usize, keys: usize, n: i32, scores: usize): void {
  let f0 = f32x4.splat(0);
  let f1 = f0;
  for (; n > 0; n -= 32) {
    let c0 = i32x4.splat(0);
    let c1 = c0;
    let d0 = c0;
    let d1 = c0;
    let pairs = (min(n, 32) + 1) >> 1;
    for (; pairs >= 2; pairs -= 2) {
      const s = v128.load32_splat(codes);
      c0 = dot(v128.load8x8_s(keys), s, c0);
      c1 = dot(v128.load8x8_s(keys, 8), s, c1);
      const t = v128.load32_splat(codes, 16);
      d0 = dot(v128.load8x8_s(keys, 16), t, d0);
      d1 = dot(v128.load8x8_s(keys, 24), t, d1);
      codes += 32;
      keys += 32;
    }
    if (pairs > 0) {
      const s = v128.load32_splat(codes);
      c0 = dot(v128.load8x8_s(keys), s, c0);
      c1 = dot(v128.load8x8_s(keys, 8), s, c1);
      keys += 16;
    }
    const step = v128.load32_splat(steps);
    c0 = f32x4.convert_i32x4_s(i32x4.add(c0, d0));
    c1 = f32x4.convert_i32x4_s(i32x4.add(c1, d1));
    f0 = madd(c0, f32x4.mul(step, v128.load(keys)), f0);
    f1 = madd(c1, f32x4.mul(step, v128.load(keys, 16)), f1);
    keys += 32;
    steps += 16;
  }
  v128.store32_lane(scores, f0, 0);
  v128.store32_lane(scores, f0, 1, 16);
  v128.store32_lane(scores, f0, 2, 32);
  v128.store32_lane(scores, f0, 3, 48);
  v128.store32_lane(scores, f1, 0, 64);
  v128.store32_lane(scores, f1, 1, 80);
  v128.store32_lane(scores, f1, 2, 96);
  v128.store32_lane(scores, f1, 3, 112);
}

/** sums[4][8] += steps[4] · weights[n][4][2] ⊗ values[n][8][2]: `n` pairs of rows for a quad. */
export function sumQuadInt8(weights: usize, values: usize, n: i32, steps: usize, sums: usize): void {
  let c00 = i32x4.splat(0);
  let c01 = c00;
  let c10 = c00;
  let c11 = c00;
  let c20 = c00;
  let c21 = c00;
  let c30 = c00;
  let c31 = c00;
  for (; n >= 2; n -= 2) {
    const v = v128.load(weights);
    const x = v128.load8x8_s(values);
    const y = v128.load8x8_s(values, 8);
    let s = lane0(v);
    c00 = dot(x, s, c00);
    c01 = dot(y, s, c01);
    s = lane1(v);
    c10 = dot(x, s, c10);
    c11 = dot(y, s, c11);
    s = lane2(v);
    c20 = dot(x, s, c20);
    c21 = dot(y, s, c21);
    s = lane3(v);
    c30 = dot(x, s, c30);
    c31 = dot(y, s, c31);
    const v1 = v128.load(weights, 16);
    const x1 = v128.load8x8_s(values, 16);
    const y1 = v128.load8x8_s(values, 24);
    s = lane0(v1);
    c00 = dot(x1, s, c00);
    c01 = dot(y1, s, c01);
    s = lane1(v1);
    c10 = dot(x1, s, c10);
    c11 = dot(y1, s, c11);
    s = lane2(v1);
    c20 = dot(x1, s, c20);
    c21 = dot(y1, s, c21);
    s = lane3(v1);
    c30 = dot(x1, s, c30);
    c31 = dot(y1, s, c31);
    weights += 32;
    values += 32;
  }
  if (n > 0) {
    const v = v128.load(weights);
    const x = v128.load8x8_s(values);
    const y = v128.load8x8_s(values, 8);
    let s = lane0(v);
    c00 = dot(x, s, c00);
    c01 = dot(y, s, c01);
    s = lane1(v);
    c10 = dot(x, s, c10);
    c11 = dot(y, s, c11);
    s = lane2(v);
    c20 = dot(x, s, c20);
    c21 = dot(y, s, c21);
    s = lane3(v);
    c30 = dot(x, s, c30);
    c31 = dot(y, s, c31);
  }
  const step = v128.load(steps);
  let s = lane0(step);
  v128.store(sums, madd(f32x4.convert_i32x4_s(c00), s, v128.load(sums)));
  v128.store(sums, madd(f32x4.convert_i32x4_s(c01), s, v128.load(sums, 16)), 16);
  s = lane1(step);
  v128.store(sums, madd(f32x4.convert_i32x4_s(c10), s, v128.load(sums, 32)), 32);
  v128.store(sums, madd(f32x4.convert_i32x4_s(c11), s, v128.load(sums, 48)), 48);
  s = lane2(step);
  v128.store(sums, madd(f32x4.convert_i32x4_s(c20), s, v128.load(sums, 64)), 64);
  v128.store(sums, madd(f32x4.convert_i32x4_s(c21), s, v128.load(sums, 80)), 80);
  s = lane3(step);
  v128.store(sums, madd(f32x4.convert_i32x4_s(c30), s, v128.load(sums, 96)), 96);
  v128.store(sums, madd(f32x4.convert_i32x4_s(c31), s, v128.load(sums, 112)), 112);
}

/** As `sumQuadInt8` for the first lane alone. */
export function sumLaneInt8(weights: usize, values: usize, n: i32, steps: usize, sums: usize): void {
  let c0 = i32x4.splat(0);
  let c1 = c0;
  let d0 = c0;
  let d1 = c0;
  for (; n >= 2; n -= 2) {
    const s = v128.load32_splat(weights);
    c0 = dot(v128.load8x8_s(values), s, c0);
    c1 = dot(v128.load8x8_s(values, 8), s, c1);
    const t = v128.load32_splat(weights, 16);
    d0 = dot(v128.load8x8_s(values, 16), t, d0);
    d1 = dot(v128.load8x8_s(values, 24), t, d1);
    weights += 32;
    values += 32;
  }
  if (n > 0) {
    const s = v128.load32_splat(weights);
    c0 = dot(v128.load8x8_s(values), s, c0);
    c1 = dot(v128.load8x8_s(values, 8), s, c1);
  }
  const step = v128.load32_splat(steps);
  c0 = f32x4.convert_i32x4_s(i32x4.add(c0, d0));
  c1 = f32x4.convert_i32x4_s(i32x4.add(c1, d1));
  v128.store(sums, madd(c0, step, v128.load(sums)));
  v128.store(sums, madd(c1, step, v128.load(sums, 16)), 16);
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

/** Whether the `n` floats at `p`, a multiple of 8, are all numbers, given that none is infinite. */
export function areNumbers(p: usize, n: i32): bool {
  let s0 = f32x4.splat(0);
  let s1 = s0;
  for (; n > 0; n -= 8) {
    s0 = f32x4.add(s0, v128.load(p));
    s1 = f32x4.add(s1, v128.load(p, 16));
    p += 32;
  }
  s0 = f32x4.add(s0, s1);
  return !v128.any_true(f32x4.ne(s0, s0));
}

/**
 * Rounds weights[n][4] times scales[n], `n` a multiple of 4, to codes[n/2][4][2] with steps[4]. A row
 * of weight 0 may have any scale, NaN included.
 */
export function quantizeWeights(
  weights: usize,
  scales: usize,
  n: i32,
  codes: usize,
  steps: usize,
): void {
  const magic = f32x4.splat(MAGIC);
  const low = i32x4.splat(0xffff);
  let m0 = f32x4.splat(1e-30);
  let m1 = m0;
  let w = weights;
  let s = scales;
  for (let i = n; i > 0; i -= 4) {
    // pmax passes over NaN on its right.
    const d = v128.load(s);
    m0 = f32x4.pmax(m0, f32x4.mul(v128.load(w), lane0(d)));
    m1 = f32x4.pmax(m1, f32x4.mul(v128.load(w, 16), lane1(d)));
    m0 = f32x4.pmax(m0, f32x4.mul(v128.load(w, 32), lane2(d)));
    m1 = f32x4.pmax(m1, f32x4.mul(v128.load(w, 48), lane3(d)));
    w += 64;
    s += 16;
  }
  m0 = f32x4.pmax(m0, m1);
  v128.store(steps, f32x4.mul(m0, f32x4.splat(1 / LARGEST_CODE)));
  const inverse = f32x4.div(f32x4.splat(LARGEST_CODE), m0);
  for (; n > 0; n -= 4) {
    // The low bits of NaN are 0.
    const d = v128.load(scales);
    const x = madd(f32x4.mul(v128.load(weights), lane0(d)), inverse, magic);
    const y = madd(f32x4.mul(v128.load(weights, 16), lane1(d)), inverse, magic);
    v128.store(codes, v128.or(v128.and(x, low), i32x4.shl(y, 16)));
    const x1 = madd(f32x4.mul(v128.load(weights, 32), lane2(d)), inverse, magic);
    const y1 = madd(f32x4.mul(v128.load(weights, 48), lane3(d)), inverse, magic);
    v128.store(codes, v128.or(v128.and(x1, low), i32x4.shl(y1, 16)), 16);
    weights += 64;
    scales += 16;
    codes += 32;
  }
}
