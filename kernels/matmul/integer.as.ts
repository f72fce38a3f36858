// matmulInt4, matmulInt8 and their like: activations in int8 (a8) times integer weights.
// The order of work over panels (16 rows), k and tokens; panels.as.ts knows the inner loops, and
// kernels/pack/layouts.ts the packed layouts.
//
// One token: every worker streams its share of the panels once, from four places side by side; the
// last ones go to those who are done first.
// A few: a panel along all of k, for two tokens at a time.
// More: the weights of one block of k and 16 rows (a panel) are unpacked once for all tokens of the
// task, of which two are multiplied together; sums of two panels stay in the L1 cache.

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
} from "../constants.as";
import {
  blockTimesTokens,
  fewTokens,
  fourPanelsTimesToken,
  panelBytes,
  panelTimesFew,
  panelTimesToken,
  useSpare,
} from "./panels.as";
import { addRows, finishSums, startSums } from "./sums.as";
import { firstPanel, nextPanels, panelCount, panelDistance, sharePanels } from "./token_panels.as";

/** Blocks of a panel above which one panel is a task, not four, when a token's last are shared out. */
const MANY_BLOCKS: i32 = 48;
/** Tokens from which work is shared in tasks; below, each worker streams one range of panels. */
const TASK_TOKENS: i32 = 12;
/** Most tokens of a task. */
const TOKENS_PER_TASK: i32 = 128;
/** Pairs of panels of a task. */
const PAIRS_PER_TASK: i32 = 1;

// The step being worked on (every worker has an instance of its own).
let layout: i32 = 0;
let weight: usize = 0;
let x: usize = 0;
let out: usize = 0;
let bias: usize = 0;
let residual: usize = 0;
let rows: i32 = 0;
let panels: i32 = 0;
let blocks: i32 = 0;
let stride: usize = 0; // bytes of a panel
let tokens: i32 = 0;
let sums: usize = 0;

/**
 * args: weight (packed), x (a8), out (f32), bias (f32, or 0), rows of the weight, its columns,
 * address of the token count, residual (f32, or 0). Scratch: sums [129][32], a block of int8.
 */
export function matmulInt4(args: usize, worker: i32, workers: i32): void {
  matmulInteger(args, worker, workers, INT4);
}

/** args and scratch as `matmulInt4`. */
export function matmulInt4m(args: usize, worker: i32, workers: i32): void {
  matmulInteger(args, worker, workers, INT4M);
}

/** args and scratch as `matmulInt4`. */
export function matmulInt8(args: usize, worker: i32, workers: i32): void {
  matmulInteger(args, worker, workers, INT8);
}

/** args and scratch as `matmulInt4`. */
export function matmulInt4n(args: usize, worker: i32, workers: i32): void {
  matmulInteger(args, worker, workers, INT4N);
}

/** args and scratch as `matmulInt4`. */
export function matmulInt5(args: usize, worker: i32, workers: i32): void {
  matmulInteger(args, worker, workers, INT5);
}

/** args and scratch as `matmulInt4`. */
export function matmulInt5m(args: usize, worker: i32, workers: i32): void {
  matmulInteger(args, worker, workers, INT5M);
}

/** args and scratch as `matmulInt4`. */
export function matmulInt4k(args: usize, worker: i32, workers: i32): void {
  matmulInteger(args, worker, workers, INT4K);
}

/** args and scratch as `matmulInt4`. */
export function matmulInt5k(args: usize, worker: i32, workers: i32): void {
  matmulInteger(args, worker, workers, INT5K);
}

/** args and scratch as `matmulInt4`. */
export function matmulInt6k(args: usize, worker: i32, workers: i32): void {
  matmulInteger(args, worker, workers, INT6K);
}

function matmulInteger(args: usize, worker: i32, workers: i32, layoutOfWeight: i32): void {
  layout = layoutOfWeight;
  weight = load<usize>(args);
  x = load<usize>(args, 4);
  out = load<usize>(args, 8);
  bias = load<usize>(args, 12);
  rows = load<i32>(args, 16);
  panels = (rows + 15) >> 4;
  blocks = (load<i32>(args, 20) + 31) >> 5;
  stride = panelBytes(layout, blocks);
  tokens = load<i32>(load<usize>(args, 24));
  residual = load<usize>(args, 28);
  sums = scratch(worker);
  useSpare(sums + 129 * 128);
  if (tokens == 1) {
    sharePanels(panels, blocks > MANY_BLOCKS ? 1 : 4, args, worker, workers);
    while (nextPanels()) panelsTimesToken(firstPanel, panelDistance, panelCount);
    return;
  }
  if (tokens <= fewTokens(layout)) {
    const end = shareStart(panels, worker + 1, workers);
    for (let p = shareStart(panels, worker, workers); p < end; p++) panelTimesFewTokens(p);
    return;
  }
  const pairs = (panels + 1) >> 1;
  if (tokens < TASK_TOKENS) {
    const end = shareStart(pairs, worker + 1, workers);
    for (let i = shareStart(pairs, worker, workers); i < end; i++) pairTimesTokens(i, 0, tokens);
    return;
  }
  const groups = (pairs + PAIRS_PER_TASK - 1) / PAIRS_PER_TASK;
  const splits = (tokens + TOKENS_PER_TASK - 1) / TOKENS_PER_TASK;
  const perSplit = (tokens + splits - 1) / splits;
  let task = nextTask(args);
  while (task < groups * splits) {
    const first = task / groups * perSplit;
    const last = min(first + perSplit, tokens);
    const start = task % groups * PAIRS_PER_TASK;
    const end = min(start + PAIRS_PER_TASK, pairs);
    for (let i = start; i < end; i++) pairTimesTokens(i, first, last);
    task = nextTask(args);
  }
}

function panelAt(p: i32): usize {
  return weight + <usize> p * stride;
}

/** `count` panels, 1 or 4, from p on at the given distance, times the only token. */
function panelsTimesToken(p: i32, distance: i32, count: i32): void {
  const panel = panelAt(p);
  const bytes = panelAt(p + distance) - panel;
  let special = 0;
  for (let i = 0; i < count; i++) special |= load<i32>(panel + <usize> i * bytes);
  if (special) { // Inf or NaN among the scales
    for (let i = 0; i < count; i++) {
      const q = p + i * distance;
      if (load<i32>(panelAt(q))) panelsTimesTokens(q, q, 0, 1);
      else panelsTimesToken(q, 1, 1);
    }
    return;
  }
  for (let i = 0; i < count; i++) {
    const first = (p + i * distance) << 4;
    startSums(sums + (i << 6), 0, 16, bias ? bias + (first << 2) : 0, min(rows - first, 16));
  }
  if (count == 1) panelTimesToken(layout, panel, x, blocks, sums);
  else fourPanelsTimesToken(layout, panel, bytes, x, blocks, sums);
  for (let i = 0; i < count; i++) {
    const first = (p + i * distance) << 4;
    const y = sums + (i << 6);
    const valid = min(rows - first, 16);
    if (residual) addRows(y, 1, 16, residual + (first << 2), 0, valid);
    finishSums(y, 1, 16, out + (first << 2), 0, valid);
  }
}

/** Panel p times all tokens, of which there are few. */
function panelTimesFewTokens(p: i32): void {
  const panel = panelAt(p);
  if (load<i32>(panel)) return panelsTimesTokens(p, p, 0, tokens); // Inf or NaN among the scales
  const valid = min(rows - (p << 4), 16);
  const column = <usize> p << 6;
  const rowBytes = <usize> rows << 2;
  startSums(sums, tokens, 32, bias ? bias + column : 0, valid);
  panelTimesFew(layout, panel, x, tokens, blocks, sums);
  if (residual) addRows(sums, tokens, 32, residual + column, rowBytes, valid);
  finishSums(sums, tokens, 32, out + column, rowBytes, valid);
}

/** Panels 2i and 2i + 1, if there is one, times tokens `first` … `last − 1`. */
function pairTimesTokens(i: i32, first: i32, last: i32): void {
  panelsTimesTokens(i << 1, min((i << 1) + 1, panels - 1), first, last);
}

/** Panels p and q, its neighbour or p itself, times tokens `first` … `last − 1`. */
function panelsTimesTokens(p: i32, q: i32, first: i32, last: i32): void {
  const count = last - first;
  const valid = min(rows, (q << 4) + 16) - (p << 4);
  const column = <usize> p << 6;
  startSums(sums, count, 32, bias ? bias + column : 0, valid);
  const w = panelAt(p);
  const u = panelAt(q);
  let xs = x + <usize> first * X_BLOCK;
  for (let block = 0; block < blocks; block++) {
    blockTimesTokens(layout, w, block, xs, count, sums);
    if (p != q) blockTimesTokens(layout, u, block, xs, count, sums + 64);
    xs += <usize> tokens * X_BLOCK;
  }
  const rowBytes = <usize> rows << 2;
  const offset = <usize> first * rowBytes + column;
  if (residual) addRows(sums, count, 32, residual + offset, rowBytes, valid);
  finishSums(sums, count, 32, out + offset, rowBytes, valid);
}
