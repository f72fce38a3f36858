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
// What a token sees goes by in parts (as in Flash-Decoding), whose borders depend on nothing else: a
// token's results are the same whichever tokens run with it, on however many workers. Where tasks are
// few, as for one token, workers share the parts of all kvHeads instead, and what several of them saw
// of one kvHead is put together in the end.
//
// Rows that a query does not see may hold anything, NaN included. Their scores are replaced before
// use, and their values are never multiplied: rows that all lanes see are summed for the quad, others
// row by row for those lanes that do. (Codes of int8 are always numbers, and may be multiplied by 0.)

import { barrier } from "../barrier.as";
import { nextTask, scratch, shareStart } from "../common.as";
import { closeQuad } from "./close_quad.as";
import { attendPart, attendParts, lookAt, parts, similarTokens } from "./parts.as";
import { mergeQuad, quadBytes } from "./quad.as";
import { roomBytes } from "./rows.as";

/** Tasks for each worker from which on they need not be divided. */
@inline const ENOUGH_TASKS: i32 = 4;

/** A tile from `token` up to `end`, for one kvHead, by one worker. */
function attendTile(
  args: usize,
  kvHead: i32,
  token: i32,
  end: i32,
  setBytes: usize,
  room: usize,
): void {
  const headDim = load<i32>(args, 32);
  const quads = room + roomBytes(headDim);
  while (token < end) {
    const n = similarTokens(load<usize>(args, 12), token, end);
    lookAt(load<usize>(args, 12), token, n);
    const quadsEnd = attendParts(kvHead, args, token, n, parts, room, quads, quads + setBytes);
    for (let quad = quads; quad < quadsEnd; quad += quadBytes(headDim)) closeQuad(quad, args, headDim);
    token += n;
  }
}

/**
 * `tokens` similar tokens at `token`, by all workers. The parts of all kvHeads are one line, of which
 * each worker has a share. What it has of its first kvHead, where others have the beginning, stays part
 * by part in sets of quads from the third on; the rest is put together in the first, with the second
 * as room.
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
  lookAt(load<usize>(args, 12), token, tokens);
  const line = parts * kvHeads;
  const end = shareStart(line, worker + 1, workers);
  const room = scratch(worker);
  const set = room + roomBytes(headDim);
  for (let at = shareStart(line, worker, workers); at < end;) {
    const kvHead = at / parts;
    const first = at - kvHead * parts;
    const stop = min(end - kvHead * parts, parts);
    if (first > 0) {
      for (let part = first; part < stop; part++) {
        const kept = set + <usize>(part - first + 2) * setBytes;
        attendPart(kvHead, args, token, tokens, part, room, kept);
      }
    } else {
      const quadsEnd = attendParts(kvHead, args, token, tokens, stop, room, set, set + setBytes);
      if (stop == parts) {
        for (let quad = set; quad < quadsEnd; quad += unit) closeQuad(quad, args, headDim);
      }
    }
    at = kvHead * parts + stop;
  }

  let divided = false;
  for (let w = 1; w < workers; w++) divided = divided || shareStart(line, w, workers) % parts != 0;
  if (!divided) return;
  barrier(workers);
  const quads = (tokens * load<i32>(args, 28) + 3) >> 2;
  for (let first = 0; first < workers;) {
    // Workers from `first` to `last` have parts of one kvHead, the first of them its beginning.
    const start = shareStart(line, first, workers);
    const stop = shareStart(line, first + 1, workers);
    const kvHead = (stop - 1) / parts;
    let last = first;
    while (start < stop && shareStart(line, last + 1, workers) < (kvHead + 1) * parts) last++;
    if (last == first) {
      first++;
      continue;
    }
    for (let i = (worker + kvHead) % workers; i < quads; i += workers) {
      const offset = roomBytes(headDim) + <usize>i * unit;
      const quad = scratch(first) + offset;
      for (let w = first + 1; w <= last; w++) {
        const kept = min(shareStart(line, w + 1, workers), (kvHead + 1) * parts) -
          shareStart(line, w, workers);
        let other = scratch(w) + offset + (setBytes << 1);
        for (let part = 0; part < kept; part++) {
          mergeQuad(quad, other, headDim);
          other += setBytes;
        }
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
  const quads = (tileTokens * load<i32>(args, 28) + 3) >> 2;
  const setBytes = <usize>quads * quadBytes(load<i32>(args, 32));
  if (workers > 1 && tasks < ENOUGH_TASKS * workers) {
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
    const end = min(tokens, token + tileTokens);
    attendTile(args, task / tiles, token, end, setBytes, scratch(worker));
  }
}
