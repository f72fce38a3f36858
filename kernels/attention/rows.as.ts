// attention: how the quads of some queries go through rows of one kvHead's cache.

import {
  CACHE_F16 as F16,
  CACHE_INT8 as INT8,
  QUAD_CHUNK as CHUNK,
} from "../constants.as";
import { adjustScores } from "./adjust.as";
import { sumBlock, sumBlockInt8 } from "./blocks.as";
import {
  LANES,
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
import { scoreLane, scoreLaneTwice, scoreQuad, sumLaneTwice, unpackHalves } from "./tile.as";
import { hideUnseen, weigh } from "./weigh.as";

/** Bytes at the start of scratch memory for two blocks of the cache as floats, or a quad's codes. */
@inline
export function roomBytes(headDim: i32): usize {
  return max(<usize>headDim << 6, 4096);
}

/** Whether there is a single query, whose loops take two blocks side by side. */
@inline
function isAlone(quads: usize, unit: usize, quadsEnd: usize): bool {
  return quads + unit == quadsEnd && load<i32>(quads, LANES) == 1;
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
  const isPair = type != INT8 && isAlone(quads, unit, quadsEnd);
  const floatBytes = <usize>headDim << 5;
  // Several quads take rows of a few kilobytes in turn.
  const rows = type != INT8 ? (isPair ? 16 : 8) : quads + unit < quadsEnd ? 128 : CHUNK;
  for (row &= -8; row < to; row += rows) {
    let block = keys + <usize>(row >> 3) * blockBytes;
    if (type == F16) {
      unpackHalves(block, room, headDim);
      if (isPair && row + 8 < to) unpackHalves(block + blockBytes, room + floatBytes, headDim);
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
      } else if (isPair && n > 8) {
        scoreLaneTwice(quad + QUERIES, block, floatBytes, headDim, scores);
      } else if (alone) {
        scoreLane(quad + QUERIES, block + (<usize>((first - row) >> 3) * floatBytes), headDim, scores);
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
  const pairsEnd = isAlone(quads, unit, quadsEnd) ? pieces & ~1 : 0;
  for (let at = row & -64; at < to; at += 64) {
    const skip = <usize>max(0, row - at);
    const n = min(64, to - at) - <i32>skip;
    let next = values + <usize>(at >> 6) * blockBytes;
    for (let piece = 0; piece < pieces; piece++) {
      let block = next;
      next += pieceBytes;
      if (type == F16) {
        unpackHalves(block + (skip << 4), room + (skip << 5), n);
        block = room;
      }
      if (piece < pairsEnd) {
        if (type == F16) unpackHalves(next + (skip << 4), room + 2048 + (skip << 5), n);
        const weights = scoresOf(quads, headDim) + (<usize>(at - chunk) << 4);
        const end = min(to, load<i32>(quads, SEEN_TO)) - at;
        const sums = sumsOf(quads, headDim) + (<usize>piece << 7);
        const from = max(row, load<i32>(quads, SEEN_FROM)) - at;
        sumLaneTwice(weights, max(from, 0), min(end, 64), block, 2048, sums);
        next += pieceBytes;
        piece++;
        continue;
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
export function attendRows(
  kvHead: i32,
  args: usize,
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
  for (let next = rowFrom + ((from - rowFrom) & -CHUNK); next < to; next += CHUNK) {
    const start = max(next, from);
    const chunk = start & -128;
    const end = min(to, next + CHUNK);
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
