// A quad: up to four queries of one kvHead, one per lane, that go through the cache together, and
// what they have seen so far. attention/wasm.as.ts says how it is used.

import { exp2Of } from "./exp2.as";
import {
  CACHE_INT8 as INT8,
  QUAD_CHUNK as CHUNK,
  QUAD_RECORD,
} from "../constants.as";
import { LOG2E } from "../math.as";
import { quantizeQueries } from "./scores_int8.as";

/** Start of a maximum: below any score but finite, so that its distance to -Inf is not NaN. */
@inline export const LEAST: f32 = -3.4028234663852886e38;

// In scratch memory: this record, then queries [headDim][4] times scale with room for their steps
// [⌈headDim / 32⌉][4], scores [CHUNK / 8][4][8], sums [headDim, padded to 8][4].
@inline export const MAX: usize = 0; // greatest score so far of each lane
@inline export const TOTAL: usize = 16; // sum of exponentials of each lane
@inline export const FIRST: usize = 32; // first row that each lane sees
@inline export const END: usize = 48; // row after the last that each lane sees
@inline export const OUT: usize = 64; // address of each lane's result, 0 for a lane without query
@inline export const SEEN_FROM: usize = 80; // rows that any lane sees
@inline export const SEEN_TO: usize = 84;
@inline export const SHARED_FROM: usize = 88; // rows that every lane sees
@inline export const SHARED_TO: usize = 92;
@inline export const LANES: usize = 96; // lanes with a query
@inline export const SINK: usize = 112; // score of each lane's sink
@inline export const QUERIES: usize = QUAD_RECORD;

/** Address of the steps of a quad's queries, where these are codes. */
@inline
export function stepsOf(quad: usize, headDim: i32): usize {
  return quad + QUERIES + (<usize>headDim << 4);
}

/** Address of the scores of a quad. */
@inline
export function scoresOf(quad: usize, headDim: i32): usize {
  return stepsOf(quad, headDim) + (<usize>((headDim + 31) >> 5) << 4);
}

/** Address of the sums of a quad. */
@inline
export function sumsOf(quad: usize, headDim: i32): usize {
  return scoresOf(quad, headDim) + (CHUNK << 4);
}

/** Bytes of a quad. */
@inline
export function quadBytes(headDim: i32): usize {
  return sumsOf(0, headDim) + (<usize>((headDim + 7) >> 3) << 7);
}

/**
 * Fills a quad with queries `query` and up of a tile's `queries`, which begin at `token`; of the rows
 * that they see, those from `rowFrom` up to `rowTo` count.
 */
export function openQuad(
  quad: usize,
  args: usize,
  kvHead: i32,
  token: i32,
  query: i32,
  queries: i32,
  rowFrom: i32,
  rowTo: i32,
): void {
  const group = load<i32>(args, 28);
  const headDim = load<i32>(args, 32);
  // In units of log 2.
  const scale = load<f32>(args, 36) * LOG2E;
  const heads = load<i32>(args, 24) * group;
  const sums = sumsOf(quad, headDim);
  memory.fill(sums, 0, <usize>((headDim + 7) >> 3) << 7);
  v128.store(quad, f32x4.splat(LEAST), MAX);
  v128.store(quad, f32x4.splat(0), TOTAL);
  let seenFrom = i32.MAX_VALUE;
  let seenTo = 0;
  let sharedFrom = 0;
  let sharedTo = i32.MAX_VALUE;
  const lanes = min(4, queries - query);
  for (let lane = 0; lane < 4; lane++) {
    const cell = quad + (<usize>lane << 2);
    let to = cell + QUERIES;
    const stop = to + (<usize>headDim << 4);
    if (lane >= lanes) {
      store<i32>(cell, 0, FIRST);
      store<i32>(cell, 0, END);
      store<usize>(cell, 0, OUT);
      for (; to < stop; to += 16) store<f32>(to, 0);
      continue;
    }
    const t = token + (query + lane) / group;
    const head = kvHead * group + (query + lane) % group;
    const offset = (<usize>(t * heads + head) * headDim) << 2;
    for (let from = load<usize>(args) + offset; to < stop; to += 16) {
      store<f32>(to, load<f32>(from) * scale);
      from += 4;
    }
    const span = load<usize>(args, 12) + (<usize>t << 3);
    const first = max(load<i32>(span), rowFrom);
    const end = min(load<i32>(span, 4), rowTo);
    store<i32>(cell, first, FIRST);
    store<i32>(cell, end, END);
    store<usize>(cell, load<usize>(args, 16) + offset, OUT);
    if (first < end) {
      seenFrom = min(seenFrom, first);
      seenTo = max(seenTo, end);
      sharedFrom = max(sharedFrom, first);
      sharedTo = min(sharedTo, end);
    } else {
      sharedTo = 0;
    }
  }
  // Lanes that share nothing, or of which one sees nothing here, are summed lane by lane.
  if (sharedFrom >= sharedTo) sharedFrom = sharedTo = seenTo;
  store<i32>(quad, seenFrom, SEEN_FROM);
  store<i32>(quad, seenTo, SEEN_TO);
  store<i32>(quad, sharedFrom, SHARED_FROM);
  store<i32>(quad, sharedTo, SHARED_TO);
  store<i32>(quad, lanes, LANES);
  if (load<i32>(args, 48) == INT8) {
    quantizeQueries(quad + QUERIES, headDim, stepsOf(quad, headDim));
  }
}

/**
 * Makes the greatest scores at least `most`, by lane: what was summed before shrinks. Returns 2^(`most`
 * − the greatest).
 */
export function raise(quad: usize, most: v128, headDim: i32): v128 {
  const old = v128.load(quad, MAX);
  const max = f32x4.pmax(old, most);
  if (v128.any_true(f32x4.ne(old, max))) {
    const factor = exp2Of(f32x4.sub(old, max));
    v128.store(quad, max, MAX);
    v128.store(quad, f32x4.mul(v128.load(quad, TOTAL), factor), TOTAL);
    let sums = sumsOf(quad, headDim);
    for (let i = headDim; i > 0; i--) {
      v128.store(sums, f32x4.mul(v128.load(sums), factor));
      sums += 16;
    }
  }
  return exp2Of(f32x4.sub(most, max));
}

/** Adds to a quad what another one of the same queries saw of other rows. */
export function mergeQuad(quad: usize, other: usize, headDim: i32): void {
  const factor = raise(quad, v128.load(other, MAX), headDim);
  const more = f32x4.mul(v128.load(other, TOTAL), factor);
  v128.store(quad, f32x4.add(v128.load(quad, TOTAL), more), TOTAL);
  v128.store(quad, i32x4.min_s(v128.load(quad, FIRST), v128.load(other, FIRST)), FIRST);
  v128.store(quad, i32x4.max_s(v128.load(quad, END), v128.load(other, END)), END);
  let to = sumsOf(quad, headDim);
  let from = sumsOf(other, headDim);
  for (; headDim > 0; headDim--) {
    v128.store(to, f32x4.add(v128.load(to), f32x4.mul(v128.load(from), factor)));
    to += 16;
    from += 16;
  }
}
