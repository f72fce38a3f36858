// expertMatmulInt4, expertMatmulInt8 and their like: activations in int8 (a8) times the integer
// weights of chosen experts. Pairs are grouped by expert (groups.as.ts), so that the panels of an
// expert are read from memory once for all its pairs; the inner loops are those of matmul.
//
// Rows of an expert need not begin with a panel. Then its first and last panels hold rows of its
// neighbours too, whose sums are left aside.

import { nextTask, scratch, shareStart } from "../common.as";
import {
  ACTIVATION_BLOCK as X_BLOCK,
  INT4,
  INT4K,
  INT4M,
  INT4N,
  INT5,
  INT5K,
  INT5M,
  INT6K,
  INT8,
  INT8_BLOCK,
} from "../constants.as";
import {
  blockTimesTokens,
  fourPanelsTimesToken,
  panelBytes,
  panelTimesToken,
  useSpare,
} from "../matmul/panels.as";
import { finishSums, startSums } from "../matmul/sums.as";
import {
  firstPanel,
  nextPanels,
  panelCount,
  panelDistance,
  startPanels,
} from "../matmul/token_panels.as";
import { clearDropped, expertOf, groupPairs, pairAt, sourceAt, startOf } from "./groups.as";

/** Pairs from which work is shared in tasks; below, each worker streams one range of panels. */
const TASK_PAIRS: i32 = 12;
/** Panels of a task, two by two. */
const PANELS_PER_TASK: i32 = 4;
/** Pairs that meet a block of weights together. */
const PAIRS_AT_ONCE: i32 = 64;
/** Scratch memory: the sums [65][32] of two times two panels; a block of int8; activations; groups. */
const SUMS_BYTES: usize = 65 * 128;

// The step being worked on (every worker has an instance of its own).
let layout: i32 = 0;
let weight: usize = 0;
let x: usize = 0;
let out: usize = 0;
let rows: i32 = 0;
let blocks: i32 = 0;
let stride: usize = 0; // bytes of a panel
/** Rows of x. */
let sources: i32 = 0;
let sums: usize = 0;
/** Activation blocks that were copied together. */
let gathered: usize = 0;

/**
 * args: weight (packed), x (a8), out (f32), chosen or 0, rows of an expert, columns, experts, pairs
 * that a row of x belongs to, address of the number of rows of x, address of the number of rows of the
 * result, pairs of each of these. Scratch: see wasm.ts.
 */
export function expertMatmulInt4(args: usize, worker: i32, workers: i32): void {
  expertMatmulInteger(args, worker, workers, INT4);
}

/** args and scratch as `expertMatmulInt4`. */
export function expertMatmulInt4m(args: usize, worker: i32, workers: i32): void {
  expertMatmulInteger(args, worker, workers, INT4M);
}

/** args and scratch as `expertMatmulInt4`. */
export function expertMatmulInt8(args: usize, worker: i32, workers: i32): void {
  expertMatmulInteger(args, worker, workers, INT8);
}

/** args and scratch as `expertMatmulInt4`. */
export function expertMatmulInt4n(args: usize, worker: i32, workers: i32): void {
  expertMatmulInteger(args, worker, workers, INT4N);
}

/** args and scratch as `expertMatmulInt4`. */
export function expertMatmulInt5(args: usize, worker: i32, workers: i32): void {
  expertMatmulInteger(args, worker, workers, INT5);
}

/** args and scratch as `expertMatmulInt4`. */
export function expertMatmulInt5m(args: usize, worker: i32, workers: i32): void {
  expertMatmulInteger(args, worker, workers, INT5M);
}

/** args and scratch as `expertMatmulInt4`. */
export function expertMatmulInt4k(args: usize, worker: i32, workers: i32): void {
  expertMatmulInteger(args, worker, workers, INT4K);
}

/** args and scratch as `expertMatmulInt4`. */
export function expertMatmulInt5k(args: usize, worker: i32, workers: i32): void {
  expertMatmulInteger(args, worker, workers, INT5K);
}

/** args and scratch as `expertMatmulInt4`. */
export function expertMatmulInt6k(args: usize, worker: i32, workers: i32): void {
  expertMatmulInteger(args, worker, workers, INT6K);
}

function expertMatmulInteger(args: usize, worker: i32, workers: i32, layoutOfWeight: i32): void {
  layout = layoutOfWeight;
  weight = load<usize>(args);
  x = load<usize>(args, 4);
  out = load<usize>(args, 8);
  rows = load<i32>(args, 16);
  blocks = (load<i32>(args, 20) + 31) >> 5;
  stride = panelBytes(layout, blocks);
  sources = load<i32>(load<usize>(args, 32));
  const pairs = load<i32>(load<usize>(args, 36)) * load<i32>(args, 40);
  sums = scratch(worker);
  useSpare(sums + 2 * SUMS_BYTES);
  gathered = sums + 2 * SUMS_BYTES + INT8_BLOCK;
  const lists = gathered + <usize> max(blocks, PAIRS_AT_ONCE) * X_BLOCK;
  const groups = groupPairs(
    load<usize>(args, 12),
    pairs,
    load<i32>(args, 28),
    load<i32>(args, 24),
    lists,
  );
  clearDropped(load<usize>(args, 12), pairs, out, rows, worker, workers);
  // The most panels that successive rows can touch.
  const panels = rows & 15 ? ((rows + 14) >> 4) + 1 : rows >> 4;
  if (pairs < TASK_PAIRS) {
    const end = shareStart(groups * panels, worker + 1, workers);
    for (let at = shareStart(groups * panels, worker, workers); at < end;) {
      const first = at - at % panels;
      multiply(at / panels, at - first, min(end - first, panels));
      at = first + panels;
    }
    return;
  }
  const each = (panels + PANELS_PER_TASK - 1) / PANELS_PER_TASK;
  let task = nextTask(args);
  while (task < groups * each) {
    const first = task % each * PANELS_PER_TASK;
    multiply(task / each, first, first + PANELS_PER_TASK);
    task = nextTask(args);
  }
}

/** Panels `first` … `last − 1`, counted from its first, of a group's expert times all its pairs. */
function multiply(group: i32, first: i32, last: i32): void {
  const expert = expertOf(group);
  const firstRow = expert * rows;
  const place = startOf(expert);
  const count = startOf(expert + 1) - place;
  let p = (firstRow >> 4) + first;
  const end = min((firstRow >> 4) + last, ((firstRow + rows - 1) >> 4) + 1);
  if (p >= end) return;
  if (count == 1) {
    const source = sourceAt(place);
    for (let b = 0; b < blocks; b++) copyBlock(source, b, gathered + <usize> b * X_BLOCK);
    startPanels(p, end);
    while (nextPanels()) {
      panelsTimesPair(firstPanel, panelDistance, panelCount, firstRow, place);
    }
    return;
  }
  for (; p < end; p += PANELS_PER_TASK) {
    const q = min(p + PANELS_PER_TASK, end) - 1;
    for (let i = 0; i < count; i += PAIRS_AT_ONCE) {
      panelsTimesPairs(p, q, firstRow, place + i, min(count - i, PAIRS_AT_ONCE));
    }
  }
}

function panelAt(p: i32): usize {
  return weight + <usize> p * stride;
}

/** `count` panels, 1 or 4, from p on at the given distance, times the pair whose blocks are gathered. */
function panelsTimesPair(p: i32, distance: i32, count: i32, firstRow: i32, place: i32): void {
  const panel = panelAt(p);
  const bytes = panelAt(p + distance) - panel;
  let special = 0;
  for (let i = 0; i < count; i++) special |= load<i32>(panel + <usize> i * bytes);
  if (special) { // Inf or NaN among the scales
    for (let i = 0; i < count; i++) blocksTimesPair(p + i * distance, firstRow, place);
    return;
  }
  for (let i = 0; i < count; i++) startSums(sums + (i << 6), 0, 16, 0, 0);
  if (count == 1) panelTimesToken(layout, panel, gathered, blocks, sums);
  else fourPanelsTimesToken(layout, panel, bytes, gathered, blocks, sums);
  for (let i = 0; i < count; i++) {
    const q = p + i * distance;
    finish(q, q, firstRow, place, 1, 16, sums + (i << 6));
  }
}

/** One panel times that pair, whatever the scales are. */
function blocksTimesPair(p: i32, firstRow: i32, place: i32): void {
  startSums(sums, 1, 32, 0, 0);
  for (let b = 0; b < blocks; b++) {
    blocksTimesPairs(p, p, b, gathered + <usize> b * X_BLOCK, 1, sums);
  }
  finish(p, p, firstRow, place, 1, 32, sums);
}

/** Panels `p` to `last`, at most four, times the `count` pairs from `place` on. */
function panelsTimesPairs(p: i32, last: i32, firstRow: i32, place: i32, count: i32): void {
  for (let q = p, y = sums; q <= last; q += 2, y += SUMS_BYTES) startSums(y, count, 32, 0, 0);
  for (let b = 0; b < blocks; b++) {
    for (let i = 0; i < count; i++) {
      copyBlock(sourceAt(place + i), b, gathered + <usize> i * X_BLOCK);
    }
    for (let q = p, y = sums; q <= last; q += 2, y += SUMS_BYTES) {
      blocksTimesPairs(q, min(q + 1, last), b, gathered, count, y);
    }
  }
  for (let q = p, y = sums; q <= last; q += 2, y += SUMS_BYTES) {
    finish(q, min(q + 1, last), firstRow, place, count, 32, y);
  }
}

/** Adds block `b` of panel p, and of q unless it is the same, times `count` blocks at `xs` to `y`. */
function blocksTimesPairs(p: i32, q: i32, b: i32, xs: usize, count: i32, y: usize): void {
  blockTimesTokens(layout, panelAt(p), b, xs, count, y);
  if (p != q) blockTimesTokens(layout, panelAt(q), b, xs, count, y + 64);
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
