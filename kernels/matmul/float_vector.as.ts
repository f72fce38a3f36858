// Float weights, one token: the inner loops of matmulF32, matmulF16 and matmulBf16 that read
// several panels side by side, for the reason given in int4_vector.as.ts. float.as.ts walks over panels;
// float_blocks.as.ts has the packed layouts, and loops for any number of k.

import { lane0, lane1, lane2, lane3, madd } from "../simd.as";
import {
  BF16,
  bf16Times1,
  F16_FOLDED,
  f16FoldedTimes1,
  F32,
  f32Times1,
  HIGH_BITS,
  highHalves,
  LOW_BITS,
  lowHalves,
} from "./float_blocks.as";

/** Rows 0 … 3 or 8 … 11 of a vector of weights. */
@inline
export function first(v: v128, low: v128, lift: v128, layout: i32): v128 {
  return layout == F32 ? v : lowHalves(v, low, lift, layout);
}

/** The four rows after `first`: of the next vector where weights are f32. */
@inline
export function second(p: usize, v: v128, high: v128, lift: v128, layout: i32): v128 {
  return layout == F32 ? v128.load(p, 16) : highHalves(v, high, lift, layout);
}

/** Adds 16 rows times one token, over eight k, to `sums`; `factor` is the panel's. */
@inline
function eightTimes1(
  w: usize,
  xa: v128,
  xb: v128,
  factor: v128,
  sums: usize,
  low: v128,
  high: v128,
  layout: i32,
): void {
  const half: usize = layout == F32 ? 32 : 16;
  if (layout == F16_FOLDED) {
    xa = f32x4.mul(xa, factor);
    xb = f32x4.mul(xb, factor);
  }
  let a = v128.load(sums);
  let b = v128.load(sums, 16);
  let c = v128.load(sums, 32);
  let d = v128.load(sums, 48);
  let s = lane0(xa);
  let v = v128.load(w);
  a = madd(s, first(v, low, factor, layout), a);
  b = madd(s, second(w, v, high, factor, layout), b);
  w += half;
  v = v128.load(w);
  c = madd(s, first(v, low, factor, layout), c);
  d = madd(s, second(w, v, high, factor, layout), d);
  s = lane1(xa);
  w += half;
  v = v128.load(w);
  a = madd(s, first(v, low, factor, layout), a);
  b = madd(s, second(w, v, high, factor, layout), b);
  w += half;
  v = v128.load(w);
  c = madd(s, first(v, low, factor, layout), c);
  d = madd(s, second(w, v, high, factor, layout), d);
  s = lane2(xa);
  w += half;
  v = v128.load(w);
  a = madd(s, first(v, low, factor, layout), a);
  b = madd(s, second(w, v, high, factor, layout), b);
  w += half;
  v = v128.load(w);
  c = madd(s, first(v, low, factor, layout), c);
  d = madd(s, second(w, v, high, factor, layout), d);
  s = lane3(xa);
  w += half;
  v = v128.load(w);
  a = madd(s, first(v, low, factor, layout), a);
  b = madd(s, second(w, v, high, factor, layout), b);
  w += half;
  v = v128.load(w);
  c = madd(s, first(v, low, factor, layout), c);
  d = madd(s, second(w, v, high, factor, layout), d);
  s = lane0(xb);
  w += half;
  v = v128.load(w);
  a = madd(s, first(v, low, factor, layout), a);
  b = madd(s, second(w, v, high, factor, layout), b);
  w += half;
  v = v128.load(w);
  c = madd(s, first(v, low, factor, layout), c);
  d = madd(s, second(w, v, high, factor, layout), d);
  s = lane1(xb);
  w += half;
  v = v128.load(w);
  a = madd(s, first(v, low, factor, layout), a);
  b = madd(s, second(w, v, high, factor, layout), b);
  w += half;
  v = v128.load(w);
  c = madd(s, first(v, low, factor, layout), c);
  d = madd(s, second(w, v, high, factor, layout), d);
  s = lane2(xb);
  w += half;
  v = v128.load(w);
  a = madd(s, first(v, low, factor, layout), a);
  b = madd(s, second(w, v, high, factor, layout), b);
  w += half;
  v = v128.load(w);
  c = madd(s, first(v, low, factor, layout), c);
  d = madd(s, second(w, v, high, factor, layout), d);
  s = lane3(xb);
  w += half;
  v = v128.load(w);
  a = madd(s, first(v, low, factor, layout), a);
  b = madd(s, second(w, v, high, factor, layout), b);
  w += half;
  v = v128.load(w);
  c = madd(s, first(v, low, factor, layout), c);
  d = madd(s, second(w, v, high, factor, layout), d);
  v128.store(sums, a);
  v128.store(sums, b, 16);
  v128.store(sums, c, 32);
  v128.store(sums, d, 48);
}

/**
 * Adds `count` panels, 1 or 4, times one token to `sums` [count][16]. The first panel's header is at
 * `panel`, the others follow at the given distance.
 */
@inline
function panelsTimes1(
  panel: usize,
  distance: usize,
  count: i32,
  x: usize,
  columns: i32,
  sums: usize,
  layout: i32,
): void {
  const low = i32x4.splat(LOW_BITS);
  const high = i32x4.splat(layout == BF16 ? 0xffff0000 : HIGH_BITS);
  if (count == 1) distance = 0; // nothing is read beyond the only panel
  let w0 = panel;
  let w1 = w0 + distance;
  let w2 = w1 + distance;
  let w3 = w2 + distance;
  const sums1 = sums + 64;
  const sums2 = sums + 128;
  const sums3 = sums + 192;
  const factor0 = v128.load32_splat(w0, 4);
  const factor1 = v128.load32_splat(w1, 4);
  const factor2 = v128.load32_splat(w2, 4);
  const factor3 = v128.load32_splat(w3, 4);
  w0 += 16;
  w1 += 16;
  w2 += 16;
  w3 += 16;
  const end = x + (<usize> (columns & ~7) << 2);
  while (x < end) {
    const xa = v128.load(x);
    const xb = v128.load(x, 16);
    eightTimes1(w0, xa, xb, factor0, sums, low, high, layout);
    w0 += layout == F32 ? 512 : 256;
    x += 32;
    if (count == 1) continue;
    eightTimes1(w1, xa, xb, factor1, sums1, low, high, layout);
    eightTimes1(w2, xa, xb, factor2, sums2, low, high, layout);
    eightTimes1(w3, xa, xb, factor3, sums3, low, high, layout);
    w1 += layout == F32 ? 512 : 256;
    w2 += layout == F32 ? 512 : 256;
    w3 += layout == F32 ? 512 : 256;
  }
  const rest = columns & 7;
  if (rest == 0) return;
  for (; count > 0; count--) {
    if (layout == F32) f32Times1(w0, x, rest, sums);
    else if (layout == BF16) bf16Times1(w0, x, rest, sums);
    else f16FoldedTimes1(w0, x, rest, sums, load<f32>(panel, 4));
    w0 += distance;
    panel += distance;
    sums += 64;
  }
}

/** See `panelsTimes1`. */
export function f32PanelsTimes1(
  panel: usize,
  distance: usize,
  count: i32,
  x: usize,
  columns: i32,
  sums: usize,
): void {
  panelsTimes1(panel, distance, count, x, columns, sums, F32);
}

/** See `panelsTimes1`; where the activations times the panels' factors are all finite. */
export function f16PanelsTimes1(
  panel: usize,
  distance: usize,
  count: i32,
  x: usize,
  columns: i32,
  sums: usize,
): void {
  panelsTimes1(panel, distance, count, x, columns, sums, F16_FOLDED);
}

/** See `panelsTimes1`. */
export function bf16PanelsTimes1(
  panel: usize,
  distance: usize,
  count: i32,
  x: usize,
  columns: i32,
  sums: usize,
): void {
  panelsTimes1(panel, distance, count, x, columns, sums, BF16);
}

/** Whether `count` activations stay finite when multiplied by up to 2^112. */
export function canFold(x: usize, count: i32): bool {
  const magnitude = i32x4.splat(0x7fffffff);
  let largest = i32x4.splat(0);
  const end = x + (<usize> count << 2);
  for (; x + 16 <= end; x += 16) {
    largest = i32x4.max_s(largest, v128.and(v128.load(x), magnitude));
  }
  for (; x < end; x += 4) {
    largest = i32x4.max_s(largest, v128.and(v128.load32_zero(x), magnitude));
  }
  return !v128.any_true(i32x4.ge_s(largest, i32x4.splat(0x47000000))); // 2^15, or Inf, NaN
}
