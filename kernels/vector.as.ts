// Small pieces that row kernels share: the last 1 to 3 elements of a row, shares of a flat array,
// sums in float64. Nothing here is specific to one op.

import { shareStart } from "./common.as";

/** Elements in the unit that flat arrays are divided by: one cache line. */
@inline const LINE: i32 = 16;

/** First of `count` elements that falls to `worker`; shares begin at whole cache lines. */
export function flatStart(count: i32, worker: i32, workers: i32): i32 {
  return min(count, shareStart((count + LINE - 1) / LINE, worker, workers) * LINE);
}

/** `n` floats, 1 to 3, without reading beyond them; the other lanes repeat one of them. */
export function loadPart(p: usize, n: i32): v128 {
  if (n == 1) return v128.load32_splat(p);
  const pair = v128.load64_splat(p);
  return n == 2 ? pair : v128.load32_lane(p, pair, 2, 8);
}

/** Writes the first `n` lanes, 1 to 3, and nothing else. */
export function storePart(p: usize, v: v128, n: i32): void {
  if (n == 1) {
    v128.store32_lane(p, v, 0);
    return;
  }
  v128.store64_lane(p, v, 0);
  if (n == 3) v128.store32_lane(p, v, 2, 8);
}

/** Copies `n` floats between places that do not overlap. */
export function copyFloats(from: usize, to: usize, n: i32): void {
  for (; n >= 4; n -= 4) {
    v128.store(to, v128.load(from));
    from += 16;
    to += 16;
  }
  if (n > 0) storePart(to, loadPart(from, n), n);
}

/** The sum of the four lanes, in float64. */
export function sumLanes(v: v128): f64 {
  const pairs = f64x2.add(
    f64x2.promote_low_f32x4(v),
    f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1)),
  );
  return f64x2.extract_lane(pairs, 0) + f64x2.extract_lane(pairs, 1);
}

/** Sum of `n` floats, in float64: no finite row overflows. */
export function sumOf(x: usize, n: i32): f64 {
  let s0 = f64x2.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  for (; n >= 8; n -= 8) {
    const v = v128.load(x);
    const w = v128.load(x, 16);
    s0 = f64x2.add(s0, f64x2.promote_low_f32x4(v));
    s1 = f64x2.add(s1, f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1)));
    s2 = f64x2.add(s2, f64x2.promote_low_f32x4(w));
    s3 = f64x2.add(s3, f64x2.promote_low_f32x4(v128.shuffle<i64>(w, w, 1, 1)));
    x += 32;
  }
  const s = f64x2.add(f64x2.add(s0, s1), f64x2.add(s2, s3));
  let sum = f64x2.extract_lane(s, 0) + f64x2.extract_lane(s, 1);
  for (; n > 0; n--) {
    sum += <f64>load<f32>(x);
    x += 4;
  }
  return sum;
}

/** Sum of (x − center)² over `n` floats, in float64; `centered`, a constant, says whether to. */
@inline
function squares(centered: bool, x: usize, n: i32, center: f64): f64 {
  const c = f64x2.splat(center);
  let s0 = f64x2.splat(0);
  let s1 = s0;
  let s2 = s0;
  let s3 = s0;
  for (; n >= 8; n -= 8) {
    const v = v128.load(x);
    const w = v128.load(x, 16);
    let d0 = f64x2.promote_low_f32x4(v);
    let d1 = f64x2.promote_low_f32x4(v128.shuffle<i64>(v, v, 1, 1));
    let d2 = f64x2.promote_low_f32x4(w);
    let d3 = f64x2.promote_low_f32x4(v128.shuffle<i64>(w, w, 1, 1));
    if (centered) {
      d0 = f64x2.sub(d0, c);
      d1 = f64x2.sub(d1, c);
      d2 = f64x2.sub(d2, c);
      d3 = f64x2.sub(d3, c);
    }
    s0 = f64x2.add(s0, f64x2.mul(d0, d0));
    s1 = f64x2.add(s1, f64x2.mul(d1, d1));
    s2 = f64x2.add(s2, f64x2.mul(d2, d2));
    s3 = f64x2.add(s3, f64x2.mul(d3, d3));
    x += 32;
  }
  const s = f64x2.add(f64x2.add(s0, s1), f64x2.add(s2, s3));
  let sum = f64x2.extract_lane(s, 0) + f64x2.extract_lane(s, 1);
  for (; n > 0; n--) {
    const d = <f64>load<f32>(x) - center;
    sum += d * d;
    x += 4;
  }
  return sum;
}

/** Sum of the squares of `n` floats, in float64. */
export function sumOfSquares(x: usize, n: i32): f64 {
  return squares(false, x, n, 0);
}

/** Sum of the squared distances of `n` floats from `center`, in float64. */
export function sumOfDeviations(x: usize, n: i32, center: f64): f64 {
  return squares(true, x, n, center);
}
