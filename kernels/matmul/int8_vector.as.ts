// INT8 weights, one token: the inner loops of matmulInt8. The packed layout stands in int8.as.ts;
// integer.as.ts walks over panels.

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
import { even, INT8_BLOCK, mac, odd } from "./int8.as";

/** acc + x·w over four k of four rows: x0 meets its even bytes, x1 the odd ones. */
@inline
function macBytes(acc: v128, x0: v128, x1: v128, w: v128, mask: v128): v128 {
  return mac(mac(acc, x0, even(w, mask)), x1, odd(w));
}

/**
 * Adds 16 rows times one token, over one block of k, to `sums`. `x0` … `x3` are the activations as
 * i16, `aux` the rest of their block, `lift` is the panel's factor. Scales must be finite. Pointers
 * as in int4_vector.as.ts.
 */
@inline
function blockTimes1(
  w: usize,
  x0: v128,
  x1: v128,
  x2: v128,
  x3: v128,
  aux: v128,
  lift: v128,
  sums: usize,
  mask: v128,
  bits: v128,
): void {
  const p0 = w + 32;
  const p1 = w + 160;
  const p2 = w + 288;
  const p3 = w + 416;
  const start = lane3(aux);
  let s = lane0(x0);
  let t = lane1(x0);
  let a0 = macBytes(start, s, t, v128.load(p0), mask);
  let a1 = macBytes(start, s, t, v128.load(p1), mask);
  let a2 = macBytes(start, s, t, v128.load(p2), mask);
  let a3 = macBytes(start, s, t, v128.load(p3), mask);
  s = lane2(x0);
  t = lane3(x0);
  a0 = macBytes(a0, s, t, v128.load(p0, 16), mask);
  a1 = macBytes(a1, s, t, v128.load(p1, 16), mask);
  a2 = macBytes(a2, s, t, v128.load(p2, 16), mask);
  a3 = macBytes(a3, s, t, v128.load(p3, 16), mask);
  s = lane0(x1);
  t = lane1(x1);
  a0 = macBytes(a0, s, t, v128.load(p0, 32), mask);
  a1 = macBytes(a1, s, t, v128.load(p1, 32), mask);
  a2 = macBytes(a2, s, t, v128.load(p2, 32), mask);
  a3 = macBytes(a3, s, t, v128.load(p3, 32), mask);
  s = lane2(x1);
  t = lane3(x1);
  a0 = macBytes(a0, s, t, v128.load(p0, 48), mask);
  a1 = macBytes(a1, s, t, v128.load(p1, 48), mask);
  a2 = macBytes(a2, s, t, v128.load(p2, 48), mask);
  a3 = macBytes(a3, s, t, v128.load(p3, 48), mask);
  s = lane0(x2);
  t = lane1(x2);
  a0 = macBytes(a0, s, t, v128.load(p0, 64), mask);
  a1 = macBytes(a1, s, t, v128.load(p1, 64), mask);
  a2 = macBytes(a2, s, t, v128.load(p2, 64), mask);
  a3 = macBytes(a3, s, t, v128.load(p3, 64), mask);
  s = lane2(x2);
  t = lane3(x2);
  a0 = macBytes(a0, s, t, v128.load(p0, 80), mask);
  a1 = macBytes(a1, s, t, v128.load(p1, 80), mask);
  a2 = macBytes(a2, s, t, v128.load(p2, 80), mask);
  a3 = macBytes(a3, s, t, v128.load(p3, 80), mask);
  s = lane0(x3);
  t = lane1(x3);
  a0 = macBytes(a0, s, t, v128.load(p0, 96), mask);
  a1 = macBytes(a1, s, t, v128.load(p1, 96), mask);
  a2 = macBytes(a2, s, t, v128.load(p2, 96), mask);
  a3 = macBytes(a3, s, t, v128.load(p3, 96), mask);
  s = lane2(x3);
  t = lane3(x3);
  a0 = macBytes(a0, s, t, v128.load(p0, 112), mask);
  a1 = macBytes(a1, s, t, v128.load(p1, 112), mask);
  a2 = macBytes(a2, s, t, v128.load(p2, 112), mask);
  a3 = macBytes(a3, s, t, v128.load(p3, 112), mask);
  const d = lane0(aux);
  const s0 = v128.load(w);
  const s1 = v128.load(w, 16);
  const d0 = f32x4.mul(f16Finite(f16Low(s0), bits, lift), d);
  const d1 = f32x4.mul(f16Finite(f16High(s0), bits, lift), d);
  const d2 = f32x4.mul(f16Finite(f16Low(s1), bits, lift), d);
  const d3 = f32x4.mul(f16Finite(f16High(s1), bits, lift), d);
  v128.store(sums, madd(f32x4.convert_i32x4_s(a0), d0, v128.load(sums)));
  v128.store(sums, madd(f32x4.convert_i32x4_s(a1), d1, v128.load(sums, 16)), 16);
  v128.store(sums, madd(f32x4.convert_i32x4_s(a2), d2, v128.load(sums, 32)), 32);
  v128.store(sums, madd(f32x4.convert_i32x4_s(a3), d3, v128.load(sums, 48)), 48);
}

/** Adds one panel times one token to `sums` [16]. The panel's header is at `w`. */
export function int8Times1(w: usize, x: usize, blocks: i32, sums: usize): void {
  const mask = i16x8.splat(255);
  const bits = i32x4.splat(F16_BITS);
  const lift = v128.load32_splat(w, 4);
  const end = x + blocks * 48;
  w += 16;
  while (x < end) {
    const x0 = v128.load_ext<i8>(x);
    const x1 = v128.load_ext<i8>(x, 8);
    const x2 = v128.load_ext<i8>(x, 16);
    const x3 = v128.load_ext<i8>(x, 24);
    const aux = v128.load(x, 32);
    blockTimes1(w, x0, x1, x2, x3, aux, lift, sums, mask, bits);
    w += INT8_BLOCK;
    x += 48;
  }
}

/** Adds four panels times one token to `sums` [4][16]: see int4_vector.as.ts. */
export function int8FourTimes1(
  panel: usize,
  distance: usize,
  x: usize,
  blocks: i32,
  sums: usize,
): void {
  const mask = i16x8.splat(255);
  const bits = i32x4.splat(F16_BITS);
  let w0 = panel;
  let w1 = w0 + distance;
  let w2 = w1 + distance;
  let w3 = w2 + distance;
  const sums1 = sums + 64;
  const sums2 = sums + 128;
  const sums3 = sums + 192;
  const lift0 = v128.load32_splat(w0, 4);
  const lift1 = v128.load32_splat(w1, 4);
  const lift2 = v128.load32_splat(w2, 4);
  const lift3 = v128.load32_splat(w3, 4);
  w0 += 16;
  w1 += 16;
  w2 += 16;
  w3 += 16;
  const end = x + blocks * 48;
  while (x < end) {
    const x0 = v128.load_ext<i8>(x);
    const x1 = v128.load_ext<i8>(x, 8);
    const x2 = v128.load_ext<i8>(x, 16);
    const x3 = v128.load_ext<i8>(x, 24);
    const aux = v128.load(x, 32);
    blockTimes1(w0, x0, x1, x2, x3, aux, lift0, sums, mask, bits);
    blockTimes1(w1, x0, x1, x2, x3, aux, lift1, sums1, mask, bits);
    blockTimes1(w2, x0, x1, x2, x3, aux, lift2, sums2, mask, bits);
    blockTimes1(w3, x0, x1, x2, x3, aux, lift3, sums3, mask, bits);
    w0 += INT8_BLOCK;
    w1 += INT8_BLOCK;
    w2 += INT8_BLOCK;
    w3 += INT8_BLOCK;
    x += 48;
  }
}
