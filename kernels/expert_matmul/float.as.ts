// expertMatmulF32, expertMatmulF16, expertMatmulBf16: f32 activations times the float weights of
// chosen experts. Pairs are grouped by expert (groups.as.ts), so that the panels of an expert are
// read from memory once for all its pairs; the inner loops are those of matmul.
//
// Rows of an expert need not begin with a panel. Then its first and last panels hold rows of its
// neighbours too, whose sums are left aside.

import { nextTask, scratch, shareStart } from "../common.as";
import { BF16, F16, F32, PANEL_HEADER } from "../constants.as";
import { F16_SPECIAL, f16SpecialTimes1, f16Times1, unpackBlocks } from "../matmul/float_blocks.as";
import { bf16Block, f16Block, floatBlock } from "../matmul/float_tile.as";
import {
  bf16PanelsTimes1,
  canFold,
  f16PanelsTimes1,
  f32PanelsTimes1,
} from "../matmul/float_vector.as";
import { finishSums, startSums } from "../matmul/sums.as";
import {
  firstPanel,
  nextPanels,
  panelCount,
  panelDistance,
  startPanels,
} from "../matmul/token_panels.as";
import { clearDropped, expertOf, groupPairs, pairAt, sourceAt, startOf } from "./groups.as";

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
/** Scratch memory: the sums [65][16] of every panel; activations; one unpacked block; groups. */
const SUMS_BYTES: usize = 65 * 64;
const PACKED_BYTES: usize = 64 * 8 * 128;
const UNPACKED_BYTES: usize = 32 * 64;

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
/** Whether the factors of f16 panels may be applied to the activations. */
let folds: bool = false;

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
  const pairs = load<i32>(load<usize>(args, 36)) * load<i32>(args, 40);
  sums = scratch(worker);
  packed = sums + <usize> PANELS_PER_TASK * SUMS_BYTES;
  // Behind the activations, after which inner loops read on.
  unpacked = packed + PACKED_BYTES;
  const groups = groupPairs(
    load<usize>(args, 12),
    pairs,
    load<i32>(args, 28),
    load<i32>(args, 24),
    unpacked + UNPACKED_BYTES,
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
    const from = x + ((<usize> sourceAt(place) * columns) << 2);
    folds = layout == F16 && canFold(from, columns);
    startPanels(p, end);
    while (nextPanels()) {
      panelsTimesPair(firstPanel, panelDistance, panelCount, from, firstRow, place);
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

/** `count` panels, 1 or 4, from p on at the given distance, times the pair whose row is at `from`. */
function panelsTimesPair(
  p: i32,
  distance: i32,
  count: i32,
  from: usize,
  firstRow: i32,
  place: i32,
): void {
  const panel = panelAt(p) - PANEL_HEADER;
  const bytes = panelAt(p + distance) - PANEL_HEADER - panel;
  let special = folds ? 0 : 1;
  for (let i = 0; i < count; i++) special |= load<i32>(panel + <usize> i * bytes);
  if (special && layout == F16) {
    for (let i = 0; i < count; i++) specialTimesPair(p + i * distance, from, firstRow, place);
    return;
  }
  for (let i = 0; i < count; i++) startSums(sums + (i << 6), 0, 16, 0, 0);
  if (layout == F32) f32PanelsTimes1(panel, bytes, count, from, columns, sums);
  else if (layout == F16) f16PanelsTimes1(panel, bytes, count, from, columns, sums);
  else bf16PanelsTimes1(panel, bytes, count, from, columns, sums);
  for (let i = 0; i < count; i++) finish(p + i * distance, firstRow, place, 1, sums + (i << 6));
}

/** One panel of f16 where something may not be finite, or is beside such a panel. */
function specialTimesPair(p: i32, from: usize, firstRow: i32, place: i32): void {
  const w = panelAt(p);
  startSums(sums, 1, 16, 0, 0);
  if (layoutOf(w) == F16) f16Times1(w, from, columns, sums, factorOf(w));
  else f16SpecialTimes1(w, from, columns, sums, factorOf(w));
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
