// From scores to weights: a quad's scores [rows / 8][4][8] become powers of two up to 1.

import { lane0, lane1, lane2, lane3 } from "../simd.as";
import { greatestLanes } from "./codes.as";
import { exp2Rows } from "./exp2.as";
import { END, FIRST, LANES, LEAST, MAX, raise, TOTAL } from "./quad.as";

/** Replaces scores of rows that a lane does not see, from `row` on, a multiple of 8, by -Inf. */
export function hideUnseen(quad: usize, scores: usize, row: i32, units: i32): void {
  const none = f32x4.splat(-Infinity);
  for (let lane: usize = 0; lane < 4; lane++) {
    const first = v128.load32_splat(quad + (lane << 2), FIRST);
    const end = v128.load32_splat(quad + (lane << 2), END);
    let at = i32x4.add(i32x4.splat(row), i32x4(0, 1, 2, 3));
    let p = scores + (lane << 5);
    for (let i = units << 1; i > 0; i--) {
      const seen = v128.and(i32x4.le_s(first, at), i32x4.lt_s(at, end));
      v128.store(p, v128.bitselect(v128.load(p), none, seen));
      at = i32x4.add(at, i32x4.splat(4));
      p += i & 1 ? 112 : 16;
    }
  }
}

/** The greatest of a quad's scores by lane, and LEAST; NaN is passed over. */
function greatest(scores: usize, units: i32): v128 {
  let p = f32x4.splat(LEAST);
  let q = p, r = p, s = p;
  for (; units > 0; units--) {
    p = f32x4.pmax(f32x4.pmax(p, v128.load(scores)), v128.load(scores, 16));
    q = f32x4.pmax(f32x4.pmax(q, v128.load(scores, 32)), v128.load(scores, 48));
    r = f32x4.pmax(f32x4.pmax(r, v128.load(scores, 64)), v128.load(scores, 80));
    s = f32x4.pmax(f32x4.pmax(s, v128.load(scores, 96)), v128.load(scores, 112));
    scores += 128;
  }
  return greatestLanes(p, q, r, s);
}

/** As `greatest` for the first lane alone. */
function greatestAlone(scores: usize, units: i32): v128 {
  let p = f32x4.splat(LEAST);
  const none = p;
  for (; units > 0; units--) {
    p = f32x4.pmax(f32x4.pmax(p, v128.load(scores)), v128.load(scores, 16));
    scores += 128;
  }
  return greatestLanes(p, none, none, none);
}

/**
 * Turns the scores of `units` × 8 rows into weights relative to the greatest of them, by lane, or to
 * the greatest so far unless `local`. Returns what a weight of 1 is in units of the latter.
 */
export function weigh(
  quad: usize,
  scores: usize,
  units: i32,
  headDim: i32,
  local: bool,
): v128 {
  const lanes = load<i32>(quad, LANES);
  let most = lanes == 1 ? greatestAlone(scores, units) : greatest(scores, units);
  let factor = raise(quad, most, headDim);
  if (!local) {
    most = v128.load(quad, MAX);
    factor = f32x4.splat(1);
  }
  const p = exp2Rows(scores, units, lane0(most));
  let q = p, r = p, s = p;
  if (lanes > 1) q = exp2Rows(scores + 32, units, lane1(most));
  if (lanes > 2) r = exp2Rows(scores + 64, units, lane2(most));
  if (lanes > 3) s = exp2Rows(scores + 96, units, lane3(most));
  const total = f32x4.mul(sumLanes(p, q, r, s), factor);
  v128.store(quad, f32x4.add(v128.load(quad, TOTAL), total), TOTAL);
  return factor;
}

/** The sums of the lanes of four vectors of f32. */
@inline
function sumLanes(a: v128, b: v128, c: v128, d: v128): v128 {
  const x = f32x4.add(v128.shuffle<i32>(a, b, 0, 4, 1, 5), v128.shuffle<i32>(a, b, 2, 6, 3, 7));
  const y = f32x4.add(v128.shuffle<i32>(c, d, 0, 4, 1, 5), v128.shuffle<i32>(c, d, 2, 6, 3, 7));
  return f32x4.add(v128.shuffle<i64>(x, y, 0, 2), v128.shuffle<i64>(x, y, 1, 3));
}
