// attention; cache_store/layout.ts describes the caches. Arguments:
//   q, keys, values, spans, out, address of the token count, kvHeads, query heads per kvHead,
//   headDim, scale, bytes of one kvHead's keys, of its values, type of the keys, of the values,
//   tokens per tile; bias or 0, rows or 0, columns of a table of biases, the one of the distance 0,
//   numbers of bias for a token (0 where shared), sinks or 0, cap of the scores or 0 (adjust.as.ts)
//
// A task is one kvHead for one tile of successive tokens; workers take tasks as they finish. All
// queries of a task (tokens × query heads) go through the cache together, four at a time (a quad,
// one query per lane), so that a block of the cache is read from memory once per task. Rows are
// taken in chunks: the chunk's scores, their exponentials relative to the greatest score so far,
// the weighted sum of the values (online softmax, arXiv:1805.02867; in tiles, arXiv:2205.14135).
//
// Where tasks are few, as for one token, workers share all rows of all kvHeads evenly instead, and
// what several of them saw of one kvHead is put together in the end (as in Flash-Decoding).
//
// Rows that a query does not see may hold anything, NaN included. Their scores are replaced before
// use, and their values are never multiplied: rows that all lanes see are summed for the quad, others
// lane by lane. (Codes of int8 are always numbers, and may be multiplied by 0.)

import { barrier } from "../barrier.as";
import { nextTask, scratch, shareStart } from "../common.as";
import {
  CACHE_F16 as F16,
  CACHE_INT8 as INT8,
  QUAD_CHUNK as CHUNK,
  WHOLE_HEADS,
} from "../constants.as";
import { adjustScores } from "./adjust.as";
import { sumBlock, sumBlockInt8 } from "./blocks.as";
import { closeQuad } from "./close_quad.as";
import {
  LANES,
  mergeQuad,
  openQuad,
  quadBytes,
  QUERIES,
  scoresOf,
  SEEN_FROM,
  SEEN_TO,
  SHARED_FROM,
  SHARED_TO,
  stepsOf,
  sumsOf,
} from "./quad.as";
import { KEY_SCALE_BYTES, scoreLaneInt8, scoreQuadInt8 } from "./scores_int8.as";
import { VALUE_GROUP_BYTES, VALUE_SCALE_BYTES } from "./sums_int8.as";
import { scoreLane, scoreQuad, unpackHalves } from "./tile.as";
import { hideUnseen, weigh } from "./weigh.as";

/** Rows beyond which tokens that see different rows go through the cache separately. */
@inline const MOST_UNSHARED: i32 = 64;
/** Tasks for each worker from which on they need not be divided. */
@inline const ENOUGH_TASKS: i32 = 4;

/** Bytes at the start of scratch memory for a block of the cache as floats, or a quad's codes. */
@inline
function roomBytes(headDim: i32): usize {
  return max(<usize>headDim << 5, 2048);
}

/** Bytes of a block of eight keys. */
@inline
function keyBlockBytes(type: i32, headDim: i32): usize {
  if (type == INT8) {
    const groups = <usize>((headDim + 31) >> 5);
    return (<usize>((headDim + 1) >> 1) << 4) + groups * KEY_SCALE_BYTES;
  }
  return <usize>headDim << (type == F16 ? 4 : 5);
}

/** Bytes of a block of values: 64 of them, or 128 in int8. */
@inline
function valueBlockBytes(type: i32, headDim: i32): usize {
  if (type == INT8) {
    return (<usize>((headDim + 1) >> 1) << 8) + <usize>((headDim + 31) >> 5) * VALUE_SCALE_BYTES;
  }
  return <usize>((headDim + 7) >> 3) << (type == F16 ? 10 : 11);
}

/** The rows from `row` up to `to`, at most CHUNK, of one kvHead's keys: the scores of all quads. */
function scoreRows(
  args: usize,
  keys: usize,
  row: i32,
  to: i32,
  room: usize,
  quads: usize,
  quadsEnd: usize,
): void {
  const headDim = load<i32>(args, 32);
  const type = load<i32>(args, 48);
  const blockBytes = keyBlockBytes(type, headDim);
  const unit = quadBytes(headDim);
  const chunk = row & -128;
  // Several quads take rows of a few kilobytes in turn.
  const rows = type != INT8 ? 8 : quads + unit < quadsEnd ? 128 : CHUNK;
  for (row &= -8; row < to; row += rows) {
    let block = keys + <usize>(row >> 3) * blockBytes;
    if (type == F16) {
      unpackHalves(block, room, headDim);
      block = room;
    }
    for (let quad = quads; quad < quadsEnd; quad += unit) {
      const first = max(row, load<i32>(quad, SEEN_FROM) & -8);
      const n = min(min(row + rows, to), load<i32>(quad, SEEN_TO)) - first;
      if (n <= 0) continue;
      const scores = scoresOf(quad, headDim) + (<usize>(first - chunk) << 4);
      const alone = load<i32>(quad, LANES) == 1;
      if (type == INT8) {
        const steps = stepsOf(quad, headDim);
        const from = block + <usize>((first - row) >> 3) * blockBytes;
        const blocks = (n + 7) >> 3;
        if (alone) {
          scoreLaneInt8(quad + QUERIES, steps, from, headDim, blocks, blockBytes, scores);
        } else {
          scoreQuadInt8(quad + QUERIES, steps, from, headDim, blocks, blockBytes, scores);
        }
      } else if (alone) {
        scoreLane(quad + QUERIES, block, headDim, scores);
      } else {
        scoreQuad(quad + QUERIES, block, headDim, scores);
      }
    }
  }
}

/** Hides what a quad does not see of its scores of the rows from `first` up to `end` of a chunk. */
function hideEnds(quad: usize, headDim: i32, chunk: i32, first: i32, end: i32): void {
  const scores = scoresOf(quad, headDim) - (<usize>chunk << 4);
  first &= -8;
  end = (end + 7) & -8;
  const sharedFrom = min(max((load<i32>(quad, SHARED_FROM) + 7) & -8, first), end);
  const sharedTo = min(max(load<i32>(quad, SHARED_TO) & -8, sharedFrom), end);
  hideUnseen(quad, scores + (<usize>first << 4), first, (sharedFrom - first) >> 3);
  hideUnseen(quad, scores + (<usize>sharedTo << 4), sharedTo, (end - sharedTo) >> 3);
}

/** The rows from `row` up to `to` of one kvHead's values, with weights, in the sums of all quads. */
function sumRows(
  args: usize,
  values: usize,
  row: i32,
  to: i32,
  room: usize,
  quads: usize,
  quadsEnd: usize,
): void {
  const headDim = load<i32>(args, 32);
  const type = load<i32>(args, 52);
  const blockBytes = valueBlockBytes(type, headDim);
  const unit = quadBytes(headDim);
  const pieces = (headDim + 7) >> 3;
  const pieceBytes = <usize>(type == F16 ? 1024 : 2048);
  const chunk = row & -128;
  for (let at = row & -64; at < to; at += 64) {
    const skip = <usize>max(0, row - at);
    let next = values + <usize>(at >> 6) * blockBytes;
    for (let piece = 0; piece < pieces; piece++) {
      let block = next;
      next += pieceBytes;
      if (type == F16) {
        unpackHalves(block + (skip << 4), room + (skip << 5), min(64, to - at) - <i32>skip);
        block = room;
      }
      for (let quad = quads; quad < quadsEnd; quad += unit) {
        if (at >= load<i32>(quad, SEEN_TO) || at + 64 <= load<i32>(quad, SEEN_FROM)) continue;
        const weights = scoresOf(quad, headDim) + (<usize>(at - chunk) << 4);
        sumBlock(quad, weights, block, at, sumsOf(quad, headDim) + (<usize>piece << 7));
      }
    }
  }
}

/** As `sumRows` for values of int8, with scores. */
function sumRowsInt8(
  args: usize,
  values: usize,
  row: i32,
  to: i32,
  room: usize,
  quads: usize,
  quadsEnd: usize,
): void {
  const headDim = load<i32>(args, 32);
  const blockBytes = valueBlockBytes(INT8, headDim);
  const unit = quadBytes(headDim);
  const chunk = row & -128;
  for (let at = chunk; at < to; at += 128) {
    const block = values + <usize>(at >> 7) * blockBytes;
    for (let quad = quads; quad < quadsEnd; quad += unit) {
      const first = max(max(row, at), load<i32>(quad, SEEN_FROM)) & -8;
      const n = (min(min(at + 128, to), load<i32>(quad, SEEN_TO)) - first + 7) & -8;
      if (n <= 0) continue;
      const weights = scoresOf(quad, headDim) + (<usize>(at - chunk) << 4);
      const start = <usize>(first - at) << 4;
      const end = start + (<usize>n << 4);
      const factors = weigh(quad, weights + start, n >> 3, headDim, true);
      if (start > 0) memory.fill(weights, 0, start);
      if (end < 2048) memory.fill(weights + end, 0, 2048 - end);
      let sums = sumsOf(quad, headDim);
      let group = block;
      for (let left = headDim; left > 0; left -= 32) {
        const pairs = (min(left, 32) + 1) >> 1;
        sumBlockInt8(quad, weights, factors, group, at, pairs, room, sums);
        group += VALUE_GROUP_BYTES;
        sums += 512;
      }
    }
  }
}

/**
 * Goes with the queries of `tokens` tokens at `token` through those rows of one kvHead that they
 * see, from `rowFrom` up to `rowTo`. Returns the end of the quads, which begin at `quads`.
 */
function attendRows(
  args: usize,
  kvHead: i32,
  token: i32,
  tokens: i32,
  rowFrom: i32,
  rowTo: i32,
  room: usize,
  quads: usize,
): usize {
  const headDim = load<i32>(args, 32);
  const queries = tokens * load<i32>(args, 28);
  const unit = quadBytes(headDim);
  const keys = load<usize>(args, 4) + <usize>kvHead * load<usize>(args, 40);
  const values = load<usize>(args, 8) + <usize>kvHead * load<usize>(args, 44);

  let from = i32.MAX_VALUE;
  let to = 0;
  let quadsEnd = quads;
  for (let query = 0; query < queries; query += 4) {
    openQuad(quadsEnd, args, kvHead, token, query, queries, rowFrom, rowTo);
    from = min(from, load<i32>(quadsEnd, SEEN_FROM));
    to = max(to, load<i32>(quadsEnd, SEEN_TO));
    quadsEnd += unit;
  }
  const isInt8 = load<i32>(args, 52) == INT8;
  const isAdjusted = load<usize>(args, 60) != 0 || load<f32>(args, 84) != 0;
  // The scores of several quads together are to stay in the nearest cache.
  const rows = queries > 4 ? CHUNK >> 1 : CHUNK;
  for (let chunk = from & -128; chunk < to; chunk += rows) {
    const start = max(chunk, from);
    const end = min(to, chunk + rows);
    scoreRows(args, keys, start, end, room, quads, quadsEnd);
    for (let quad = quads; quad < quadsEnd; quad += unit) {
      const first = max(start, load<i32>(quad, SEEN_FROM)) & -8;
      const n = min(end, load<i32>(quad, SEEN_TO)) - first;
      if (n <= 0) continue;
      const scores = scoresOf(quad, headDim) + (<usize>(first - chunk) << 4);
      if (isAdjusted) adjustScores(quad, args, scores, first, (n + 7) >> 3);
      hideEnds(quad, headDim, chunk, first, first + n);
      if (!isInt8) weigh(quad, scores, (n + 7) >> 3, headDim, false);
    }
    if (isInt8) sumRowsInt8(args, values, start, end, room, quads, quadsEnd);
    else sumRows(args, values, start, end, room, quads, quadsEnd);
  }
  return quadsEnd;
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

/** A tile from `token` up to `end`, for one kvHead, by one worker. */
function attendTile(args: usize, kvHead: i32, token: i32, end: i32, room: usize): void {
  const headDim = load<i32>(args, 32);
  const quads = room + roomBytes(headDim);
  while (token < end) {
    const n = similarTokens(load<usize>(args, 12), token, end);
    const quadsEnd = attendRows(args, kvHead, token, n, 0, i32.MAX_VALUE, room, quads);
    for (let quad = quads; quad < quadsEnd; quad += quadBytes(headDim)) closeQuad(quad, args, headDim);
    token += n;
  }
}

/**
 * `tokens` similar tokens at `token`, by all workers. The blocks of 128 rows of all kvHeads are one
 * line, of which each worker has a share: what it has of its first kvHead is in its first set of
 * quads, of the others in its second.
 */
function attendTogether(
  args: usize,
  token: i32,
  tokens: i32,
  setBytes: usize,
  worker: i32,
  workers: i32,
): void {
  const headDim = load<i32>(args, 32);
  const kvHeads = load<i32>(args, 24);
  const unit = quadBytes(headDim);
  const spans = load<usize>(args, 12);
  let from = i32.MAX_VALUE;
  let to = 0;
  for (let t = token; t < token + tokens; t++) {
    const first = load<i32>(spans + (<usize>t << 3));
    const end = load<i32>(spans + (<usize>t << 3), 4);
    if (first < end) {
      from = min(from, first);
      to = max(to, end);
    }
  }
  from = min(from, to) & -128;
  const blocks = max(1, (to - from + 127) >> 7);
  const line = blocks * kvHeads;
  const end = shareStart(line, worker + 1, workers);
  const room = scratch(worker);
  let set = room + roomBytes(headDim);
  for (let at = shareStart(line, worker, workers); at < end;) {
    const kvHead = at / blocks;
    const stop = min(end, (kvHead + 1) * blocks);
    const rowFrom = from + ((at - kvHead * blocks) << 7);
    const rowTo = from + ((stop - kvHead * blocks) << 7);
    const quadsEnd = attendRows(args, kvHead, token, tokens, rowFrom, rowTo, room, set);
    if (stop - at == blocks) {
      for (let quad = set; quad < quadsEnd; quad += unit) closeQuad(quad, args, headDim);
    }
    set = room + roomBytes(headDim) + setBytes;
    at = stop;
  }

  let divided = false;
  for (let w = 1; w < workers; w++) divided = divided || shareStart(line, w, workers) % blocks != 0;
  if (!divided) return;
  barrier(workers);
  const quads = (tokens * load<i32>(args, 28) + 3) >> 2;
  for (let first = 0; first < workers;) {
    // Workers from `first` to `last` have parts of one kvHead, the first of them its beginning.
    const start = shareStart(line, first, workers);
    const stop = shareStart(line, first + 1, workers);
    const kvHead = (stop - 1) / blocks;
    let last = first;
    while (start < stop && shareStart(line, last + 1, workers) < (kvHead + 1) * blocks) last++;
    if (last == first) {
      first++;
      continue;
    }
    const offset = roomBytes(headDim) + (start < kvHead * blocks ? setBytes : 0);
    for (let i = (worker + kvHead) % workers; i < quads; i += workers) {
      const quad = scratch(first) + offset + <usize>i * unit;
      for (let w = first + 1; w <= last; w++) {
        if (shareStart(line, w, workers) == shareStart(line, w + 1, workers)) continue;
        mergeQuad(quad, scratch(w) + roomBytes(headDim) + <usize>i * unit, headDim);
      }
      closeQuad(quad, args, headDim);
    }
    first = last;
  }
  barrier(workers); // before scratch memory is used again
}

export function attention(args: usize, worker: i32, workers: i32): void {
  const tokens = load<i32>(load<usize>(args, 20));
  const tileTokens = load<i32>(args, 56);
  const kvHeads = load<i32>(args, 24);
  const tiles = (tokens + tileTokens - 1) / tileTokens;
  const tasks = tiles * kvHeads;
  if (workers > 1 && tasks < ENOUGH_TASKS * workers && !load<i32>(WHOLE_HEADS)) {
    const quads = (tileTokens * load<i32>(args, 28) + 3) >> 2;
    const setBytes = <usize>quads * quadBytes(load<i32>(args, 32));
    for (let token = 0; token < tokens;) {
      const end = min(tokens, token + tileTokens);
      const n = similarTokens(load<usize>(args, 12), token, end);
      attendTogether(args, token, n, setBytes, worker, workers);
      token += n;
    }
    return;
  }
  for (let task = nextTask(args); task < tasks; task = nextTask(args)) {
    const tile = tiles - 1 - task % tiles; // the last first: under a causal mask they take longest
    const token = tile * tileTokens;
    attendTile(args, task / tiles, token, min(tokens, token + tileTokens), scratch(worker));
  }
}
