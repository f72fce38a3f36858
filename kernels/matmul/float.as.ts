// matmulF32, matmulF16, matmulBf16: f32 activations times float weights, f32 sums.
// The order of work over panels (8 rows), k and tokens; the inner loops are in float_tiles.as.ts,
// the packed layouts in kernels/pack/layouts.ts.
//
// One token: every worker streams its share of the panels once. More: five tokens at a time share
// every weight that is loaded, from activations packed so that their loads are one stream too.

import { nextTask, scratch, shareStart } from "../common.as";
import {
  BF16,
  bf16Times1,
  F16,
  F16_SPECIAL,
  f16SpecialTimes1,
  f16Times1,
  F32,
  f32Times1,
  packTokens,
  tileTimes5,
  unpackHalves,
} from "./float_tiles.as";

const PANEL_HEADER: usize = 16;
/** Tokens from which work is shared in tasks; below, each worker streams one range of panels. */
const TASK_TOKENS: i32 = 11;
/** Most tokens of a task. */
const TOKENS_PER_TASK: i32 = 60;
/** Panels of a task. */
const PANELS_PER_TASK: i32 = 16;
/** k that are worked off before the next: 8 rows of them fill a quarter of the L1 cache. */
const CHUNK: i32 = 256;
/** Scratch memory: sums of a last, narrower panel [tokens][8], one unpacked chunk, tokens. */
const SUMS_BYTES: usize = 32 * 60;
const CHUNK_BYTES: usize = 32 * 256;

// The step being worked on (every worker has an instance of its own).
let layout: i32 = 0;
let weight: usize = 0;
let x: usize = 0;
let out: usize = 0;
let bias: usize = 0;
let rows: i32 = 0;
let columns: i32 = 0;
let blockShift: usize = 0;
let narrow: usize = 0;
let unpacked: usize = 0;
let packed: usize = 0;

/**
 * args: weight (packed), x (f32), out (f32), bias (f32, or 0), rows of the weight, its columns,
 * address of the token count.
 */
export function matmulF32(args: usize, worker: i32, workers: i32): void {
  matmulFloat(args, worker, workers, F32, 5);
}

/** args as `matmulF32`. */
export function matmulF16(args: usize, worker: i32, workers: i32): void {
  matmulFloat(args, worker, workers, F16, 4);
}

/** args as `matmulF32`. */
export function matmulBf16(args: usize, worker: i32, workers: i32): void {
  matmulFloat(args, worker, workers, BF16, 4);
}

function matmulFloat(
  args: usize,
  worker: i32,
  workers: i32,
  layoutOfWeight: i32,
  shift: usize,
): void {
  layout = layoutOfWeight;
  blockShift = shift;
  weight = load<usize>(args);
  x = load<usize>(args, 4);
  out = load<usize>(args, 8);
  bias = load<usize>(args, 12);
  rows = load<i32>(args, 16);
  columns = load<i32>(args, 20);
  const tokens = load<i32>(load<usize>(args, 24));
  narrow = scratch(worker);
  unpacked = narrow + SUMS_BYTES;
  packed = unpacked + CHUNK_BYTES;
  const panels = (rows + 7) >> 3;
  if (tokens < TASK_TOKENS) {
    const start = shareStart(panels, worker, workers);
    const end = shareStart(panels, worker + 1, workers);
    if (tokens == 1) {
      for (let p = start; p < end; p++) panelTimesToken(p);
    } else if (start < end) {
      packAll(0, tokens, 0, columns);
      for (let p = start; p < end; p++) {
        startPanel(p, 0, tokens);
        for (let k = 0; k < columns; k += CHUNK) panelTimesTokens(p, 0, tokens, k, k, columns);
        finishPanel(p, 0, tokens);
      }
    }
    return;
  }
  const groups = (panels + PANELS_PER_TASK - 1) / PANELS_PER_TASK;
  const splits = (tokens + TOKENS_PER_TASK - 1) / TOKENS_PER_TASK;
  const perSplit = ((tokens + splits - 1) / splits + 4) / 5 * 5;
  let task = nextTask(args);
  while (task < groups * splits) {
    const first = task / groups * perSplit;
    const last = min(first + perSplit, tokens);
    const start = task % groups * PANELS_PER_TASK;
    const end = min(start + PANELS_PER_TASK, panels);
    if (first < last) {
      for (let p = start; p < end; p++) startPanel(p, first, last);
      for (let k = 0; k < columns; k += CHUNK) {
        const count = min(CHUNK, columns - k);
        packAll(first, last, k, count);
        for (let p = start; p < end; p++) panelTimesTokens(p, first, last, k, 0, count);
      }
      finishPanel(end - 1, first, last);
    }
    task = nextTask(args);
  }
}

function panelAt(p: i32): usize {
  return weight + <usize> p * (PANEL_HEADER + (<usize> columns << blockShift));
}

/** The layout of a panel's blocks, which for halves depends on what they are. */
function panelLayout(panel: usize): i32 {
  return layout == F16 && load<i32>(panel) ? F16_SPECIAL : layout;
}

/** Where the sums of panel `p` and token `t` are kept: in the output, if there is room. */
function sumsAt(p: i32, t: i32, first: i32): usize {
  if ((p << 3) + 8 > rows) return narrow + (<usize> (t - first) << 5);
  return out + (<usize> t * rows + (<usize> p << 3)) * 4;
}

/** Sets the sums of a panel to the bias, or to zero. */
function startPanel(p: i32, first: i32, last: i32): void {
  let b0 = f32x4.splat(0);
  let b1 = b0;
  if (bias) {
    b0 = v128.load(bias + (<usize> p << 5));
    b1 = v128.load(bias + (<usize> p << 5), 16);
  }
  for (let t = first; t < last; t++) {
    const y = sumsAt(p, t, first);
    v128.store(y, b0);
    v128.store(y, b1, 16);
  }
}

/** Moves the sums of a last, narrower panel to the output. */
function finishPanel(p: i32, first: i32, last: i32): void {
  const valid = rows - (p << 3);
  if (valid >= 8) return;
  for (let t = first; t < last; t++) {
    memory.copy(out + (<usize> t * rows + (<usize> p << 3)) * 4, sumsAt(p, t, first), valid << 2);
  }
}

function panelTimesToken(p: i32): void {
  startPanel(p, 0, 1);
  const panel = panelAt(p);
  const w = panel + PANEL_HEADER;
  const y = sumsAt(p, 0, 0);
  const kind = panelLayout(panel);
  if (kind == F32) f32Times1(w, x, columns, y);
  else if (kind == BF16) bf16Times1(w, x, columns, y);
  else if (kind == F16) f16Times1(w, x, columns, y, load<f32>(panel, 4));
  else f16SpecialTimes1(w, x, columns, y, load<f32>(panel, 4));
  finishPanel(p, 0, 1);
}

/** Packs `count` k from `k` on, of tokens `first` … `last − 1`, five tokens after five. */
function packAll(first: i32, last: i32, k: i32, count: i32): void {
  let to = packed;
  for (let t = first; t < last; t += 5) {
    const from = x + (<usize> t * columns + k) * 4;
    packTokens(from, <usize> columns << 2, last - t, count, to);
    to += <usize> count * 20;
  }
}

/**
 * Adds a chunk of k, from `k` on, of one panel to its sums. Of every five tokens `count` k are
 * packed, and the chunk starts at `at` of them.
 */
function panelTimesTokens(p: i32, first: i32, last: i32, k: i32, at: i32, count: i32): void {
  const panel = panelAt(p);
  const kind = panelLayout(panel);
  const n = min(CHUNK, columns - k);
  let w = panel + PANEL_HEADER + (<usize> k << blockShift);
  if (kind != F32) {
    unpackHalves(w, n, unpacked, kind, load<f32>(panel, 4));
    w = unpacked;
  }
  const stride: usize = (p << 3) + 8 > rows ? 32 : <usize> rows << 2;
  let a = packed + <usize> at * 20;
  for (let t = first; t < last; t += 5) {
    tileTimes5(w, a, n, sumsAt(p, t, first), stride, last - t);
    a += <usize> count * 20;
  }
}
