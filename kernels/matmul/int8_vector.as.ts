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
import { INT8_BLOCK } from "../constants.as";
import { even, mac, odd } from "./int8.as";

/** acc + x·w over four k of four rows: x0 meets its even bytes, x1 the odd ones. */
@inline
function macBytes(acc: v128, x0: v128, x1: v128, w: v128, mask: v128): v128 {
  return mac(mac(acc, x0, even(w, mask)), x1, odd(w));
}

/** acc + scale·(integer dot products of four rows). */
@inline
function scaleSum(acc: v128, dots: v128, scale: v128): v128 {
  return madd(f32x4.convert_i32x4_s(dots), scale, acc);
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

/**
 * Adds one panel times one token, whose activation blocks are `step` bytes apart, to `sums` [16]. The
 * panel's header is at `w`.
 */
export function int8Times1(w: usize, x: usize, step: usize, blocks: i32, sums: usize): void {
  const mask = i16x8.splat(255);
  const bits = i32x4.splat(F16_BITS);
  const lift = v128.load32_splat(w, 4);
  const end = x + <usize> blocks * step;
  w += 16;
  while (x < end) {
    const x0 = v128.load_ext<i8>(x);
    const x1 = v128.load_ext<i8>(x, 8);
    const x2 = v128.load_ext<i8>(x, 16);
    const x3 = v128.load_ext<i8>(x, 24);
    const aux = v128.load(x, 32);
    blockTimes1(w, x0, x1, x2, x3, aux, lift, sums, mask, bits);
    w += INT8_BLOCK;
    x += step;
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
  const lift0 = v128.load32_splat(w0, 4);
  const lift1 = v128.load32_splat(w1, 4);
  const lift2 = v128.load32_splat(w2, 4);
  const lift3 = v128.load32_splat(w3, 4);
  w0 += 16;
  w1 += 16;
  w2 += 16;
  w3 += 16;
  let s00 = v128.load(sums); let s01 = v128.load(sums, 16);
  let s02 = v128.load(sums, 32); let s03 = v128.load(sums, 48);
  let s10 = v128.load(sums, 64); let s11 = v128.load(sums, 80);
  let s12 = v128.load(sums, 96); let s13 = v128.load(sums, 112);
  let s20 = v128.load(sums, 128); let s21 = v128.load(sums, 144);
  let s22 = v128.load(sums, 160); let s23 = v128.load(sums, 176);
  let s30 = v128.load(sums, 192); let s31 = v128.load(sums, 208);
  let s32 = v128.load(sums, 224); let s33 = v128.load(sums, 240);
  const end = x + blocks * 48;
  while (x < end) {
    const x0 = v128.load_ext<i8>(x);
    const x1 = v128.load_ext<i8>(x, 8);
    const x2 = v128.load_ext<i8>(x, 16);
    const x3 = v128.load_ext<i8>(x, 24);
    const aux = v128.load(x, 32);
    const d = lane0(aux);
    const start = lane3(aux);
    let p0: usize;
    let p1: usize;
    let p2: usize;
    let p3: usize;
    let e: v128;
    let o: v128;
    let u0: v128;
    let u1: v128;
    let u2: v128;
    let u3: v128;
    let a0: v128;
    let a1: v128;
    let a2: v128;
    let a3: v128;

    p0 = w0 + 32; p1 = p0 + 128; p2 = p0 + 256; p3 = p0 + 384;
    u0 = v128.load(p0); u1 = v128.load(p1); u2 = v128.load(p2); u3 = v128.load(p3);
    e = lane0(x0); o = lane1(x0);
    a0 = macBytes(start, e, o, u0, mask); a1 = macBytes(start, e, o, u1, mask);
    a2 = macBytes(start, e, o, u2, mask); a3 = macBytes(start, e, o, u3, mask);
    u0 = v128.load(p0, 16); u1 = v128.load(p1, 16); u2 = v128.load(p2, 16); u3 = v128.load(p3, 16);
    e = lane2(x0); o = lane3(x0);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 32); u1 = v128.load(p1, 32); u2 = v128.load(p2, 32); u3 = v128.load(p3, 32);
    e = lane0(x1); o = lane1(x1);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 48); u1 = v128.load(p1, 48); u2 = v128.load(p2, 48); u3 = v128.load(p3, 48);
    e = lane2(x1); o = lane3(x1);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 64); u1 = v128.load(p1, 64); u2 = v128.load(p2, 64); u3 = v128.load(p3, 64);
    e = lane0(x2); o = lane1(x2);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 80); u1 = v128.load(p1, 80); u2 = v128.load(p2, 80); u3 = v128.load(p3, 80);
    e = lane2(x2); o = lane3(x2);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 96); u1 = v128.load(p1, 96); u2 = v128.load(p2, 96); u3 = v128.load(p3, 96);
    e = lane0(x3); o = lane1(x3);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 112); u1 = v128.load(p1, 112); u2 = v128.load(p2, 112); u3 = v128.load(p3, 112);
    e = lane2(x3); o = lane3(x3);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(w0); u1 = v128.load(w0, 16);
    s00 = scaleSum(s00, a0, f32x4.mul(f16Finite(f16Low(u0), bits, lift0), d));
    s01 = scaleSum(s01, a1, f32x4.mul(f16Finite(f16High(u0), bits, lift0), d));
    s02 = scaleSum(s02, a2, f32x4.mul(f16Finite(f16Low(u1), bits, lift0), d));
    s03 = scaleSum(s03, a3, f32x4.mul(f16Finite(f16High(u1), bits, lift0), d));

    p0 = w1 + 32; p1 = p0 + 128; p2 = p0 + 256; p3 = p0 + 384;
    u0 = v128.load(p0); u1 = v128.load(p1); u2 = v128.load(p2); u3 = v128.load(p3);
    e = lane0(x0); o = lane1(x0);
    a0 = macBytes(start, e, o, u0, mask); a1 = macBytes(start, e, o, u1, mask);
    a2 = macBytes(start, e, o, u2, mask); a3 = macBytes(start, e, o, u3, mask);
    u0 = v128.load(p0, 16); u1 = v128.load(p1, 16); u2 = v128.load(p2, 16); u3 = v128.load(p3, 16);
    e = lane2(x0); o = lane3(x0);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 32); u1 = v128.load(p1, 32); u2 = v128.load(p2, 32); u3 = v128.load(p3, 32);
    e = lane0(x1); o = lane1(x1);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 48); u1 = v128.load(p1, 48); u2 = v128.load(p2, 48); u3 = v128.load(p3, 48);
    e = lane2(x1); o = lane3(x1);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 64); u1 = v128.load(p1, 64); u2 = v128.load(p2, 64); u3 = v128.load(p3, 64);
    e = lane0(x2); o = lane1(x2);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 80); u1 = v128.load(p1, 80); u2 = v128.load(p2, 80); u3 = v128.load(p3, 80);
    e = lane2(x2); o = lane3(x2);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 96); u1 = v128.load(p1, 96); u2 = v128.load(p2, 96); u3 = v128.load(p3, 96);
    e = lane0(x3); o = lane1(x3);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 112); u1 = v128.load(p1, 112); u2 = v128.load(p2, 112); u3 = v128.load(p3, 112);
    e = lane2(x3); o = lane3(x3);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(w1); u1 = v128.load(w1, 16);
    s10 = scaleSum(s10, a0, f32x4.mul(f16Finite(f16Low(u0), bits, lift1), d));
    s11 = scaleSum(s11, a1, f32x4.mul(f16Finite(f16High(u0), bits, lift1), d));
    s12 = scaleSum(s12, a2, f32x4.mul(f16Finite(f16Low(u1), bits, lift1), d));
    s13 = scaleSum(s13, a3, f32x4.mul(f16Finite(f16High(u1), bits, lift1), d));

    p0 = w2 + 32; p1 = p0 + 128; p2 = p0 + 256; p3 = p0 + 384;
    u0 = v128.load(p0); u1 = v128.load(p1); u2 = v128.load(p2); u3 = v128.load(p3);
    e = lane0(x0); o = lane1(x0);
    a0 = macBytes(start, e, o, u0, mask); a1 = macBytes(start, e, o, u1, mask);
    a2 = macBytes(start, e, o, u2, mask); a3 = macBytes(start, e, o, u3, mask);
    u0 = v128.load(p0, 16); u1 = v128.load(p1, 16); u2 = v128.load(p2, 16); u3 = v128.load(p3, 16);
    e = lane2(x0); o = lane3(x0);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 32); u1 = v128.load(p1, 32); u2 = v128.load(p2, 32); u3 = v128.load(p3, 32);
    e = lane0(x1); o = lane1(x1);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 48); u1 = v128.load(p1, 48); u2 = v128.load(p2, 48); u3 = v128.load(p3, 48);
    e = lane2(x1); o = lane3(x1);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 64); u1 = v128.load(p1, 64); u2 = v128.load(p2, 64); u3 = v128.load(p3, 64);
    e = lane0(x2); o = lane1(x2);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 80); u1 = v128.load(p1, 80); u2 = v128.load(p2, 80); u3 = v128.load(p3, 80);
    e = lane2(x2); o = lane3(x2);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 96); u1 = v128.load(p1, 96); u2 = v128.load(p2, 96); u3 = v128.load(p3, 96);
    e = lane0(x3); o = lane1(x3);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 112); u1 = v128.load(p1, 112); u2 = v128.load(p2, 112); u3 = v128.load(p3, 112);
    e = lane2(x3); o = lane3(x3);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(w2); u1 = v128.load(w2, 16);
    s20 = scaleSum(s20, a0, f32x4.mul(f16Finite(f16Low(u0), bits, lift2), d));
    s21 = scaleSum(s21, a1, f32x4.mul(f16Finite(f16High(u0), bits, lift2), d));
    s22 = scaleSum(s22, a2, f32x4.mul(f16Finite(f16Low(u1), bits, lift2), d));
    s23 = scaleSum(s23, a3, f32x4.mul(f16Finite(f16High(u1), bits, lift2), d));

    p0 = w3 + 32; p1 = p0 + 128; p2 = p0 + 256; p3 = p0 + 384;
    u0 = v128.load(p0); u1 = v128.load(p1); u2 = v128.load(p2); u3 = v128.load(p3);
    e = lane0(x0); o = lane1(x0);
    a0 = macBytes(start, e, o, u0, mask); a1 = macBytes(start, e, o, u1, mask);
    a2 = macBytes(start, e, o, u2, mask); a3 = macBytes(start, e, o, u3, mask);
    u0 = v128.load(p0, 16); u1 = v128.load(p1, 16); u2 = v128.load(p2, 16); u3 = v128.load(p3, 16);
    e = lane2(x0); o = lane3(x0);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 32); u1 = v128.load(p1, 32); u2 = v128.load(p2, 32); u3 = v128.load(p3, 32);
    e = lane0(x1); o = lane1(x1);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 48); u1 = v128.load(p1, 48); u2 = v128.load(p2, 48); u3 = v128.load(p3, 48);
    e = lane2(x1); o = lane3(x1);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 64); u1 = v128.load(p1, 64); u2 = v128.load(p2, 64); u3 = v128.load(p3, 64);
    e = lane0(x2); o = lane1(x2);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 80); u1 = v128.load(p1, 80); u2 = v128.load(p2, 80); u3 = v128.load(p3, 80);
    e = lane2(x2); o = lane3(x2);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 96); u1 = v128.load(p1, 96); u2 = v128.load(p2, 96); u3 = v128.load(p3, 96);
    e = lane0(x3); o = lane1(x3);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(p0, 112); u1 = v128.load(p1, 112); u2 = v128.load(p2, 112); u3 = v128.load(p3, 112);
    e = lane2(x3); o = lane3(x3);
    a0 = macBytes(a0, e, o, u0, mask); a1 = macBytes(a1, e, o, u1, mask);
    a2 = macBytes(a2, e, o, u2, mask); a3 = macBytes(a3, e, o, u3, mask);
    u0 = v128.load(w3); u1 = v128.load(w3, 16);
    s30 = scaleSum(s30, a0, f32x4.mul(f16Finite(f16Low(u0), bits, lift3), d));
    s31 = scaleSum(s31, a1, f32x4.mul(f16Finite(f16High(u0), bits, lift3), d));
    s32 = scaleSum(s32, a2, f32x4.mul(f16Finite(f16Low(u1), bits, lift3), d));
    s33 = scaleSum(s33, a3, f32x4.mul(f16Finite(f16High(u1), bits, lift3), d));

    w0 += INT8_BLOCK;
    w1 += INT8_BLOCK;
    w2 += INT8_BLOCK;
    w3 += INT8_BLOCK;
    x += 48;
  }
  v128.store(sums, s00); v128.store(sums, s01, 16);
  v128.store(sums, s02, 32); v128.store(sums, s03, 48);
  v128.store(sums, s10, 64); v128.store(sums, s11, 80);
  v128.store(sums, s12, 96); v128.store(sums, s13, 112);
  v128.store(sums, s20, 128); v128.store(sums, s21, 144);
  v128.store(sums, s22, 160); v128.store(sums, s23, 176);
  v128.store(sums, s30, 192); v128.store(sums, s31, 208);
  v128.store(sums, s32, 224); v128.store(sums, s33, 240);
}
