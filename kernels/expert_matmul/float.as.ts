// expertMatmulF32, expertMatmulF16, expertMatmulBf16: f32 activations times the float weights of
// chosen experts. Pairs are grouped by expert (groups.as.ts), so that the panels of an expert are
// read from memory once for all its pairs; the inner loops are those of matmul.
//
// Rows of an expert need not begin with a panel. Then its first and last panels hold rows of its
// neighbours too, whose sums are left aside.

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
  unpackBlocks,
} from "../matmul/float_blocks.as";
import { floatBlock } from "../matmul/float_tile.as";
import { finishSums, startSums } from "../matmul/sums.as";
import { expertOf, groupPairs, pairAt, sourceAt, startOf } from "./groups.as";

const PANEL_HEADER: usize = 16;
/** k of a block. */
const BLOCK: i32 = 32;
/** Bytes of a block of one pair's activations. */
const BLOCK_BYTES: usize = 128;
/** Pairs from which work is shared in tasks; below, each worker streams one range of panels. */
const TASK_PAIRS: i32 = 12;
/** Panels of a task. */
const PANELS_PER_TASK: i32 = 8;
/** Pairs that meet a block of weights together. */
const PAIRS_AT_ONCE: i32 = 64;
/** Blocks of k that are worked off for all panels of a task before the next. */
const BLOCKS_AT_ONCE: i32 = 8;
/** Scratch memory: one unpacked block; the sums [65][16] of every panel; activations; groups. */
const UNPACKED_BYTES: usize = 32 * 64;
const SUMS_BYTES: usize = 65 * 64;
const PACKED_BYTES: usize = 64 * 8 * 128;

// The step being worked on (every worker has an instance of its own).
let layout: i32 = 0;
let weight: usize = 0;
let x: usize = 0;
let out: usize = 0;
let rows: i32 = 0;
let columns: i32 = 0;
let blocks: i32 = 0;
let unpacked: usize = 0;
let sums: usize = 0;
let packed: usize = 0;

/** args as `expertMatmulInt4` with x as f32. Scratch: see wasm.ts. */
export function expertMatmulF32(args: usize, worker: i32, workers: i32): void {
  expertMatmulFloat(args, worker, workers, F32);
}

/** args and scratch as `expertMatmulF32`. */
export function expertMatmulF16(args: usize, worker: i32, workers: i32): void {
  expertMatmulFloat(args, worker, workers, F16);
}

/** args and scratch as `expertMatmulF32`. */
export function expertMatmulBf16(args: usize, worker: i32, workers: i32): void {
  expertMatmulFloat(args, worker, workers, BF16);
}

function expertMatmulFloat(args: usize, worker: i32, workers: i32, layoutOfWeight: i32): void {
  layout = layoutOfWeight;
  weight = load<usize>(args);
  x = load<usize>(args, 4);
  out = load<usize>(args, 8);
  rows = load<i32>(args, 16);
  columns = load<i32>(args, 20);
  blocks = (columns + BLOCK - 1) / BLOCK;
  const pairs = load<i32>(load<usize>(args, 36));
  unpacked = scratch(worker);
  sums = unpacked + UNPACKED_BYTES;
  packed = sums + <usize> PANELS_PER_TASK * SUMS_BYTES;
  const groups = groupPairs(
    load<usize>(args, 12),
    pairs,
    load<i32>(args, 28),
    load<i32>(args, 24),
    packed + PACKED_BYTES,
  );
  // The most panels that successive rows can touch.
  const panels = rows & 15 ? ((rows + 14) >> 4) + 1 : rows >> 4;
  const each = (panels + PANELS_PER_TASK - 1) / PANELS_PER_TASK;
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

/** One panel times the pair at `place`. */
function panelTimesPair(p: i32, firstRow: i32, place: i32): void {
  const w = panelAt(p);
  const kind = layoutOf(w);
  const factor = factorOf(w);
  const from = x + ((<usize> sourceAt(place) * columns) << 2);
  startSums(sums, 1, 16, 0, 0);
  if (kind == F32) f32Times1(w, from, columns, sums);
  else if (kind == BF16) bf16Times1(w, from, columns, sums);
  else if (kind == F16) f16Times1(w, from, columns, sums, factor);
  else f16SpecialTimes1(w, from, columns, sums, factor);
  finish(p, firstRow, place, 1, sums);
}

/** Panels `p` to `last` times the `count` pairs from `place` on. */
function panelsTimesPairs(p: i32, last: i32, firstRow: i32, place: i32, count: i32): void {
  for (let q = p, y = sums; q <= last; q++, y += SUMS_BYTES) startSums(y, count, 16, 0, 0);
  for (let block = 0; block < blocks; block += BLOCKS_AT_ONCE) {
    const n = min(BLOCKS_AT_ONCE, blocks - block);
    packPairs(place, count, block, n);
    for (let q = p, y = sums; q <= last; q++, y += SUMS_BYTES) {
      blocksTimesPairs(q, count, block, n, y);
    }
  }
  for (let q = p, y = sums; q <= last; q++, y += SUMS_BYTES) finish(q, firstRow, place, count, y);
}

/** Adds `n` blocks of k of a panel times the packed pairs, from `block` on, to `y`. */
function blocksTimesPairs(p: i32, count: i32, block: i32, n: i32, y: usize): void {
  let w = panelAt(p);
  const kind = layoutOf(w);
  const factor = factorOf(w);
  let xs = packed;
  w += <usize> (block * BLOCK) << (kind == F32 ? 6 : 5);
  for (let i = 0; i < n; i++) {
    if (kind == F32) {
      floatBlock(w, xs, count, y);
      w += BLOCK * 64;
    } else {
      unpackBlocks(w, BLOCK, unpacked, factor, kind);
      floatBlock(unpacked, xs, count, y);
      w += BLOCK * 32;
    }
    xs += <usize> count * BLOCK_BYTES;
  }
}

/** Copies `n` blocks of k, from `block` on, of the `count` pairs from `place` on together. */
function packPairs(place: i32, count: i32, block: i32, n: i32): void {
  let to = packed;
  for (let b = block; b < block + n; b++) {
    const used = min(BLOCK, columns - b * BLOCK);
    for (let i = 0; i < count; i++) {
      const from = x + ((<usize> sourceAt(place + i) * columns + b * BLOCK) << 2);
      if (used == BLOCK) {
        v128.store(to, v128.load(from));
        v128.store(to, v128.load(from, 16), 16);
        v128.store(to, v128.load(from, 32), 32);
        v128.store(to, v128.load(from, 48), 48);
        v128.store(to, v128.load(from, 64), 64);
        v128.store(to, v128.load(from, 80), 80);
        v128.store(to, v128.load(from, 96), 96);
        v128.store(to, v128.load(from, 112), 112);
      } else {
        memory.fill(to, 0, BLOCK_BYTES);
        memory.copy(to, from, used << 2);
      }
      to += BLOCK_BYTES;
    }
  }
}

/** Writes the sums of a panel, as far as its rows are the expert's. */
function finish(p: i32, firstRow: i32, place: i32, count: i32, y: usize): void {
  const start = max(firstRow, p << 4);
  const valid = min(firstRow + rows, (p << 4) + 16) - start;
  let from = y + (<usize> (start - (p << 4)) << 2);
  const to = out + (<usize> (start - firstRow) << 2);
  for (let i = 0; i < count; i++) {
    finishSums(from, 1, 16, to + ((<usize> pairAt(place + i) * rows) << 2), 0, valid);
    from += 64;
  }
}
