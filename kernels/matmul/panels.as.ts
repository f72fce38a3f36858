// Products of packed panels with quantized activations, whatever integer layout they have: where
// panels and blocks lie, and which inner loop takes them.

import {
  ACTIVATION_BLOCK as X_BLOCK,
  INT4,
  INT4_BLOCK,
  INT4K,
  INT4K_BLOCK,
  INT4M,
  INT4M_BLOCK,
  INT4N,
  INT4N_BLOCK,
  INT5,
  INT5_BLOCK,
  INT5K,
  INT5K_BLOCK,
  INT5M,
  INT5M_BLOCK,
  INT6K_BLOCK,
  INT8,
  INT8_BLOCK,
  PANEL_HEADER,
} from "../constants.as";
import { fineBlock } from "./fine.as";
import { fineTimes1 } from "./fine_panel.as";
import { fineFourTimes1 } from "./fine_vector.as";
import { int4Block, int4mBlock } from "./int4.as";
import { int4mTimesTwo, int4TimesTwo } from "./int4_two.as";
import { int4FourTimes1, int4mFourTimes1, int4mTimes1, int4Times1 } from "./int4_vector.as";
import { int4nAsInt8 } from "./int4n.as";
import { int8Block } from "./int8.as";
import { int8TimesTwo } from "./int8_two.as";
import { int8FourTimes1, int8Times1 } from "./int8_vector.as";

/** Most tokens for which a block of int4n is not worth being made one of int8. */
const FEW_TOKENS: i32 = 2;

/** Memory for a block of int8. */
let spare: usize = 0;

/** Says where a block of int4n may be unpacked to. */
export function useSpare(address: usize): void {
  spare = address;
}

function blockBytes(layout: i32): usize {
  if (layout == INT4) return INT4_BLOCK;
  if (layout == INT4M) return INT4M_BLOCK;
  if (layout == INT8) return INT8_BLOCK;
  if (layout == INT4N) return INT4N_BLOCK;
  if (layout == INT5) return INT5_BLOCK;
  if (layout == INT5M) return INT5M_BLOCK;
  if (layout == INT4K) return INT4K_BLOCK;
  return layout == INT5K ? INT5K_BLOCK : INT6K_BLOCK;
}

/** Whether eight blocks share halves; the numbers of these layouts are the last. */
@inline
function sharesHalves(layout: i32): bool {
  return layout >= INT4K;
}

/** Bytes of the halves that eight blocks share. */
@inline
function sharedBytes(layout: i32): usize {
  return layout == INT4K || layout == INT5K ? 64 : 32;
}

/** Bytes of a panel of so many blocks. */
export function panelBytes(layout: i32, blocks: i32): usize {
  const bytes = PANEL_HEADER + <usize> blocks * blockBytes(layout);
  return sharesHalves(layout) ? bytes + <usize> ((blocks + 7) >> 3) * sharedBytes(layout) : bytes;
}

/**
 * Adds block `b` of a panel times `count` tokens to the first 16 of each row of `sums` [count][32].
 * `x` is the tokens' activation blocks, one behind the other.
 */
export function blockTimesTokens(
  layout: i32,
  panel: usize,
  b: i32,
  x: usize,
  count: i32,
  sums: usize,
): void {
  const factor = load<f32>(panel, 4);
  const bytes = blockBytes(layout);
  let w = panel + PANEL_HEADER + <usize> b * bytes;
  if (layout == INT4) int4Block(w, x, count, sums, factor);
  else if (layout == INT4M) int4mBlock(w, x, count, sums, factor);
  else if (layout == INT8) int8Block(w, x, count, sums, factor);
  else if (layout == INT4N) {
    if (count <= FEW_TOKENS && !load<i32>(panel)) {
      for (let t = 0; t < count; t++, x += 48, sums += 128) fineTimes1(layout, w, factor, x, 1, sums);
      return;
    }
    int4nAsInt8(w, spare);
    int8Block(spare, x, count, sums, factor);
  } else if (sharesHalves(layout)) {
    const shared = sharedBytes(layout);
    w += <usize> ((b >> 3) + 1) * shared;
    fineBlock(layout, w, w - <usize> (b & 7) * bytes - shared, x, count, sums, factor);
  } else fineBlock(layout, w, w, x, count, sums, factor);
}

/** Adds a panel times one token to `sums` [16]. Scales must be finite. */
export function panelTimesToken(
  layout: i32,
  panel: usize,
  x: usize,
  blocks: i32,
  sums: usize,
): void {
  if (layout == INT4) int4Times1(panel, x, X_BLOCK, blocks, sums);
  else if (layout == INT4M) int4mTimes1(panel, x, X_BLOCK, blocks, sums);
  else if (layout == INT8) int8Times1(panel, x, X_BLOCK, blocks, sums);
  else fineTimes1(layout, panel + PANEL_HEADER, load<f32>(panel, 4), x, blocks, sums);
}

/** Adds four panels, `distance` bytes apart, times one token to `sums` [4][16]. Scales must be finite. */
export function fourPanelsTimesToken(
  layout: i32,
  panel: usize,
  distance: usize,
  x: usize,
  blocks: i32,
  sums: usize,
): void {
  if (layout == INT4) int4FourTimes1(panel, distance, x, blocks, sums);
  else if (layout == INT4M) int4mFourTimes1(panel, distance, x, blocks, sums);
  else if (layout == INT8) int8FourTimes1(panel, distance, x, blocks, sums);
  else fineFourTimes1(layout, panel, distance, x, blocks, sums);
}

/**
 * Most tokens that `panelTimesFew` takes sooner than `blockTimesTokens`; 1 of a layout that has no loop
 * for two of them.
 */
export function fewTokens(layout: i32): i32 {
  return layout <= INT4M ? 4 : 1;
}

/** Adds a panel times two tokens, a block of whose activations is `step` bytes long. */
function panelTimesTwo(
  layout: i32,
  panel: usize,
  x: usize,
  step: usize,
  blocks: i32,
  sums: usize,
): void {
  if (layout == INT4) int4TimesTwo(panel, x, step, blocks, sums);
  else if (layout == INT4M) int4mTimesTwo(panel, x, step, blocks, sums);
  else int8TimesTwo(panel, x, step, blocks, sums);
}

/**
 * Adds a panel times `count` tokens to the first 16 of each row of `sums` [count][32]. `x` is the
 * tokens' activation blocks, one behind the other, for each block of k. Scales must be finite. Weights
 * are unpacked again for every two tokens.
 */
export function panelTimesFew(
  layout: i32,
  panel: usize,
  x: usize,
  count: i32,
  blocks: i32,
  sums: usize,
): void {
  const step = <usize> count * X_BLOCK;
  for (; count > 1; count -= 2) {
    panelTimesTwo(layout, panel, x, step, blocks, sums);
    x += 2 * X_BLOCK;
    sums += 256;
  }
  if (count == 0) return;
  if (layout == INT4) int4Times1(panel, x, step, blocks, sums);
  else if (layout == INT4M) int4mTimes1(panel, x, step, blocks, sums);
  else int8Times1(panel, x, step, blocks, sums);
}
