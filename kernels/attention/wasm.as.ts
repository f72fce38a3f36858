// attention; cache_store/layout.ts describes the caches. Arguments:
//   q, keys, values, spans, out, address of the token count, kvHeads, query heads per kvHead,
//   headDim, scale, bytes of one kvHead's keys, of its values, 1 where the keys are f16, 1 where
//   the values are, tokens per tile
//
// A task is one kvHead for one tile of successive tokens; workers take tasks as they finish. All
// queries of a task (tokens × query heads) go through the cache together, four at a time (a quad,
// one query per lane), so that a block of the cache is read from memory once per task. Rows are
// taken in chunks: the chunk's scores, their exponentials relative to the greatest score so far,
// the weighted sum of the values (online softmax, arXiv:1805.02867; in tiles, arXiv:2205.14135).
//
// Rows that a query does not see may hold anything, NaN included. Their scores are replaced before
// use, and their values are never multiplied: rows that all four lanes see are summed for the quad,
// others lane by lane.

import { nextTask, scratch } from "../common.as";
import { expShifted } from "../math.as";
import { copyFloats } from "../vector.as";
import { scoreLane, scoreQuad, sumLane, sumQuad, unpackHalves } from "./tile.as";

/** Rows whose scores are held at once; a multiple of the 64 rows of a block of values. */
@inline const CHUNK: i32 = 256;
/** Start of a maximum: below any score but finite, so that its distance to -Inf is not NaN. */
@inline const LEAST: f32 = -3.4028234663852886e38;
/** Rows beyond which tokens that see different rows go through the cache separately. */
@inline const MOST_UNSHARED: i32 = 64;

// A quad in scratch memory: this record, then queries [headDim][4] times scale, scores [CHUNK][4],
// sums [headDim / 8][4][8].
@inline const MAX: usize = 0; // greatest score so far of each lane
@inline const TOTAL: usize = 16; // sum of exponentials of each lane
@inline const FIRST: usize = 32; // first row that each lane sees
@inline const END: usize = 48; // row after the last that each lane sees
@inline const OUT: usize = 64; // address of each lane's result, 0 for a lane without query
@inline const SEEN_FROM: usize = 80; // rows that any lane sees
@inline const SEEN_TO: usize = 84;
@inline const SHARED_FROM: usize = 88; // rows that every lane sees
@inline const SHARED_TO: usize = 92;
@inline const LANES: usize = 96; // lanes with a query
@inline const SPARE: usize = 112;
@inline const QUERIES: usize = 128;

/** Address of the scores of a quad. */
@inline
function scoresOf(quad: usize, headDim: i32): usize {
  return quad + QUERIES + (<usize>headDim << 4);
}

/** Address of the sums of a quad. */
@inline
function sumsOf(quad: usize, headDim: i32): usize {
  return scoresOf(quad, headDim) + (CHUNK << 4);
}

/** Bytes of a quad. */
@inline
function quadBytes(headDim: i32): usize {
  return QUERIES + (<usize>headDim << 4) + (CHUNK << 4) + (<usize>((headDim + 7) >> 3) << 7);
}

/** Fills a quad with queries `query` and up of a tile's `queries`, which begin at `token`. */
function openQuad(
  args: usize,
  quad: usize,
  kvHead: i32,
  token: i32,
  query: i32,
  queries: i32,
): void {
  const group = load<i32>(args, 28);
  const headDim = load<i32>(args, 32);
  const scale = load<f32>(args, 36);
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
    const first = load<i32>(span);
    const end = load<i32>(span, 4);
    store<i32>(cell, first, FIRST);
    store<i32>(cell, end, END);
    store<usize>(cell, load<usize>(args, 16) + offset, OUT);
    if (first < end) {
      seenFrom = min(seenFrom, first);
      seenTo = max(seenTo, end);
      sharedFrom = max(sharedFrom, first);
      sharedTo = min(sharedTo, end);
    }
  }
  // Lanes that share nothing, or a lane alone, are summed lane by lane.
  if (sharedFrom >= sharedTo || lanes == 1) sharedFrom = sharedTo = seenTo;
  store<i32>(quad, seenFrom, SEEN_FROM);
  store<i32>(quad, seenTo, SEEN_TO);
  store<i32>(quad, sharedFrom, SHARED_FROM);
  store<i32>(quad, sharedTo, SHARED_TO);
  store<i32>(quad, lanes, LANES);
}

/** Replaces the scores of `n` rows from `row` on in the lanes that do not see them by -Inf. */
function hideUnseen(quad: usize, scores: usize, row: i32, n: i32): void {
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
function weigh(quad: usize, scores: usize, n: i32, sums: usize, pieces: i32): void {
  const old = v128.load(quad, MAX);
  let max = old;
  for (let p = scores, left = n; left > 0; left--) {
    max = f32x4.pmax(max, v128.load(p));
    p += 16;
  }
  if (v128.any_true(f32x4.ne(old, max))) {
    v128.store(quad, old, SPARE);
    const factor = expShifted(quad + SPARE, quad + SPARE, 1, max);
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
  const total = expShifted(scores, scores, n, max);
  v128.store(quad, f32x4.add(v128.load(quad, TOTAL), total), TOTAL);
}

/**
 * Adds the rows of one block of values (64 rows from `block` on) times their weights to one piece
 * of the sums: the rows that all lanes see together, the others lane by lane.
 */
function sumBlock(quad: usize, weights: usize, values: usize, block: i32, sums: usize): void {
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

/** Divides the sums by the totals and writes them to the results. */
function closeQuad(quad: usize, headDim: i32): void {
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

/** Attends from `tokens` tokens at `token`, for one kvHead. */
function attendTokens(args: usize, kvHead: i32, token: i32, tokens: i32, room: usize): void {
  const headDim = load<i32>(args, 32);
  const pieces = (headDim + 7) >> 3;
  const queries = tokens * load<i32>(args, 28);
  const unit = quadBytes(headDim);
  const halfKeys = load<i32>(args, 48) != 0;
  const halfValues = load<i32>(args, 52) != 0;
  const keys = load<usize>(args, 4) + <usize>kvHead * load<usize>(args, 40);
  const values = load<usize>(args, 8) + <usize>kvHead * load<usize>(args, 44);
  // A block of the cache as floats, where it is stored as halves; then the quads.
  const floats = room;
  const quads = room + max(<usize>headDim << 5, 2048);

  let from = i32.MAX_VALUE;
  let to = 0;
  let quadsEnd = quads;
  for (let query = 0; query < queries; query += 4) {
    openQuad(args, quadsEnd, kvHead, token, query, queries);
    from = min(from, load<i32>(quadsEnd, SEEN_FROM));
    to = max(to, load<i32>(quadsEnd, SEEN_TO));
    quadsEnd += unit;
  }

  for (let chunk = from & -64; chunk < to; chunk += CHUNK) {
    const chunkEnd = min(to, chunk + CHUNK);
    for (let row = max(chunk, from & -8); row < chunkEnd; row += 8) {
      let block = keys + ((<usize>(row >> 3) * headDim) << (halfKeys ? 4 : 5));
      if (halfKeys) {
        unpackHalves(block, floats, headDim);
        block = floats;
      }
      for (let quad = quads; quad < quadsEnd; quad += unit) {
        if (row >= load<i32>(quad, SEEN_TO) || row + 8 <= load<i32>(quad, SEEN_FROM)) continue;
        const scores = scoresOf(quad, headDim) + (<usize>(row - chunk) << 4);
        if (load<i32>(quad, LANES) == 1) {
          scoreLane(quad + QUERIES, block, headDim, scores);
        } else {
          scoreQuad(quad + QUERIES, block, headDim, scores);
        }
      }
    }
    for (let quad = quads; quad < quadsEnd; quad += unit) {
      const first = max(chunk, load<i32>(quad, SEEN_FROM));
      const n = min(chunkEnd, load<i32>(quad, SEEN_TO)) - first;
      if (n <= 0) continue;
      const scores = scoresOf(quad, headDim) + (<usize>(first - chunk) << 4);
      if (first < load<i32>(quad, SHARED_FROM) || first + n > load<i32>(quad, SHARED_TO)) {
        hideUnseen(quad, scores, first, n);
      }
      weigh(quad, scores, n, sumsOf(quad, headDim), pieces);
    }
    for (let row = chunk; row < chunkEnd; row += 64) {
      for (let piece = 0; piece < pieces; piece++) {
        let block = values + (<usize>((row >> 6) * pieces + piece) << (halfValues ? 10 : 11));
        if (halfValues) {
          const skip = <usize>max(0, from - row);
          unpackHalves(block + (skip << 4), floats + (skip << 5), min(64, to - row) - <i32>skip);
          block = floats;
        }
        for (let quad = quads; quad < quadsEnd; quad += unit) {
          if (row >= load<i32>(quad, SEEN_TO) || row + 64 <= load<i32>(quad, SEEN_FROM)) continue;
          const weights = scoresOf(quad, headDim) + (<usize>(row - chunk) << 4);
          sumBlock(quad, weights, block, row, sumsOf(quad, headDim) + (<usize>piece << 7));
        }
      }
    }
  }
  for (let quad = quads; quad < quadsEnd; quad += unit) closeQuad(quad, headDim);
}

/** How many of the tokens from `token` to `end` see nearly the same rows. */
function similarTokens(spans: usize, token: i32, end: i32): i32 {
  let seenFrom = i32.MAX_VALUE;
  let seenTo = 0;
  let sharedFrom = 0;
  let sharedTo = i32.MAX_VALUE;
  for (let t = token; t < end; t++) {
    const first = load<i32>(spans + (<usize>t << 3));
    const stop = load<i32>(spans + (<usize>t << 3), 4);
    if (first >= stop) continue;
    seenFrom = min(seenFrom, first);
    seenTo = max(seenTo, stop);
    sharedFrom = max(sharedFrom, first);
    sharedTo = min(sharedTo, stop);
    const unshared = seenTo - seenFrom - max(0, sharedTo - sharedFrom);
    if (t > token && unshared > MOST_UNSHARED) return t - token;
  }
  return end - token;
}

export function attention(args: usize, worker: i32, workers: i32): void {
  const tokens = load<i32>(load<usize>(args, 20));
  const tileTokens = load<i32>(args, 56);
  const tiles = (tokens + tileTokens - 1) / tileTokens;
  const tasks = tiles * load<i32>(args, 24);
  for (let task = nextTask(args); task < tasks; task = nextTask(args)) {
    const tile = tiles - 1 - task % tiles; // the last first: under a causal mask they take longest
    const end = min(tokens, (tile + 1) * tileTokens);
    for (let token = tile * tileTokens; token < end;) {
      const n = similarTokens(load<usize>(args, 12), token, end);
      attendTokens(args, task / tiles, token, n, scratch(worker));
      token += n;
    }
  }
}
