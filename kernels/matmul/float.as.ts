// matmulF32, matmulF16, matmulBf16: f32 activations times float weights, f32 sums.
// The order of work over panels (16 rows), k and tokens; the inner loops are in float_blocks.as.ts,
// float_vector.as.ts and float_tile.as.ts, the packed layouts in kernels/pack/layouts.ts.
//
// One token: every worker streams its share of the panels once, from four places side by side. More:
// the weights of 32 k of a panel are loaded once for all tokens of the task; for that, activations
// are first copied to scratch memory in the same order, [32 k][token].

import { nextTask, scratch, shareStart } from "../common.as";
import { BF16, F16, F32, PANEL_HEADER } from "../constants.as";
import { F16_SPECIAL, f16SpecialTimes1, f16Times1, unpackBlocks } from "./float_blocks.as";
import { bf16Block, f16Block, floatBlock } from "./float_tile.as";
import { bf16PanelsTimes1, canFold, f16PanelsTimes1, f32PanelsTimes1 } from "./float_vector.as";
import { addRows, finishSums, startSums } from "./sums.as";
import { firstPanel, nextPanels, panelCount, panelDistance, sharePanels } from "./token_panels.as";

/** k of a block. */
const BLOCK: i32 = 32;
/** Bytes of a block of one token's activations. */
const BLOCK_BYTES: usize = 128;
/** Tokens from which work is shared in tasks; below, each worker streams one range of panels. */
const TASK_TOKENS: i32 = 12;
/** Most tokens of a task; half as many where there would be too few tasks for the workers. */
const TOKENS_PER_TASK: i32 = 128;
/** Columns above which one panel is a task, not four, when a token's last are shared out. */
const MANY_COLUMNS: i32 = 1536;
/** Tasks for each worker. */
const TASKS_PER_WORKER: i32 = 4;
/** Panels of a task. */
const PANELS_PER_TASK: i32 = 16;
/** Blocks of k that a task works off for all its panels before the next. */
const BLOCKS_AT_ONCE: i32 = 8;
/** Scratch memory: sums [panels][tokens + 1][16]; packed activations; one unpacked block. */
const SUMS_BYTES: usize = 16 * 129 * 64;
const PACKED_BYTES: usize = 128 * 256 * 4;

// The step being worked on (every worker has an instance of its own).
let layout: i32 = 0;
let weight: usize = 0;
let x: usize = 0;
let out: usize = 0;
let bias: usize = 0;
let residual: usize = 0;
let rows: i32 = 0;
let columns: i32 = 0;
let blocks: i32 = 0;
let unpacked: usize = 0;
let sums: usize = 0;
let packed: usize = 0;
let folds: bool = false;

/**
 * args: weight (packed), x (f32), out (f32), bias (f32, or 0), rows of the weight, its columns,
 * address of the token count, residual (f32, or 0). Scratch: see above; activations take
 * max(11 · columns rounded up to 32, 128 · 256) · 4 bytes.
 */
export function matmulF32(args: usize, worker: i32, workers: i32): void {
  matmulFloat(args, worker, workers, F32);
}

/** args and scratch as `matmulF32`. */
export function matmulF16(args: usize, worker: i32, workers: i32): void {
  matmulFloat(args, worker, workers, F16);
}

/** args and scratch as `matmulF32`. */
export function matmulBf16(args: usize, worker: i32, workers: i32): void {
  matmulFloat(args, worker, workers, BF16);
}

function matmulFloat(args: usize, worker: i32, workers: i32, layoutOfWeight: i32): void {
  layout = layoutOfWeight;
  weight = load<usize>(args);
  x = load<usize>(args, 4);
  out = load<usize>(args, 8);
  bias = load<usize>(args, 12);
  rows = load<i32>(args, 16);
  columns = load<i32>(args, 20);
  blocks = (columns + BLOCK - 1) / BLOCK;
  const tokens = load<i32>(load<usize>(args, 24));
  residual = load<usize>(args, 28);
  sums = scratch(worker);
  packed = sums + SUMS_BYTES;
  // Behind the activations, after which inner loops read on.
  unpacked = packed + max(PACKED_BYTES, <usize> blocks * 11 * BLOCK_BYTES);
  const panels = (rows + 15) >> 4;
  if (tokens == 1) {
    folds = layout == F16 && canFold(x, columns);
    sharePanels(panels, columns > MANY_COLUMNS ? 1 : 4, args, worker, workers);
    while (nextPanels()) panelsTimesToken(firstPanel, panelDistance, panelCount);
    return;
  }
  if (tokens < TASK_TOKENS) {
    const start = shareStart(panels, worker, workers);
    const end = shareStart(panels, worker + 1, workers);
    if (start < end) packTokens(0, tokens, 0, blocks);
    for (let p = start; p < end; p++) {
      startPanel(p, tokens, sums);
      panelTimesTokens(p, tokens, 0, blocks, sums);
      finishPanel(p, 0, tokens, sums);
    }
    return;
  }
  const groups = (panels + PANELS_PER_TASK - 1) / PANELS_PER_TASK;
  let splits = (tokens + TOKENS_PER_TASK - 1) / TOKENS_PER_TASK;
  if (groups * splits < TASKS_PER_WORKER * workers) {
    splits = (2 * tokens + TOKENS_PER_TASK - 1) / TOKENS_PER_TASK;
  }
  // Even: inner loops sum a single token up in another order, which is to be the last one's alone,
  // however many workers there are.
  const perSplit = ((tokens + splits - 1) / splits + 1) & ~1;
  let task = nextTask(args);
  while (task < groups * splits) {
    const first = task / groups * perSplit;
    const last = min(first + perSplit, tokens);
    const start = task % groups * PANELS_PER_TASK;
    if (first < last) panelsTimesTokens(start, min(start + PANELS_PER_TASK, panels), first, last);
    task = nextTask(args);
  }
}

/** A task: panels `start` … `end − 1` times tokens `first` … `last − 1`. */
function panelsTimesTokens(start: i32, end: i32, first: i32, last: i32): void {
  const count = last - first;
  const stride = <usize> (count + 1) << 6;
  for (let p = start; p < end; p++) startPanel(p, count, sums + <usize> (p - start) * stride);
  for (let block = 0; block < blocks; block += BLOCKS_AT_ONCE) {
    const n = min(BLOCKS_AT_ONCE, blocks - block);
    packTokens(first, last, block, n);
    for (let p = start; p < end; p++) {
      panelTimesTokens(p, count, block, n, sums + <usize> (p - start) * stride);
    }
  }
  for (let p = start; p < end; p++) {
    finishPanel(p, first, count, sums + <usize> (p - start) * stride);
  }
}

function startPanel(p: i32, count: i32, y: usize): void {
  startSums(y, count, 16, bias ? bias + (<usize> p << 6) : 0, min(rows - (p << 4), 16));
}

function finishPanel(p: i32, first: i32, count: i32, y: usize): void {
  const stride = <usize> rows << 2;
  const offset = <usize> first * stride + (<usize> p << 6);
  const valid = min(rows - (p << 4), 16);
  if (residual) addRows(y, count, 16, residual + offset, stride, valid);
  finishSums(y, count, 16, out + offset, stride, valid);
}

/** First block of a panel; the header is before it. */
function panelAt(p: i32): usize {
  const blockBytes: usize = layout == F32 ? BLOCK * 64 : BLOCK * 32;
  return weight + <usize> p * (PANEL_HEADER + <usize> blocks * blockBytes) + PANEL_HEADER;
}

/** The layout of a panel, which for halves depends on what they are. */
function layoutOf(panel: usize): i32 {
  return layout == F16 && load<i32>(panel - PANEL_HEADER) ? F16_SPECIAL : layout;
}

function factorOf(panel: usize): f32 {
  return load<f32>(panel - PANEL_HEADER, 4);
}

/** `count` panels, 1 or 4, from p on at the given distance, times the only token. */
function panelsTimesToken(p: i32, distance: i32, count: i32): void {
  const panel = panelAt(p) - PANEL_HEADER;
  const bytes = panelAt(p + distance) - PANEL_HEADER - panel;
  let special = folds ? 0 : 1;
  for (let i = 0; i < count; i++) special |= load<i32>(panel + <usize> i * bytes);
  if (special && layout == F16) {
    for (let i = 0; i < count; i++) specialTimesToken(p + i * distance);
    return;
  }
  for (let i = 0; i < count; i++) startPanel(p + i * distance, 0, sums + (i << 6));
  if (layout == F32) f32PanelsTimes1(panel, bytes, count, x, columns, sums);
  else if (layout == F16) f16PanelsTimes1(panel, bytes, count, x, columns, sums);
  else bf16PanelsTimes1(panel, bytes, count, x, columns, sums);
  for (let i = 0; i < count; i++) finishPanel(p + i * distance, 0, 1, sums + (i << 6));
}

/** One panel of f16 where something may not be finite, or is beside such a panel. */
function specialTimesToken(p: i32): void {
  const w = panelAt(p);
  if (layoutOf(w) == F16 && folds) {
    panelsTimesToken(p, 1, 1);
    return;
  }
  startPanel(p, 1, sums);
  if (layoutOf(w) == F16) f16Times1(w, x, columns, sums, factorOf(w));
  else f16SpecialTimes1(w, x, columns, sums, factorOf(w));
  finishPanel(p, 0, 1, sums);
}

/** Adds `n` blocks of k of a panel times the packed tokens, from `block` on, to `y`. */
function panelTimesTokens(p: i32, count: i32, block: i32, n: i32, y: usize): void {
  let w = panelAt(p);
  const kind = layoutOf(w);
  const factor = factorOf(w);
  let xs = packed;
  w += <usize> (block * BLOCK) << (kind == F32 ? 6 : 5);
  for (let i = 0; i < n; i++) {
    if (kind == F32) floatBlock(w, xs, count, y);
    else if (kind == F16) f16Block(w, xs, count, y, factor);
    else if (kind == BF16) bf16Block(w, xs, count, y);
    else {
      unpackBlocks(w, BLOCK, unpacked, factor, kind);
      floatBlock(unpacked, xs, count, y);
    }
    w += kind == F32 ? BLOCK * 64 : BLOCK * 32;
    xs += <usize> count * BLOCK_BYTES;
  }
}

/** Copies `n` blocks of k, from `block` on, of tokens `first` … `last − 1` to scratch memory. */
function packTokens(first: i32, last: i32, block: i32, n: i32): void {
  const stride = <usize> columns << 2;
  const blockStride = <usize> (last - first) * BLOCK_BYTES;
  const whole = min(n, columns / BLOCK - block);
  let from = x + <usize> first * stride + <usize> block * BLOCK_BYTES;
  let to = packed;
  for (let t = first; t < last; t++) {
    // Along a row, so that the processor sees what comes next.
    let p = from;
    let q = to;
    for (let i = 0; i < whole; i++) {
      const a = v128.load(p);
      const b = v128.load(p, 16);
      const c = v128.load(p, 32);
      const d = v128.load(p, 48);
      const e = v128.load(p, 64);
      const f = v128.load(p, 80);
      const g = v128.load(p, 96);
      const h = v128.load(p, 112);
      v128.store(q, a);
      v128.store(q, b, 16);
      v128.store(q, c, 32);
      v128.store(q, d, 48);
      v128.store(q, e, 64);
      v128.store(q, f, 80);
      v128.store(q, g, 96);
      v128.store(q, h, 112);
      p += BLOCK_BYTES;
      q += blockStride;
    }
    if (whole < n) {
      memory.fill(q, 0, BLOCK_BYTES);
      memory.copy(q, p, (columns % BLOCK) << 2);
    }
    from += stride;
    to += BLOCK_BYTES;
  }
}
