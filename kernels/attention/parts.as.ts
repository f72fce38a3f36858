// attention: what a token sees, in parts.

import { MOST_PARTS } from "../constants.as";
import { mergeQuad, quadBytes } from "./quad.as";
import { attendRows } from "./rows.as";

/** Rows beyond which tokens that see different rows go through the cache separately. */
@inline const MOST_UNSHARED: i32 = 64;
/** Rows of a part, at least. */
@inline const PART_ROWS: i32 = 512;

/** Where the parts of a token begin that sees rows from `from` on: with a block of the cache. */
@inline
function partsFrom(from: i32): i32 {
  return from & -128;
}

/**
 * Rows of a part, for a token that sees rows from `from` up to `to`: more where there would be too many
 * parts. A token's results are those of its parts, each by itself, put together from the first to the
 * last, so that they depend on nothing but what it sees.
 */
function partRows(from: i32, to: i32): i32 {
  let rows = PART_ROWS;
  while (rows * MOST_PARTS < to - partsFrom(from)) rows <<= 1;
  return rows;
}

/** How many of the tokens from `token` to `end` see nearly the same rows, in the same parts. */
export function similarTokens(spans: usize, token: i32, end: i32): i32 {
  let first = i32.MAX_VALUE;
  let last = 0;
  let sharedFrom = 0;
  let sharedTo = i32.MAX_VALUE;
  for (let t = token; t < end; t++) {
    const from = load<i32>(spans + (<usize>t << 3));
    const to = load<i32>(spans + (<usize>t << 3), 4);
    if (from >= to) continue;
    const isSame = last == 0 || partsFrom(from) == partsFrom(first) &&
      partRows(from, to) == partRows(first, last);
    if (!isSame) return t - token;
    first = min(first, from);
    last = max(last, to);
    sharedFrom = max(sharedFrom, from);
    sharedTo = min(sharedTo, to);
    const unshared = last - first - max(0, sharedTo - sharedFrom);
    if (t > token && unshared > MOST_UNSHARED) return t - token;
  }
  return end - token;
}

// What the tokens at hand see: rows from `seenFrom`, the first of the first part, up to `seenTo`, in `parts`
// parts of `rowsOfPart`; one, of no rows, where they see none.
let seenFrom: i32 = 0;
let seenTo: i32 = 0;
let rowsOfPart: i32 = 0;
export let parts: i32 = 0;

/** Finds out what `tokens` similar tokens at `token` see. */
export function lookAt(spans: usize, token: i32, tokens: i32): void {
  seenFrom = i32.MAX_VALUE;
  seenTo = 0;
  for (let t = token; t < token + tokens; t++) {
    const from = load<i32>(spans + (<usize>t << 3));
    const to = load<i32>(spans + (<usize>t << 3), 4);
    if (from >= to) continue;
    seenFrom = min(seenFrom, from);
    seenTo = max(seenTo, to);
  }
  seenFrom = partsFrom(min(seenFrom, seenTo));
  rowsOfPart = partRows(seenFrom, seenTo);
  parts = max(1, (seenTo - seenFrom + rowsOfPart - 1) / rowsOfPart);
}

/** A part of what the tokens that were looked at see of one kvHead. Returns the end of its quads. */
export function attendPart(
  kvHead: i32,
  args: usize,
  token: i32,
  tokens: i32,
  part: i32,
  room: usize,
  quads: usize,
): usize {
  const row = seenFrom + part * rowsOfPart;
  return attendRows(kvHead, args, token, tokens, row, row + rowsOfPart, room, quads);
}

/** Its parts before `end`, together; there is room for as many quads at `spare`. */
export function attendParts(
  kvHead: i32,
  args: usize,
  token: i32,
  tokens: i32,
  end: i32,
  room: usize,
  quads: usize,
  spare: usize,
): usize {
  const headDim = load<i32>(args, 32);
  const quadsEnd = attendPart(kvHead, args, token, tokens, 0, room, quads);
  for (let part = 1; part < end; part++) {
    attendPart(kvHead, args, token, tokens, part, room, spare);
    let other = spare;
    for (let quad = quads; quad < quadsEnd; quad += quadBytes(headDim)) {
      mergeQuad(quad, other, headDim);
      other += quadBytes(headDim);
    }
  }
  return quadsEnd;
}
