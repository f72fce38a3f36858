// A quad: up to four queries of one kvHead, one per lane, that go through the cache together, and
// what they have seen so far. attention/wasm.as.ts says how it is used.

import { copyFloats } from "../vector.as";
import { exp2Shifted } from "./exp2.as";
import { sumLane, sumQuad } from "./tile.as";
import {
  areNumbers,
  quantizeQueries,
  quantizeWeights,
  sumLaneInt8,
  sumQuadInt8,
  VALUE_SCALE_BYTES,
} from "./tile_int8.as";

/** Element types of caches: places in CACHE_TYPES of kernels/op.ts. */
@inline export const F16: i32 = 1;
@inline export const INT8: i32 = 2;

/** Rows whose scores are held at once; a multiple of the 64 rows of a block of values. */
@inline export const CHUNK: i32 = 256;
/** Start of a maximum: below any score but finite, so that its distance to -Inf is not NaN. */
@inline const LEAST: f32 = -3.4028234663852886e38;
@inline const LOG2E: f32 = 1.44269504;

// In scratch memory: this record, then queries [headDim][4] times scale with room for their steps
// [⌈headDim / 32⌉][4], scores [CHUNK][4], sums [⌈headDim / 8⌉][4][8].
@inline const MAX: usize = 0; // greatest score so far of each lane
@inline const TOTAL: usize = 16; // sum of exponentials of each lane
@inline const FIRST: usize = 32; // first row that each lane sees
@inline const END: usize = 48; // row after the last that each lane sees
@inline const OUT: usize = 64; // address of each lane's result, 0 for a lane without query
@inline export const SEEN_FROM: usize = 80; // rows that any lane sees
@inline export const SEEN_TO: usize = 84;
@inline export const SHARED_FROM: usize = 88; // rows that every lane sees
@inline export const SHARED_TO: usize = 92;
@inline export const LANES: usize = 96; // lanes with a query
@inline const SPARE: usize = 112;
@inline export const QUERIES: usize = 128;

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
  // Lanes that share nothing, of which one sees nothing here, or a lane alone, are summed lane by lane.
  if (sharedFrom >= sharedTo || lanes == 1) sharedFrom = sharedTo = seenTo;
  store<i32>(quad, seenFrom, SEEN_FROM);
  store<i32>(quad, seenTo, SEEN_TO);
  store<i32>(quad, sharedFrom, SHARED_FROM);
  store<i32>(quad, sharedTo, SHARED_TO);
  store<i32>(quad, lanes, LANES);
  if (load<i32>(args, 48) == INT8) {
    quantizeQueries(quad + QUERIES, headDim, stepsOf(quad, headDim));
  }
}

/** Replaces the scores of `n` rows from `row` on in the lanes that do not see them by -Inf. */
export function hideUnseen(quad: usize, scores: usize, row: i32, n: i32): void {
  const none = f32x4.splat(-Infinity);
  const first = v128.load(quad, FIRST);
  const end = v128.load(quad, END);
  for (; n > 0; n--) {
    const at = i32x4.splat(row);
    const seen = v128.and(i32x4.le_s(first, at), i32x4.lt_s(at, end));
    v128.store(scores, v128.bitselect(v128.load(scores), none, seen));
    scores += 16;
    row++;
  }
}

/** Turns the scores of `n` rows into weights relative to the new maximum; rescales what is older. */
export function weigh(quad: usize, scores: usize, n: i32, sums: usize, pieces: i32): void {
  const old = v128.load(quad, MAX);
  let max = old;
  let left = n;
  let p = scores;
  for (let other = old; left >= 4; left -= 4) {
    max = f32x4.pmax(max, v128.load(p));
    other = f32x4.pmax(other, v128.load(p, 16));
    max = f32x4.pmax(max, v128.load(p, 32));
    other = f32x4.pmax(other, v128.load(p, 48));
    p += 64;
    max = f32x4.pmax(max, other);
  }
  for (; left > 0; left--) {
    max = f32x4.pmax(max, v128.load(p));
    p += 16;
  }
  if (v128.any_true(f32x4.ne(old, max))) {
    v128.store(quad, old, SPARE);
    const factor = exp2Shifted(quad + SPARE, quad + SPARE, 1, max);
    v128.store(quad, max, MAX);
    v128.store(quad, f32x4.mul(v128.load(quad, TOTAL), factor), TOTAL);
    for (; pieces > 0; pieces--) {
      for (let lane: usize = 0; lane < 4; lane++) {
        const f = v128.load32_splat(quad + SPARE + (lane << 2));
        v128.store(sums, f32x4.mul(v128.load(sums), f));
        v128.store(sums, f32x4.mul(v128.load(sums, 16), f), 16);
        sums += 32;
      }
    }
  }
  const total = exp2Shifted(scores, scores, n, max);
  v128.store(quad, f32x4.add(v128.load(quad, TOTAL), total), TOTAL);
}

/**
 * Adds the rows of one block of values (64 rows from `block` on) times their weights to one piece
 * of the sums: the rows that all lanes see together, the others lane by lane.
 */
export function sumBlock(quad: usize, weights: usize, values: usize, block: i32, sums: usize): void {
  const sharedFrom = load<i32>(quad, SHARED_FROM);
  const sharedTo = load<i32>(quad, SHARED_TO);
  const from = max(block, sharedFrom);
  const to = min(block + 64, sharedTo);
  if (from < to) {
    const skip = <usize>(from - block);
    sumQuad(weights + (skip << 4), values + (skip << 5), to - from, sums);
    if (from == block && to == block + 64) return;
  }
  for (let lane: usize = 0; lane < 4; lane++) {
    const first = max(block, load<i32>(quad + (lane << 2), FIRST));
    const end = min(block + 64, load<i32>(quad + (lane << 2), END));
    const weight = weights + (lane << 2);
    const sum = sums + (lane << 5);
    const before = min(end, sharedFrom) - first;
    if (before > 0) {
      const skip = <usize>(first - block);
      sumLane(weight + (skip << 4), values + (skip << 5), before, sum);
    }
    const after = max(first, sharedTo);
    if (after < end) {
      const skip = <usize>(after - block);
      sumLane(weight + (skip << 4), values + (skip << 5), end - after, sum);
    }
  }
}

/**
 * As `sumBlock` for one group of 32 elements, or the `pieces` of 8 that the last one has, in a cache
 * of int8: `values` are its scales, then its codes. Rows that a lane does not see have weight 0.
 */
export function sumBlockInt8(
  quad: usize,
  weights: usize,
  values: usize,
  block: i32,
  pieces: i32,
  codes: usize,
  sums: usize,
): void {
  const first = max(block, load<i32>(quad, SEEN_FROM)) - block;
  const end = min(block + 64, load<i32>(quad, SEEN_TO)) - block;
  // Whole pairs of rows, and whole vectors of scales.
  const from = <usize>(first & ~3);
  const n = ((end + 3) & ~3) - <i32>from;
  memory.fill(weights + (from << 4), 0, (<usize>first - from) << 4);
  memory.fill(weights + (<usize>end << 4), 0, (from + <usize>n - <usize>end) << 4);
  if (!areNumbers(values, 64)) spoilSums(quad, values, block, first, end, pieces, sums);
  const steps = codes + 512;
  quantizeWeights(weights + (from << 4), values + (from << 2), n, codes, steps);
  let piece = values + VALUE_SCALE_BYTES + (from << 3);
  const alone = load<i32>(quad, LANES) == 1;
  for (; pieces > 0; pieces--) {
    if (alone) {
      sumLaneInt8(codes, piece, n >> 1, steps, sums);
    } else {
      sumQuadInt8(codes, piece, n >> 1, steps, sums);
    }
    piece += 512;
    sums += 128;
  }
}

/** Makes the sums of all lanes NaN that see a row, `first` to `end` of a block, whose scale is. */
function spoilSums(
  quad: usize,
  scales: usize,
  block: i32,
  first: i32,
  end: i32,
  pieces: i32,
  sums: usize,
): void {
  for (let row = first; row < end; row++) {
    const scale = load<f32>(scales + (<usize>row << 2));
    if (scale == scale) continue;
    for (let lane: usize = 0; lane < 4; lane++) {
      const cell = quad + (lane << 2);
      if (block + row < load<i32>(cell, FIRST) || block + row >= load<i32>(cell, END)) continue;
      for (let piece: usize = 0; piece < <usize>pieces; piece++) {
        const sum = sums + (piece << 7) + (lane << 5);
        v128.store(sum, f32x4.splat(NaN));
        v128.store(sum, f32x4.splat(NaN), 16);
      }
    }
  }
}

/** Adds to a quad what another one of the same queries saw of other rows. */
export function mergeQuad(quad: usize, other: usize, headDim: i32): void {
  const max = f32x4.pmax(v128.load(quad, MAX), v128.load(other, MAX));
  const mine = quad + SPARE;
  const others = other + SPARE;
  exp2Shifted(quad + MAX, mine, 1, max);
  exp2Shifted(other + MAX, others, 1, max);
  v128.store(quad, max, MAX);
  const total = f32x4.mul(v128.load(quad, TOTAL), v128.load(mine));
  const more = f32x4.mul(v128.load(other, TOTAL), v128.load(others));
  v128.store(quad, f32x4.add(total, more), TOTAL);
  v128.store(quad, i32x4.min_s(v128.load(quad, FIRST), v128.load(other, FIRST)), FIRST);
  v128.store(quad, i32x4.max_s(v128.load(quad, END), v128.load(other, END)), END);
  let to = sumsOf(quad, headDim);
  let from = sumsOf(other, headDim);
  for (; headDim > 0; headDim -= 8) {
    for (let lane: usize = 0; lane < 4; lane++) {
      const f = v128.load32_splat(mine + (lane << 2));
      const g = v128.load32_splat(others + (lane << 2));
      const x = f32x4.add(f32x4.mul(v128.load(to), f), f32x4.mul(v128.load(from), g));
      const y = f32x4.add(f32x4.mul(v128.load(to, 16), f), f32x4.mul(v128.load(from, 16), g));
      v128.store(to, x);
      v128.store(to, y, 16);
      to += 32;
      from += 32;
    }
  }
}

/** Divides the sums by the totals and writes them to the results. */
export function closeQuad(quad: usize, headDim: i32): void {
  const sums = sumsOf(quad, headDim);
  const inverse = f32x4.div(f32x4.splat(1), v128.load(quad, TOTAL));
  v128.store(quad, inverse, SPARE);
  for (let lane: usize = 0; lane < 4; lane++) {
    const cell = quad + (lane << 2);
    let out = load<usize>(cell, OUT);
    if (out == 0) continue;
    const empty = load<i32>(cell, FIRST) >= load<i32>(cell, END);
    const factor = v128.load32_splat(cell, SPARE);
    let sum = sums + (lane << 5);
    for (let left = headDim; left > 0; left -= 8) {
      for (let i: usize = 0; i < 32; i += 16) {
        const v = f32x4.mul(v128.load(sum + i), factor);
        v128.store(sum + i, empty ? f32x4.splat(0) : v);
      }
      copyFloats(sum, out, min(8, left));
      sum += 128;
      out += 32;
    }
  }
}

