// The inner loops of attention: outer products of four queries (a quad, one per lane) and eight
// rows or elements of the cache, summed in registers.

import { lane0, lane1, lane2, lane3, madd } from "../simd.as";

@inline const SCORES: i32 = 0;
@inline const VALUES: i32 = 1;

/**
 * c[4][8] = sum over n of a[n][4] ⊗ b[n][8]; `kind` is a constant. SCORES starts from zero and
 * writes c transposed, [8][4]; VALUES adds to c.
 */
@inline
function tile(kind: i32, a: usize, b: usize, n: i32, c: usize): void {
  let c00 = kind == VALUES ? v128.load(c) : f32x4.splat(0);
  let c01 = kind == VALUES ? v128.load(c, 16) : f32x4.splat(0);
  let c10 = kind == VALUES ? v128.load(c, 32) : f32x4.splat(0);
  let c11 = kind == VALUES ? v128.load(c, 48) : f32x4.splat(0);
  let c20 = kind == VALUES ? v128.load(c, 64) : f32x4.splat(0);
  let c21 = kind == VALUES ? v128.load(c, 80) : f32x4.splat(0);
  let c30 = kind == VALUES ? v128.load(c, 96) : f32x4.splat(0);
  let c31 = kind == VALUES ? v128.load(c, 112) : f32x4.splat(0);
  for (; n >= 4; n -= 4) {
    const v = v128.load(a);
    const x = v128.load(b);
    const y = v128.load(b, 16);
    let s = lane0(v);
    c00 = madd(s, x, c00);
    c01 = madd(s, y, c01);
    s = lane1(v);
    c10 = madd(s, x, c10);
    c11 = madd(s, y, c11);
    s = lane2(v);
    c20 = madd(s, x, c20);
    c21 = madd(s, y, c21);
    s = lane3(v);
    c30 = madd(s, x, c30);
    c31 = madd(s, y, c31);
    const v1 = v128.load(a, 16);
    const x1 = v128.load(b, 32);
    const y1 = v128.load(b, 48);
    s = lane0(v1);
    c00 = madd(s, x1, c00);
    c01 = madd(s, y1, c01);
    s = lane1(v1);
    c10 = madd(s, x1, c10);
    c11 = madd(s, y1, c11);
    s = lane2(v1);
    c20 = madd(s, x1, c20);
    c21 = madd(s, y1, c21);
    s = lane3(v1);
    c30 = madd(s, x1, c30);
    c31 = madd(s, y1, c31);
    const v2 = v128.load(a, 32);
    const x2 = v128.load(b, 64);
    const y2 = v128.load(b, 80);
    s = lane0(v2);
    c00 = madd(s, x2, c00);
    c01 = madd(s, y2, c01);
    s = lane1(v2);
    c10 = madd(s, x2, c10);
    c11 = madd(s, y2, c11);
    s = lane2(v2);
    c20 = madd(s, x2, c20);
    c21 = madd(s, y2, c21);
    s = lane3(v2);
    c30 = madd(s, x2, c30);
    c31 = madd(s, y2, c31);
    const v3 = v128.load(a, 48);
    const x3 = v128.load(b, 96);
    const y3 = v128.load(b, 112);
    s = lane0(v3);
    c00 = madd(s, x3, c00);
    c01 = madd(s, y3, c01);
    s = lane1(v3);
    c10 = madd(s, x3, c10);
    c11 = madd(s, y3, c11);
    s = lane2(v3);
    c20 = madd(s, x3, c20);
    c21 = madd(s, y3, c21);
    s = lane3(v3);
    c30 = madd(s, x3, c30);
    c31 = madd(s, y3, c31);
    a += 64;
    b += 128;
  }
  for (; n > 0; n--) {
    const v = v128.load(a);
    const x = v128.load(b);
    const y = v128.load(b, 16);
    let s = lane0(v);
    c00 = madd(s, x, c00);
    c01 = madd(s, y, c01);
    s = lane1(v);
    c10 = madd(s, x, c10);
    c11 = madd(s, y, c11);
    s = lane2(v);
    c20 = madd(s, x, c20);
    c21 = madd(s, y, c21);
    s = lane3(v);
    c30 = madd(s, x, c30);
    c31 = madd(s, y, c31);
    a += 16;
    b += 32;
  }
  if (kind == VALUES) {
    v128.store(c, c00);
    v128.store(c, c01, 16);
    v128.store(c, c10, 32);
    v128.store(c, c11, 48);
    v128.store(c, c20, 64);
    v128.store(c, c21, 80);
    v128.store(c, c30, 96);
    v128.store(c, c31, 112);
  } else {
    storeTransposed(c, c00, c10, c20, c30);
    storeTransposed(c + 64, c01, c11, c21, c31);
  }
}

/** Stores the columns of the 4×4 matrix with these rows. */
@inline
function storeTransposed(c: usize, r0: v128, r1: v128, r2: v128, r3: v128): void {
  const a = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
  const b = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
  const d = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
  const e = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
  v128.store(c, v128.shuffle<i64>(a, b, 0, 2));
  v128.store(c, v128.shuffle<i64>(a, b, 1, 3), 16);
  v128.store(c, v128.shuffle<i64>(d, e, 0, 2), 32);
  v128.store(c, v128.shuffle<i64>(d, e, 1, 3), 48);
}

/** scores[8][4] of a quad for a block of eight keys: queries [n][4], keys [n][8]. */
export function scoreQuad(queries: usize, keys: usize, n: i32, scores: usize): void {
  tile(SCORES, queries, keys, n, scores);
}

/** sums[4][8] += weights[n][4] ⊗ values[n][8]: `n` rows for a quad. */
export function sumQuad(weights: usize, values: usize, n: i32, sums: usize): void {
  tile(VALUES, weights, values, n, sums);
}

/** c[8] = sum over n of a[n][lane] · b[n][8], for one lane; as `tile`. */
@inline
function tileLane(kind: i32, a: usize, b: usize, n: i32, c: usize): void {
  let c0 = kind == VALUES ? v128.load(c) : f32x4.splat(0);
  let c1 = kind == VALUES ? v128.load(c, 16) : f32x4.splat(0);
  let d0 = f32x4.splat(0);
  let d1 = d0;
  let e0 = d0;
  let e1 = d0;
  let f0 = d0;
  let f1 = d0;
  for (; n >= 4; n -= 4) {
    const s = v128.load32_splat(a);
    c0 = madd(s, v128.load(b), c0);
    c1 = madd(s, v128.load(b, 16), c1);
    const t = v128.load32_splat(a, 16);
    d0 = madd(t, v128.load(b, 32), d0);
    d1 = madd(t, v128.load(b, 48), d1);
    const u = v128.load32_splat(a, 32);
    e0 = madd(u, v128.load(b, 64), e0);
    e1 = madd(u, v128.load(b, 80), e1);
    const v = v128.load32_splat(a, 48);
    f0 = madd(v, v128.load(b, 96), f0);
    f1 = madd(v, v128.load(b, 112), f1);
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
  c0 = f32x4.add(f32x4.add(c0, d0), f32x4.add(e0, f0));
  c1 = f32x4.add(f32x4.add(c1, d1), f32x4.add(e1, f1));
  if (kind == VALUES) {
    v128.store(c, c0);
    v128.store(c, c1, 16);
  } else {
    v128.store32_lane(c, c0, 0);
    v128.store32_lane(c, c0, 1, 16);
    v128.store32_lane(c, c0, 2, 32);
    v128.store32_lane(c, c0, 3, 48);
    v128.store32_lane(c, c1, 0, 64);
    v128.store32_lane(c, c1, 1, 80);
    v128.store32_lane(c, c1, 2, 96);
    v128.store32_lane(c, c1, 3, 112);
  }
}

/** As `scoreQuad` for the one lane that begins at `queries` and `scores`. */
export function scoreLane(queries: usize, keys: usize, n: i32, scores: usize): void {
  tileLane(SCORES, queries, keys, n, scores);
}

/** As `sumQuad` for the one lane that begins at `weights`, into its own sums[8]. */
export function sumLane(weights: usize, values: usize, n: i32, sums: usize): void {
  tileLane(VALUES, weights, values, n, sums);
}

/** `n` × 8 halves as floats, exactly, with subnormals, infinities and NaN. */
export function unpackHalves(from: usize, to: usize, n: i32): void {
  const magnitude = i16x8.splat(0x7fff);
  const sign = i16x8.splat(-0x8000);
  const finite = i16x8.splat(0x7bff);
  const special = i16x8.splat(0x7f80);
  const rebias = f32x4.splat(5.192296858534828e33); // 2^112
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
