// INT4 weights, one token, one panel: the inner loops for the panels that int4_vector.as.ts leaves. The
// packed layout stands in int4.as.ts.

import { mac, startOf, sumsQuads } from "../dots.as";
import {
  F16_BITS,
  f16Finite,
  f16High,
  f16Low,
  lane0,
  lane1,
  lane2,
  lane3,
  madd,
} from "../simd.as";
import { high, scaleSum } from "./int4.as";

/** acc + x·w over eight k of four rows: x0 meets the low ones, x1 the high ones. */
@inline
export function macNibbles(acc: v128, x0: v128, x1: v128, w: v128, mask: v128, quads: bool): v128 {
  return mac(mac(acc, x0, v128.and(w, mask), quads), x1, high(w, mask), quads);
}

/**
 * Adds 16 rows times one token, over one block of k, to `sums`. `xa`, `xb` and `aux` are the
 * activations' block, `lift` is the panel's factor. Scales must be finite.
 *
 * Four pointers that are read at the same four distances: limits for bounds checks are then few
 * enough to stay in registers.
 */
@inline
function blockTimes1(
  w: usize,
  xa: v128,
  xb: v128,
  aux: v128,
  lift: v128,
  sums: usize,
  mask: v128,
  ones: v128,
  bits: v128,
  hasMin: bool,
  quads: bool,
): void {
  const p0 = hasMin ? w + 64 : w + 32;
  const p1 = hasMin ? w + 128 : w + 96;
  const p2 = hasMin ? w + 192 : w + 160;
  const p3 = hasMin ? w + 256 : w + 224;
  const start = hasMin ? i16x8.splat(0) : startOf(lane1(aux), ones, quads);
  let x0 = lane0(xa);
  let x1 = lane0(xb);
  let a0 = macNibbles(start, x0, x1, v128.load(p0), mask, quads);
  let a1 = macNibbles(start, x0, x1, v128.load(p1), mask, quads);
  let a2 = macNibbles(start, x0, x1, v128.load(p2), mask, quads);
  let a3 = macNibbles(start, x0, x1, v128.load(p3), mask, quads);
  x0 = lane1(xa);
  x1 = lane1(xb);
  a0 = macNibbles(a0, x0, x1, v128.load(p0, 16), mask, quads);
  a1 = macNibbles(a1, x0, x1, v128.load(p1, 16), mask, quads);
  a2 = macNibbles(a2, x0, x1, v128.load(p2, 16), mask, quads);
  a3 = macNibbles(a3, x0, x1, v128.load(p3, 16), mask, quads);
  x0 = lane2(xa);
  x1 = lane2(xb);
  a0 = macNibbles(a0, x0, x1, v128.load(p0, 32), mask, quads);
  a1 = macNibbles(a1, x0, x1, v128.load(p1, 32), mask, quads);
  a2 = macNibbles(a2, x0, x1, v128.load(p2, 32), mask, quads);
  a3 = macNibbles(a3, x0, x1, v128.load(p3, 32), mask, quads);
  x0 = lane3(xa);
  x1 = lane3(xb);
  a0 = macNibbles(a0, x0, x1, v128.load(p0, 48), mask, quads);
  a1 = macNibbles(a1, x0, x1, v128.load(p1, 48), mask, quads);
  a2 = macNibbles(a2, x0, x1, v128.load(p2, 48), mask, quads);
  a3 = macNibbles(a3, x0, x1, v128.load(p3, 48), mask, quads);
  const d = lane0(aux);
  const s0 = v128.load(w);
  const s1 = v128.load(w, 16);
  let f0 = scaleSum(v128.load(sums), a0, ones, f32x4.mul(f16Finite(f16Low(s0), bits, lift), d), quads);
  let f1 = scaleSum(v128.load(sums, 16), a1, ones, f32x4.mul(f16Finite(f16High(s0), bits, lift), d), quads);
  let f2 = scaleSum(v128.load(sums, 32), a2, ones, f32x4.mul(f16Finite(f16Low(s1), bits, lift), d), quads);
  let f3 = scaleSum(v128.load(sums, 48), a3, ones, f32x4.mul(f16Finite(f16High(s1), bits, lift), d), quads);
  if (hasMin) {
    const ds = lane2(aux);
    const m0 = v128.load(w, 32);
    const m1 = v128.load(w, 48);
    f0 = madd(f16Finite(f16Low(m0), bits, lift), ds, f0);
    f1 = madd(f16Finite(f16High(m0), bits, lift), ds, f1);
    f2 = madd(f16Finite(f16Low(m1), bits, lift), ds, f2);
    f3 = madd(f16Finite(f16High(m1), bits, lift), ds, f3);
  }
  v128.store(sums, f0);
  v128.store(sums, f1, 16);
  v128.store(sums, f2, 32);
  v128.store(sums, f3, 48);
}

/**
 * Adds one panel times one token, whose activation blocks are `step` bytes apart, to `sums` [16]. The
 * panel's header is at `w`.
 */
@inline
function panelTimes1(
  w: usize,
  x: usize,
  step: usize,
  blocks: i32,
  sums: usize,
  hasMin: bool,
  quads: bool,
): void {
  const mask = i8x16.splat(15);
  const ones = i16x8.splat(1);
  const bits = i32x4.splat(F16_BITS);
  const lift = v128.load32_splat(w, 4);
  const end = x + <usize> blocks * step;
  w += 16;
  while (x < end) {
    const xa = v128.load(x);
    const xb = v128.load(x, 16);
    const aux = v128.load(x, 32);
    blockTimes1(w, xa, xb, aux, lift, sums, mask, ones, bits, hasMin, quads);
    w += hasMin ? 320 : 288;
    x += step;
  }
}

function int4Times1Pairs(w: usize, x: usize, step: usize, blocks: i32, sums: usize): void {
  panelTimes1(w, x, step, blocks, sums, false, false);
}

function int4Times1Quads(w: usize, x: usize, step: usize, blocks: i32, sums: usize): void {
  panelTimes1(w, x, step, blocks, sums, false, true);
}

/** See `panelTimes1`. */
export function int4Times1(w: usize, x: usize, step: usize, blocks: i32, sums: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD && sumsQuads()) int4Times1Quads(w, x, step, blocks, sums);
  else int4Times1Pairs(w, x, step, blocks, sums);
}

function int4mTimes1Pairs(w: usize, x: usize, step: usize, blocks: i32, sums: usize): void {
  panelTimes1(w, x, step, blocks, sums, true, false);
}

function int4mTimes1Quads(w: usize, x: usize, step: usize, blocks: i32, sums: usize): void {
  panelTimes1(w, x, step, blocks, sums, true, true);
}

/** See `panelTimes1`. */
export function int4mTimes1(w: usize, x: usize, step: usize, blocks: i32, sums: usize): void {
  if (ASC_FEATURE_RELAXED_SIMD && sumsQuads()) int4mTimes1Quads(w, x, step, blocks, sums);
  else int4mTimes1Pairs(w, x, step, blocks, sums);
}
