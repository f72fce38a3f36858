// Float weights, one token, one panel: the inner loop for the panels that float_vector.as.ts leaves. It
// adds up in the same order.

import { F16_BITS, lane0, lane1, lane2, lane3, madd } from "../simd.as";
import { BF16, F32 } from "../constants.as";
import { F16_FOLDED, highHalves, LOW_BITS, lowHalves } from "./float_blocks.as";

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

/** Eight rows of one k, after others: of a vector of halves, or the first of two of f32. */
@inline
export function load1(p: usize, layout: i32): v128 {
  return layout == F32 ? v128.load(p, 32) : v128.load(p, 16);
}

@inline
export function load2(p: usize, layout: i32): v128 {
  return layout == F32 ? v128.load(p, 64) : v128.load(p, 32);
}

@inline
export function load3(p: usize, layout: i32): v128 {
  return layout == F32 ? v128.load(p, 96) : v128.load(p, 48);
}

/** Adds one panel times one token to `sums` [16], over `columns` k, a multiple of eight. */
@inline
export function panelTimes1(panel: usize, x: usize, columns: i32, sums: usize, layout: i32): void {
  const low = i32x4.splat(LOW_BITS);
  const high = i32x4.splat(layout == BF16 ? 0xffff0000 : F16_BITS);
  const half: usize = layout == F32 ? 32 : 16; // bytes of eight rows of one k
  const lift = v128.load32_splat(panel, 4);
  let p = panel + 16;
  let s0 = v128.load(sums); let s1 = v128.load(sums, 16);
  let s2 = v128.load(sums, 32); let s3 = v128.load(sums, 48);
  const end = x + (<usize> columns << 2);
  while (x < end) {
    let xs = v128.load(x);
    if (layout == F16_FOLDED) xs = f32x4.mul(xs, lift);
    let u: v128;
    let v: v128;
    let y: v128;
    let z: v128;
    let k: v128;

    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    k = lane0(xs);
    s0 = madd(k, first(u, low, lift, layout), s0);
    s1 = madd(k, second(p, u, high, lift, layout), s1);
    s2 = madd(k, first(v, low, lift, layout), s2);
    s3 = madd(k, second(p + half, v, high, lift, layout), s3);
    k = lane1(xs);
    s0 = madd(k, first(y, low, lift, layout), s0);
    s1 = madd(k, second(p + 2 * half, y, high, lift, layout), s1);
    s2 = madd(k, first(z, low, lift, layout), s2);
    s3 = madd(k, second(p + 3 * half, z, high, lift, layout), s3);
    p += 4 * half;

    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    k = lane2(xs);
    s0 = madd(k, first(u, low, lift, layout), s0);
    s1 = madd(k, second(p, u, high, lift, layout), s1);
    s2 = madd(k, first(v, low, lift, layout), s2);
    s3 = madd(k, second(p + half, v, high, lift, layout), s3);
    k = lane3(xs);
    s0 = madd(k, first(y, low, lift, layout), s0);
    s1 = madd(k, second(p + 2 * half, y, high, lift, layout), s1);
    s2 = madd(k, first(z, low, lift, layout), s2);
    s3 = madd(k, second(p + 3 * half, z, high, lift, layout), s3);
    p += 4 * half;

    x += 16;
  }
  v128.store(sums, s0); v128.store(sums, s1, 16);
  v128.store(sums, s2, 32); v128.store(sums, s3, 48);
}
