// The inner loops of attention on floats: outer products of four queries (a quad, one per lane) and
// eight rows or elements of the cache, summed in registers.

import { END, FIRST } from "./quad.as";
import { F16_REBIAS, lane0, lane1, lane2, lane3, madd } from "../simd.as";

/** scores[4][8] of a quad for a block of eight keys: queries [n][4], keys [n][8]. */
export function scoreQuad(a: usize, b: usize, n: i32, scores: usize): void {
  let c00 = f32x4.splat(0);
  let c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
  for (; n >= 4; n -= 4) {
    const v = v128.load(a); const x = v128.load(b); const y = v128.load(b, 16);
    let s = lane0(v); c00 = madd(s, x, c00); c01 = madd(s, y, c01);
    s = lane1(v); c10 = madd(s, x, c10); c11 = madd(s, y, c11);
    s = lane2(v); c20 = madd(s, x, c20); c21 = madd(s, y, c21);
    s = lane3(v); c30 = madd(s, x, c30); c31 = madd(s, y, c31);
    const v1 = v128.load(a, 16); const x1 = v128.load(b, 32); const y1 = v128.load(b, 48);
    s = lane0(v1); c00 = madd(s, x1, c00); c01 = madd(s, y1, c01);
    s = lane1(v1); c10 = madd(s, x1, c10); c11 = madd(s, y1, c11);
    s = lane2(v1); c20 = madd(s, x1, c20); c21 = madd(s, y1, c21);
    s = lane3(v1); c30 = madd(s, x1, c30); c31 = madd(s, y1, c31);
    const v2 = v128.load(a, 32); const x2 = v128.load(b, 64); const y2 = v128.load(b, 80);
    s = lane0(v2); c00 = madd(s, x2, c00); c01 = madd(s, y2, c01);
    s = lane1(v2); c10 = madd(s, x2, c10); c11 = madd(s, y2, c11);
    s = lane2(v2); c20 = madd(s, x2, c20); c21 = madd(s, y2, c21);
    s = lane3(v2); c30 = madd(s, x2, c30); c31 = madd(s, y2, c31);
    const v3 = v128.load(a, 48); const x3 = v128.load(b, 96); const y3 = v128.load(b, 112);
    s = lane0(v3); c00 = madd(s, x3, c00); c01 = madd(s, y3, c01);
    s = lane1(v3); c10 = madd(s, x3, c10); c11 = madd(s, y3, c11);
    s = lane2(v3); c20 = madd(s, x3, c20); c21 = madd(s, y3, c21);
    s = lane3(v3); c30 = madd(s, x3, c30); c31 = madd(s, y3, c31);
    a += 64;
    b += 128;
  }
  for (; n > 0; n--) {
    const v = v128.load(a); const x = v128.load(b); const y = v128.load(b, 16);
    let s = lane0(v); c00 = madd(s, x, c00); c01 = madd(s, y, c01);
    s = lane1(v); c10 = madd(s, x, c10); c11 = madd(s, y, c11);
    s = lane2(v); c20 = madd(s, x, c20); c21 = madd(s, y, c21);
    s = lane3(v); c30 = madd(s, x, c30); c31 = madd(s, y, c31);
    a += 16;
    b += 32;
  }
  v128.store(scores, c00); v128.store(scores, c01, 16);
  v128.store(scores, c10, 32); v128.store(scores, c11, 48);
  v128.store(scores, c20, 64); v128.store(scores, c21, 80);
  v128.store(scores, c30, 96); v128.store(scores, c31, 112);
}

/** Adds the columns of the 4×4 matrix with these rows to c[4][4]. */
@inline
function addTransposed(c: usize, r0: v128, r1: v128, r2: v128, r3: v128): void {
  const a = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
  const b = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
  const d = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
  const e = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
  const c0 = f32x4.add(v128.load(c), v128.shuffle<i64>(a, b, 0, 2));
  const c1 = f32x4.add(v128.load(c, 16), v128.shuffle<i64>(a, b, 1, 3));
  const c2 = f32x4.add(v128.load(c, 32), v128.shuffle<i64>(d, e, 0, 2));
  const c3 = f32x4.add(v128.load(c, 48), v128.shuffle<i64>(d, e, 1, 3));
  v128.store(c, c0);
  v128.store(c, c1, 16);
  v128.store(c, c2, 32);
  v128.store(c, c3, 48);
}

/** Whether a lane of a quad, at `cell`, sees a row. */
@inline
function sees(cell: usize, row: i32): bool {
  return row >= load<i32>(cell, FIRST) && row < load<i32>(cell, END);
}

/**
 * sums[8][4] of a quad += the rows from `row` up to `end` of values [64][8], of which all lanes see
 * those from `from` up to `to`, times weights [8][4][8]: eight rows of each lane. A lane's rows are
 * added up one after another, whichever the other lanes see. `block` is the number of the first row.
 */
export function sumQuad(
  quad: usize,
  block: i32,
  weights: usize,
  row: i32,
  end: i32,
  from: i32,
  to: i32,
  values: usize,
  sums: usize,
): void {
  let c00 = f32x4.splat(0);
  let c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00;
  let b = values + (<usize>row << 5);
  while (row < end) {
    let a = weights + (<usize>(row >> 3) << 7) + (<usize>(row & 7) << 2);
    if (row < from || row >= to) {
      const x = v128.load(b);
      const y = v128.load(b, 16);
      const at = block + row;
      if (sees(quad, at)) {
        const s = v128.load32_splat(a); c00 = madd(s, x, c00); c01 = madd(s, y, c01);
      }
      if (sees(quad + 4, at)) {
        const s = v128.load32_splat(a, 32); c10 = madd(s, x, c10); c11 = madd(s, y, c11);
      }
      if (sees(quad + 8, at)) {
        const s = v128.load32_splat(a, 64); c20 = madd(s, x, c20); c21 = madd(s, y, c21);
      }
      if (sees(quad + 12, at)) {
        const s = v128.load32_splat(a, 96); c30 = madd(s, x, c30); c31 = madd(s, y, c31);
      }
      b += 32;
      row++;
      continue;
    }
    if (row & 7 || row + 8 > to) {
      const x = v128.load(b);
      const y = v128.load(b, 16);
      let s = v128.load32_splat(a); c00 = madd(s, x, c00); c01 = madd(s, y, c01);
      s = v128.load32_splat(a, 32); c10 = madd(s, x, c10); c11 = madd(s, y, c11);
      s = v128.load32_splat(a, 64); c20 = madd(s, x, c20); c21 = madd(s, y, c21);
      s = v128.load32_splat(a, 96); c30 = madd(s, x, c30); c31 = madd(s, y, c31);
      b += 32;
      row++;
      continue;
    }
    for (; row + 8 <= to; row += 8) {
      let p = v128.load(a), q = v128.load(a, 32), r = v128.load(a, 64), t = v128.load(a, 96);
      let x = v128.load(b), y = v128.load(b, 16);
      let s = lane0(p); c00 = madd(s, x, c00); c01 = madd(s, y, c01);
      s = lane0(q); c10 = madd(s, x, c10); c11 = madd(s, y, c11);
      s = lane0(r); c20 = madd(s, x, c20); c21 = madd(s, y, c21);
      s = lane0(t); c30 = madd(s, x, c30); c31 = madd(s, y, c31);
      x = v128.load(b, 32); y = v128.load(b, 48);
      s = lane1(p); c00 = madd(s, x, c00); c01 = madd(s, y, c01);
      s = lane1(q); c10 = madd(s, x, c10); c11 = madd(s, y, c11);
      s = lane1(r); c20 = madd(s, x, c20); c21 = madd(s, y, c21);
      s = lane1(t); c30 = madd(s, x, c30); c31 = madd(s, y, c31);
      x = v128.load(b, 64); y = v128.load(b, 80);
      s = lane2(p); c00 = madd(s, x, c00); c01 = madd(s, y, c01);
      s = lane2(q); c10 = madd(s, x, c10); c11 = madd(s, y, c11);
      s = lane2(r); c20 = madd(s, x, c20); c21 = madd(s, y, c21);
      s = lane2(t); c30 = madd(s, x, c30); c31 = madd(s, y, c31);
      x = v128.load(b, 96); y = v128.load(b, 112);
      s = lane3(p); c00 = madd(s, x, c00); c01 = madd(s, y, c01);
      s = lane3(q); c10 = madd(s, x, c10); c11 = madd(s, y, c11);
      s = lane3(r); c20 = madd(s, x, c20); c21 = madd(s, y, c21);
      s = lane3(t); c30 = madd(s, x, c30); c31 = madd(s, y, c31);
      p = v128.load(a, 16); q = v128.load(a, 48); r = v128.load(a, 80); t = v128.load(a, 112);
      x = v128.load(b, 128); y = v128.load(b, 144);
      s = lane0(p); c00 = madd(s, x, c00); c01 = madd(s, y, c01);
      s = lane0(q); c10 = madd(s, x, c10); c11 = madd(s, y, c11);
      s = lane0(r); c20 = madd(s, x, c20); c21 = madd(s, y, c21);
      s = lane0(t); c30 = madd(s, x, c30); c31 = madd(s, y, c31);
      x = v128.load(b, 160); y = v128.load(b, 176);
      s = lane1(p); c00 = madd(s, x, c00); c01 = madd(s, y, c01);
      s = lane1(q); c10 = madd(s, x, c10); c11 = madd(s, y, c11);
      s = lane1(r); c20 = madd(s, x, c20); c21 = madd(s, y, c21);
      s = lane1(t); c30 = madd(s, x, c30); c31 = madd(s, y, c31);
      x = v128.load(b, 192); y = v128.load(b, 208);
      s = lane2(p); c00 = madd(s, x, c00); c01 = madd(s, y, c01);
      s = lane2(q); c10 = madd(s, x, c10); c11 = madd(s, y, c11);
      s = lane2(r); c20 = madd(s, x, c20); c21 = madd(s, y, c21);
      s = lane2(t); c30 = madd(s, x, c30); c31 = madd(s, y, c31);
      x = v128.load(b, 224); y = v128.load(b, 240);
      s = lane3(p); c00 = madd(s, x, c00); c01 = madd(s, y, c01);
      s = lane3(q); c10 = madd(s, x, c10); c11 = madd(s, y, c11);
      s = lane3(r); c20 = madd(s, x, c20); c21 = madd(s, y, c21);
      s = lane3(t); c30 = madd(s, x, c30); c31 = madd(s, y, c31);
      a += 128;
      b += 256;
    }
  }
  addTransposed(sums, c00, c10, c20, c30);
  addTransposed(sums + 64, c01, c11, c21, c31);
}

/** As `scoreQuad` for the first lane alone, added up in the same order. */
export function scoreLane(a: usize, b: usize, n: i32, scores: usize): void {
  let c0 = f32x4.splat(0);
  let c1 = c0;
  for (; n >= 4; n -= 4) {
    const s = v128.load32_splat(a);
    c0 = madd(s, v128.load(b), c0);
    c1 = madd(s, v128.load(b, 16), c1);
    const t = v128.load32_splat(a, 16);
    c0 = madd(t, v128.load(b, 32), c0);
    c1 = madd(t, v128.load(b, 48), c1);
    const u = v128.load32_splat(a, 32);
    c0 = madd(u, v128.load(b, 64), c0);
    c1 = madd(u, v128.load(b, 80), c1);
    const v = v128.load32_splat(a, 48);
    c0 = madd(v, v128.load(b, 96), c0);
    c1 = madd(v, v128.load(b, 112), c1);
    a += 64;
    b += 128;
  }
  for (; n > 0; n--) {
    const s = v128.load32_splat(a);
    c0 = madd(s, v128.load(b), c0);
    c1 = madd(s, v128.load(b, 16), c1);
    a += 16;
    b += 32;
  }
  v128.store(scores, c0);
  v128.store(scores, c1, 16);
}

/** As `scoreLane` for two blocks of keys, at that distance, side by side. */
export function scoreLaneTwice(a: usize, b: usize, distance: usize, n: i32, scores: usize): void {
  let c0 = f32x4.splat(0);
  let c1 = c0, d0 = c0, d1 = c0;
  let d = b + distance;
  for (; n >= 2; n -= 2) {
    const s = v128.load32_splat(a);
    c0 = madd(s, v128.load(b), c0);
    c1 = madd(s, v128.load(b, 16), c1);
    d0 = madd(s, v128.load(d), d0);
    d1 = madd(s, v128.load(d, 16), d1);
    const t = v128.load32_splat(a, 16);
    c0 = madd(t, v128.load(b, 32), c0);
    c1 = madd(t, v128.load(b, 48), c1);
    d0 = madd(t, v128.load(d, 32), d0);
    d1 = madd(t, v128.load(d, 48), d1);
    a += 32;
    b += 64;
    d += 64;
  }
  if (n > 0) {
    const s = v128.load32_splat(a);
    c0 = madd(s, v128.load(b), c0);
    c1 = madd(s, v128.load(b, 16), c1);
    d0 = madd(s, v128.load(d), d0);
    d1 = madd(s, v128.load(d, 16), d1);
  }
  v128.store(scores, c0); v128.store(scores, c1, 16);
  v128.store(scores, d0, 128); v128.store(scores, d1, 144);
}

/** As `sumQuad` for a quad's only lane: rows from `row` up to `to`, in the same order. */
export function sumLane(weights: usize, row: i32, to: i32, values: usize, sums: usize): void {
  if (row >= to) return;
  let c0 = f32x4.splat(0);
  let c1 = c0;
  let b = values + (<usize>row << 5);
  while (row < to) {
    const a = weights + (<usize>(row >> 3) << 7) + (<usize>(row & 7) << 2);
    if (row & 3 || row + 4 > to) {
      const s = v128.load32_splat(a);
      c0 = madd(s, v128.load(b), c0);
      c1 = madd(s, v128.load(b, 16), c1);
      b += 32;
      row++;
      continue;
    }
    const p = v128.load(a);
    let s = lane0(p);
    c0 = madd(s, v128.load(b), c0);
    c1 = madd(s, v128.load(b, 16), c1);
    s = lane1(p);
    c0 = madd(s, v128.load(b, 32), c0);
    c1 = madd(s, v128.load(b, 48), c1);
    s = lane2(p);
    c0 = madd(s, v128.load(b, 64), c0);
    c1 = madd(s, v128.load(b, 80), c1);
    s = lane3(p);
    c0 = madd(s, v128.load(b, 96), c0);
    c1 = madd(s, v128.load(b, 112), c1);
    b += 128;
    row += 4;
  }
  addElements(c0, sums);
  addElements(c1, sums + 64);
}

/** As `sumLane` for two pieces of eight elements, their values at that distance, side by side. */
export function sumLaneTwice(
  weights: usize,
  row: i32,
  to: i32,
  values: usize,
  distance: usize,
  sums: usize,
): void {
  if (row >= to) return;
  let c0 = f32x4.splat(0);
  let c1 = c0, d0 = c0, d1 = c0;
  let b = values + (<usize>row << 5);
  let d = b + distance;
  while (row < to) {
    const a = weights + (<usize>(row >> 3) << 7) + (<usize>(row & 7) << 2);
    if (row & 3 || row + 4 > to) {
      const s = v128.load32_splat(a);
      c0 = madd(s, v128.load(b), c0);
      c1 = madd(s, v128.load(b, 16), c1);
      d0 = madd(s, v128.load(d), d0);
      d1 = madd(s, v128.load(d, 16), d1);
      b += 32;
      d += 32;
      row++;
      continue;
    }
    const p = v128.load(a);
    let s = lane0(p);
    c0 = madd(s, v128.load(b), c0);
    c1 = madd(s, v128.load(b, 16), c1);
    d0 = madd(s, v128.load(d), d0);
    d1 = madd(s, v128.load(d, 16), d1);
    s = lane1(p);
    c0 = madd(s, v128.load(b, 32), c0);
    c1 = madd(s, v128.load(b, 48), c1);
    d0 = madd(s, v128.load(d, 32), d0);
    d1 = madd(s, v128.load(d, 48), d1);
    s = lane2(p);
    c0 = madd(s, v128.load(b, 64), c0);
    c1 = madd(s, v128.load(b, 80), c1);
    d0 = madd(s, v128.load(d, 64), d0);
    d1 = madd(s, v128.load(d, 80), d1);
    s = lane3(p);
    c0 = madd(s, v128.load(b, 96), c0);
    c1 = madd(s, v128.load(b, 112), c1);
    d0 = madd(s, v128.load(d, 96), d0);
    d1 = madd(s, v128.load(d, 112), d1);
    b += 128;
    d += 128;
    row += 4;
  }
  addElements(c0, sums);
  addElements(c1, sums + 64);
  addElements(d0, sums + 128);
  addElements(d1, sums + 192);
}

/** sums[4], 16 bytes apart, += the lanes of `v`. */
@inline
function addElements(v: v128, sums: usize): void {
  store<f32>(sums, load<f32>(sums) + f32x4.extract_lane(v, 0));
  store<f32>(sums, load<f32>(sums, 16) + f32x4.extract_lane(v, 1), 16);
  store<f32>(sums, load<f32>(sums, 32) + f32x4.extract_lane(v, 2), 32);
  store<f32>(sums, load<f32>(sums, 48) + f32x4.extract_lane(v, 3), 48);
}

/** `n` × 8 halves as floats, exactly, with subnormals, infinities and NaN. */
export function unpackHalves(from: usize, to: usize, n: i32): void {
  const magnitude = i16x8.splat(0x7fff);
  const sign = i16x8.splat(-0x8000);
  const finite = i16x8.splat(0x7bff);
  const special = i16x8.splat(0x7f80);
  const rebias = f32x4.splat(F16_REBIAS);
  for (; n > 0; n--) {
    const h = v128.load(from);
    const m = v128.and(h, magnitude);
    // The upper and lower 16 bits of the float whose exponent still has the bias of a half; all
    // ones for Inf and NaN, which the multiplication leaves as they are.
    const upper = v128.or(
      v128.or(i16x8.shr_u(m, 3), v128.and(h, sign)),
      v128.and(i16x8.gt_s(m, finite), special),
    );
    const lower = i16x8.shl(h, 13);
    v128.store(to, f32x4.mul(v128.shuffle<i16>(lower, upper, 0, 8, 1, 9, 2, 10, 3, 11), rebias));
    v128.store(
      to,
      f32x4.mul(v128.shuffle<i16>(lower, upper, 4, 12, 5, 13, 6, 14, 7, 15), rebias),
      16,
    );
    from += 16;
    to += 32;
  }
}
