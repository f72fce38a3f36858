// Blocks of values in the sums of a quad: which rows can be summed for all its lanes at once.

import {
  END,
  FIRST,
  LANES,
  SEEN_FROM,
  SEEN_TO,
  SHARED_FROM,
  SHARED_TO,
} from "./quad.as";
import { sumInt8, VALUE_SCALE_BYTES } from "./sums_int8.as";
import { sumLane, sumQuad } from "./tile.as";

/** Adds one block of values (64 rows from `block` on) times their weights to eight elements of the sums. */
export function sumBlock(quad: usize, weights: usize, values: usize, block: i32, sums: usize): void {
  const row = max(block, load<i32>(quad, SEEN_FROM)) - block;
  const end = min(block + 64, load<i32>(quad, SEEN_TO)) - block;
  if (load<i32>(quad, LANES) == 1) {
    sumLane(weights, row, end, values, sums);
    return;
  }
  const from = load<i32>(quad, SHARED_FROM) - block;
  const to = min(end, load<i32>(quad, SHARED_TO) - block);
  sumQuad(quad, block, weights, row, end, from, to, values, sums);
}

/**
 * Adds one group of 32 elements, or the `pairs` of elements that the last one has, of a block of 128
 * values in a cache of int8 to the sums. `weights` [16][4][8], in units of `factors`, are 0 for rows
 * that a lane does not see; `values` are scales, then codes. `room` has 1024 bytes.
 */
export function sumBlockInt8(
  quad: usize,
  weights: usize,
  factors: v128,
  values: usize,
  block: i32,
  pairs: i32,
  room: usize,
  sums: usize,
): void {
  const first = max(block, load<i32>(quad, SEEN_FROM)) - block;
  const end = min(block + 128, load<i32>(quad, SEEN_TO)) - block;
  const alone = load<i32>(quad, LANES) == 1;
  let codes = values + VALUE_SCALE_BYTES;
  if (!areNumbers(values, first, end)) spoilSums(quad, values, block, first, end, pairs, sums);
  // Half the block where that is enough.
  let halves = 2;
  if (end <= 64 || first >= 64) {
    halves = 1;
    if (first >= 64) {
      weights += 1024;
      values += 256;
      codes += 128;
    }
  }
  sumInt8(weights, factors, values, codes, pairs, halves, alone, room, sums);
}

/** Whether the scales from `first` up to `end` are all numbers, given that none is infinite. */
function areNumbers(scales: usize, first: i32, end: i32): bool {
  let single: f32 = 0;
  for (; first < end && first & 7; first++) single += load<f32>(scales + (<usize>first << 2));
  for (; first < end && end & 7; end--) single += load<f32>(scales + (<usize>(end - 1) << 2));
  let s0 = f32x4.splat(single);
  let s1 = s0;
  for (scales += <usize>first << 2; first < end; first += 8) {
    s0 = f32x4.add(s0, v128.load(scales));
    s1 = f32x4.add(s1, v128.load(scales, 16));
    scales += 32;
  }
  s0 = f32x4.add(s0, s1);
  return !v128.any_true(f32x4.ne(s0, s0));
}

/** Makes the sums of all lanes NaN that see a row, `first` to `end` of a block, whose scale is. */
function spoilSums(
  quad: usize,
  scales: usize,
  block: i32,
  first: i32,
  end: i32,
  pairs: i32,
  sums: usize,
): void {
  for (let row = first; row < end; row++) {
    const scale = load<f32>(scales + (<usize>row << 2));
    if (scale == scale) continue;
    for (let lane: usize = 0; lane < 4; lane++) {
      const cell = quad + (lane << 2);
      if (block + row < load<i32>(cell, FIRST) || block + row >= load<i32>(cell, END)) continue;
      let sum = sums + (lane << 2);
      for (let i = pairs << 1; i > 0; i--) {
        store<f32>(sum, NaN);
        sum += 16;
      }
    }
  }
}
