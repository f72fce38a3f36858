// expertMatmulInt4, expertMatmulInt4m, expertMatmulInt8: activations in int8 (a8) times the integer
// weights of chosen experts. Pairs are grouped by expert (groups.as.ts), so that the panels of an
// expert are read from memory once for all its pairs; the inner loops are those of matmul.
//
// Rows of an expert need not begin with a panel. Then its first and last panels hold rows of its
// neighbours too, whose sums are left aside.

import { nextTask, scratch, shareStart } from "../common.as";
import { INT4_BLOCK, int4Block, INT4M_BLOCK, int4mBlock } from "../matmul/int4.as";
import { int4mTimes1, int4Times1 } from "../matmul/int4_vector.as";
import { INT8_BLOCK, int8Block } from "../matmul/int8.as";
import { int8Times1 } from "../matmul/int8_vector.as";
import { finishSums, startSums } from "../matmul/sums.as";
import { expertOf, groupPairs, pairAt, sourceAt, startOf } from "./groups.as";

const INT4: i32 = 0;
const INT4M: i32 = 1;
const INT8: i32 = 2;

/** Bytes before the blocks of a panel: flags, factor of its halves, padding. */
const PANEL_HEADER: usize = 16;
/** Bytes of a block of activations. */
const X_BLOCK: usize = 48;
/** Pairs from which work is shared in tasks; below, each worker streams one range of panels. */
const TASK_PAIRS: i32 = 12;
/** Panels of a task, two by two. */
const PANELS_PER_TASK: i32 = 4;
/** Pairs that meet a block of weights together. */
const PAIRS_AT_ONCE: i32 = 64;
/** Scratch memory: the sums [65][32] of two times two panels; activations; groups. */
const SUMS_BYTES: usize = 65 * 128;

// The step being worked on (every worker has an instance of its own).
let layout: i32 = 0;
let weight: usize = 0;
let x: usize = 0;
let out: usize = 0;
let rows: i32 = 0;
let blocks: i32 = 0;
let blockBytes: usize = 0;
/** Rows of x. */
let sources: i32 = 0;
let sums: usize = 0;
/** Activation blocks that were copied together. */
let gathered: usize = 0;
/** The row of x whose blocks are there, or −1. */
let gatheredRow: i32 = -1;

/**
 * args: weight (packed), x (a8), out (f32), chosen, rows of an expert, columns, experts, pairs that a
 * row of x belongs to, address of the number of rows of x, address of the number of pairs. Scratch:
 * see wasm.ts.
 */
export function expertMatmulInt4(args: usize, worker: i32, workers: i32): void {
  expertMatmulInteger(args, worker, workers, INT4, INT4_BLOCK);
}

/** args and scratch as `expertMatmulInt4`. */
export function expertMatmulInt4m(args: usize, worker: i32, workers: i32): void {
  expertMatmulInteger(args, worker, workers, INT4M, INT4M_BLOCK);
}

/** args and scratch as `expertMatmulInt4`. */
export function expertMatmulInt8(args: usize, worker: i32, workers: i32): void {
  expertMatmulInteger(args, worker, workers, INT8, INT8_BLOCK);
}

function expertMatmulInteger(
  args: usize,
  worker: i32,
  workers: i32,
  layoutOfWeight: i32,
  bytesOfBlock: usize,
): void {
  layout = layoutOfWeight;
  blockBytes = bytesOfBlock;
  weight = load<usize>(args);
  x = load<usize>(args, 4);
  out = load<usize>(args, 8);
  rows = load<i32>(args, 16);
  blocks = (load<i32>(args, 20) + 31) >> 5;
  sources = load<i32>(load<usize>(args, 32));
  const pairs = load<i32>(load<usize>(args, 36));
  sums = scratch(worker);
  gathered = sums + 2 * SUMS_BYTES;
  gatheredRow = -1;
  const lists = gathered + <usize> max(blocks, PAIRS_AT_ONCE) * X_BLOCK;
  const groups = groupPairs(
    load<usize>(args, 12),
    pairs,
    load<i32>(args, 28),
    load<i32>(args, 24),
    lists,
  );
  const each = (panelsOf(rows) + PANELS_PER_TASK - 1) / PANELS_PER_TASK;
  if (pairs < TASK_PAIRS) {
    const end = shareStart(groups * each, worker + 1, workers);
    for (let i = shareStart(groups * each, worker, workers); i < end; i++) work(i / each, i % each);
    return;
  }
  let task = nextTask(args);
  while (task < groups * each) {
    work(task / each, task % each);
    task = nextTask(args);
  }
}

/** The most panels that `count` successive rows can touch. */
function panelsOf(count: i32): i32 {
  return count & 15 ? ((count + 14) >> 4) + 1 : count >> 4;
}

/** A task: some panels of a group's expert times all pairs of the group. */
function work(group: i32, part: i32): void {
  const expert = expertOf(group);
  const firstRow = expert * rows;
  const end = startOf(expert + 1);
  let first = startOf(expert);
  const p = (firstRow >> 4) + part * PANELS_PER_TASK;
  const last = min(p + PANELS_PER_TASK - 1, (firstRow + rows - 1) >> 4);
  if (end - first == 1) {
    for (let q = p; q <= last; q++) panelTimesPair(q, firstRow, first);
    return;
  }
  for (; first < end; first += PAIRS_AT_ONCE) {
    panelsTimesPairs(p, last, firstRow, first, min(end - first, PAIRS_AT_ONCE));
  }
}

function panelAt(p: i32): usize {
  return weight + <usize> p * (PANEL_HEADER + <usize> blocks * blockBytes);
}

/** One panel times the pair at `place`. */
function panelTimesPair(p: i32, firstRow: i32, place: i32): void {
  const panel = panelAt(p);
  if (load<i32>(panel)) { // Inf or NaN among the scales
    panelsTimesPairs(p, p, firstRow, place, 1);
    return;
  }
  const source = sourceAt(place);
  if (source != gatheredRow) {
    for (let b = 0; b < blocks; b++) copyBlock(source, b, gathered + <usize> b * X_BLOCK);
    gatheredRow = source;
  }
  startSums(sums, 1, 16, 0, 0);
  if (layout == INT4) int4Times1(panel, gathered, blocks, sums);
  else if (layout == INT4M) int4mTimes1(panel, gathered, blocks, sums);
  else int8Times1(panel, gathered, blocks, sums);
  finish(p, p, firstRow, place, 1, 16, sums);
}

/** Panels `p` to `last`, at most four, times the `count` pairs from `place` on. */
function panelsTimesPairs(p: i32, last: i32, firstRow: i32, place: i32, count: i32): void {
  gatheredRow = -1;
  for (let q = p, y = sums; q <= last; q += 2, y += SUMS_BYTES) startSums(y, count, 32, 0, 0);
  for (let b = 0; b < blocks; b++) {
    for (let i = 0; i < count; i++) {
      copyBlock(sourceAt(place + i), b, gathered + <usize> i * X_BLOCK);
    }
    for (let q = p, y = sums; q <= last; q += 2, y += SUMS_BYTES) {
      blocksTimesPairs(q, min(q + 1, last), b, count, y);
    }
  }
  for (let q = p, y = sums; q <= last; q += 2, y += SUMS_BYTES) {
    finish(q, min(q + 1, last), firstRow, place, count, 32, y);
  }
}

/** Adds block `b` of panel p, and of q unless it is the same, times the gathered pairs to `y`. */
function blocksTimesPairs(p: i32, q: i32, b: i32, count: i32, y: usize): void {
  const offset = PANEL_HEADER + <usize> b * blockBytes;
  const w = panelAt(p);
  const u = panelAt(q);
  const wFactor = load<f32>(w, 4);
  const uFactor = load<f32>(u, 4);
  if (layout == INT4) int4Block(w + offset, u + offset, gathered, count, y, wFactor, uFactor);
  else if (layout == INT4M) {
    int4mBlock(w + offset, u + offset, gathered, count, y, wFactor, uFactor);
  } else {
    int8Block(w + offset, gathered, count, y, wFactor);
    if (p != q) int8Block(u + offset, gathered, count, y + 64, uFactor);
  }
}

/** Writes the sums of panels p and q, as far as their rows are the expert's. */
function finish(
  p: i32,
  q: i32,
  firstRow: i32,
  place: i32,
  count: i32,
  width: i32,
  y: usize,
): void {
  const start = max(firstRow, p << 4);
  const valid = min(firstRow + rows, (q << 4) + 16) - start;
  let from = y + (<usize> (start - (p << 4)) << 2);
  const to = out + (<usize> (start - firstRow) << 2);
  for (let i = 0; i < count; i++) {
    finishSums(from, 1, width, to + ((<usize> pairAt(place + i) * rows) << 2), 0, valid);
    from += <usize> width << 2;
  }
}

/** Copies block `b` of a row of x. */
@inline
function copyBlock(row: i32, b: i32, to: usize): void {
  const from = x + <usize> (b * sources + row) * X_BLOCK;
  v128.store(to, v128.load(from));
  v128.store(to, v128.load(from, 16), 16);
  v128.store(to, v128.load(from, 32), 32);
}
