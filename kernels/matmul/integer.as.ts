// matmulInt4, matmulInt4m, matmulInt8: activations in int8 (a8) times integer weights.
// The order of work over panels (16 rows), k and tokens; the inner loops are in int4.as.ts and
// int8.as.ts, the packed layouts in kernels/pack/layouts.ts.
//
// One token: every worker streams its share of the panels once, straight from packed blocks.
// More: a chunk of a panel is unpacked to scratch memory, where it stays in the L1 cache while all
// tokens of the task pass over it, four at a time.

import { nextTask, scratch, shareStart } from "../common.as";
import {
  INT4_BLOCK,
  int4Times1,
  int4Times2,
  int4Times4,
  int4Unpack,
  INT4M_BLOCK,
  int4mTimes1,
  int4mTimes2,
  int4mTimes4,
  int4mUnpack,
} from "./int4.as";
import { INT8_BLOCK, int8Times1, int8Times2, int8Times4, int8Unpack } from "./int8.as";
import { finishPanel, startSums } from "./panel.as";

const INT4: i32 = 0;
const INT4M: i32 = 1;
const INT8: i32 = 2;

/** Bytes before the blocks of a panel: flags, factor of its halves, padding. */
const PANEL_HEADER: usize = 16;
/** Tokens from which work is shared in tasks; below, each worker streams one range of panels. */
const TASK_TOKENS: i32 = 12;
/** Most tokens of a task. */
const TOKENS_PER_TASK: i32 = 128;
/** Panels of a task. */
const PANELS_PER_TASK: i32 = 2;
/** Scratch memory: sums [tokens + 1][16], then the unpacked chunk. */
const SUMS_BYTES: usize = 64 * 129;

// The step being worked on (every worker has an instance of its own).
let layout: i32 = 0;
let weight: usize = 0;
let x: usize = 0;
let out: usize = 0;
let bias: usize = 0;
let rows: i32 = 0;
let blocks: i32 = 0;
let blockBytes: usize = 0;
let sums: usize = 0;

/**
 * args: weight (packed), x (a8), out (f32), bias (f32, or 0), rows of the weight, its columns,
 * address of the token count.
 */
export function matmulInt4(args: usize, worker: i32, workers: i32): void {
  matmulInteger(args, worker, workers, INT4, INT4_BLOCK);
}

/** args as `matmulInt4`. */
export function matmulInt4m(args: usize, worker: i32, workers: i32): void {
  matmulInteger(args, worker, workers, INT4M, INT4M_BLOCK);
}

/** args as `matmulInt4`. */
export function matmulInt8(args: usize, worker: i32, workers: i32): void {
  matmulInteger(args, worker, workers, INT8, INT8_BLOCK);
}

function matmulInteger(
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
  bias = load<usize>(args, 12);
  rows = load<i32>(args, 16);
  blocks = (load<i32>(args, 20) + 31) >> 5;
  const tokens = load<i32>(load<usize>(args, 24));
  sums = scratch(worker);
  const panels = (rows + 15) >> 4;
  if (tokens < TASK_TOKENS) {
    const end = shareStart(panels, worker + 1, workers);
    for (let p = shareStart(panels, worker, workers); p < end; p++) panelTimesTokens(p, 0, tokens);
    return;
  }
  const groups = (panels + PANELS_PER_TASK - 1) / PANELS_PER_TASK;
  const splits = (tokens + TOKENS_PER_TASK - 1) / TOKENS_PER_TASK;
  const perSplit = ((tokens + splits - 1) / splits + 3) & ~3;
  let task = nextTask(args);
  while (task < groups * splits) {
    const first = task / groups * perSplit;
    const last = min(first + perSplit, tokens);
    const start = task % groups * PANELS_PER_TASK;
    const end = min(start + PANELS_PER_TASK, panels);
    for (let p = start; p < end; p++) panelTimesTokens(p, first, last);
    task = nextTask(args);
  }
}

/** One panel of 16 rows times tokens `first` … `last − 1`. */
function panelTimesTokens(p: i32, first: i32, last: i32): void {
  const panel = weight + <usize> p * (PANEL_HEADER + <usize> blocks * blockBytes);
  const xStride = <usize> blocks * 48;
  const xs = x + <usize> first * xStride;
  const count = last - first;
  startSums(sums, count, bias ? bias + (<usize> p << 6) : 0);
  const special = load<i32>(panel) != 0;
  const tiled = special ? count : count & ~1;
  if (tiled) panelTimesTiles(panel, xs, xStride, tiled);
  if (tiled < count) {
    times1(panel, xs + <usize> tiled * xStride, sums + (<usize> tiled << 6));
  }
  finishPanel(sums, count, out + (<usize> first * rows + (<usize> p << 4)) * 4, rows, p);
}

/** Adds the panel times `count` tokens to `sums`; an odd token is taken twice, in a slot to spare. */
function panelTimesTiles(panel: usize, xs: usize, xStride: usize, count: i32): void {
  const chunk = count < TASK_TOKENS ? 8 : layout == INT8 ? 16 : 32;
  const half = <usize> chunk * (layout == INT8 ? 544 : 320);
  const q = sums + SUMS_BYTES;
  const factor = load<f32>(panel, 4);
  let w = panel + PANEL_HEADER;
  for (let block = 0; block < blocks; block += chunk) {
    const n = min(chunk, blocks - block);
    unpack(w, n, q, half, factor);
    let xt = xs;
    let to = sums;
    let t = 0;
    for (; t + 4 <= count; t += 4) {
      times4(q, xt, xStride, n, to);
      times4(q + half, xt, xStride, n, to + 32);
      xt += xStride << 2;
      to += 256;
    }
    for (; t < count; t += 2) {
      const stride = t + 1 < count ? xStride : 0;
      times2(q, xt, stride, n, to);
      times2(q + half, xt, stride, n, to + 32);
      xt += xStride << 1;
      to += 128;
    }
    w += <usize> n * blockBytes;
    xs += <usize> n * 48;
  }
}

function times1(panel: usize, xt: usize, to: usize): void {
  const w = panel + PANEL_HEADER;
  const factor = load<f32>(panel, 4);
  if (layout == INT4) int4Times1(w, xt, blocks, to, factor);
  else if (layout == INT4M) int4mTimes1(w, xt, blocks, to, factor);
  else int8Times1(w, xt, blocks, to, factor);
}

function unpack(w: usize, n: i32, to: usize, half: usize, factor: f32): void {
  if (layout == INT4) int4Unpack(w, n, to, half, factor);
  else if (layout == INT4M) int4mUnpack(w, n, to, half, factor);
  else int8Unpack(w, n, to, half, factor);
}

function times2(q: usize, xt: usize, xStride: usize, n: i32, to: usize): void {
  if (layout == INT4) int4Times2(q, xt, xStride, n, to);
  else if (layout == INT4M) int4mTimes2(q, xt, xStride, n, to);
  else int8Times2(q, xt, xStride, n, to);
}

function times4(q: usize, xt: usize, xStride: usize, n: i32, to: usize): void {
  if (layout == INT4) int4Times4(q, xt, xStride, n, to);
  else if (layout == INT4M) int4mTimes4(q, xt, xStride, n, to);
  else int8Times4(q, xt, xStride, n, to);
}
