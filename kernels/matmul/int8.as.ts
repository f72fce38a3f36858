// INT8 weights: the inner loops of matmulInt8. They work on one panel of 16 rows; integer.as.ts
// walks over panels, k and tokens. Products are exact: both sides widen to i16, pairs add in i32.
//
// Packed block, 16 rows × 32 k (544 bytes):
//   16 halves  scales d
//   4 × 128 B  rows 4g … 4g+3: eight bytes i have k = 2i, 2i+1 of the four rows
// Activation block, 1 token × 32 k (48 bytes): 32 int8, then d; the rest is for INT4 weights
// Unpacked block, 8 rows × 32 k (544 bytes), which the tiles read:
//   8 f32 d, 16 × 32 B: k = 2i, 2i+1 as i16 of rows 0 … 3, then of rows 4 … 7

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
  unpackHalves,
} from "../simd.as";

/** Bytes of a packed block. */
export const INT8_BLOCK: usize = 544;

/** acc + x·w over two k of four rows, all i16. */
@inline
function mac(acc: v128, x: v128, w: v128): v128 {
  return i32x4.add(acc, i32x4.dot_i16x8_s(x, w));
}

/** Adds 16 rows times one token, straight from packed blocks, to `sums`. Scales must be finite. */
export function int8Times1(w: usize, x: usize, blocks: i32, sums: usize, factor: f32): void {
  const bits = i32x4.splat(F16_BITS);
  const lift = f32x4.splat(factor);
  let f0 = v128.load(sums);
  let f1 = v128.load(sums, 16);
  let f2 = v128.load(sums, 32);
  let f3 = v128.load(sums, 48);
  const end = x + blocks * 48;
  while (x < end) {
    let a0 = i32x4.splat(0);
    let a1 = i32x4.splat(0);
    let a2 = i32x4.splat(0);
    let a3 = i32x4.splat(0);
    let xs = v128.load_ext<i8>(x);
    let s = lane0(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 32)); a1 = mac(a1, s, v128.load_ext<i8>(w, 160));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 288)); a3 = mac(a3, s, v128.load_ext<i8>(w, 416));
    s = lane1(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 40)); a1 = mac(a1, s, v128.load_ext<i8>(w, 168));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 296)); a3 = mac(a3, s, v128.load_ext<i8>(w, 424));
    s = lane2(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 48)); a1 = mac(a1, s, v128.load_ext<i8>(w, 176));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 304)); a3 = mac(a3, s, v128.load_ext<i8>(w, 432));
    s = lane3(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 56)); a1 = mac(a1, s, v128.load_ext<i8>(w, 184));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 312)); a3 = mac(a3, s, v128.load_ext<i8>(w, 440));
    xs = v128.load_ext<i8>(x, 8);
    s = lane0(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 64)); a1 = mac(a1, s, v128.load_ext<i8>(w, 192));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 320)); a3 = mac(a3, s, v128.load_ext<i8>(w, 448));
    s = lane1(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 72)); a1 = mac(a1, s, v128.load_ext<i8>(w, 200));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 328)); a3 = mac(a3, s, v128.load_ext<i8>(w, 456));
    s = lane2(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 80)); a1 = mac(a1, s, v128.load_ext<i8>(w, 208));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 336)); a3 = mac(a3, s, v128.load_ext<i8>(w, 464));
    s = lane3(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 88)); a1 = mac(a1, s, v128.load_ext<i8>(w, 216));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 344)); a3 = mac(a3, s, v128.load_ext<i8>(w, 472));
    xs = v128.load_ext<i8>(x, 16);
    s = lane0(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 96)); a1 = mac(a1, s, v128.load_ext<i8>(w, 224));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 352)); a3 = mac(a3, s, v128.load_ext<i8>(w, 480));
    s = lane1(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 104)); a1 = mac(a1, s, v128.load_ext<i8>(w, 232));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 360)); a3 = mac(a3, s, v128.load_ext<i8>(w, 488));
    s = lane2(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 112)); a1 = mac(a1, s, v128.load_ext<i8>(w, 240));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 368)); a3 = mac(a3, s, v128.load_ext<i8>(w, 496));
    s = lane3(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 120)); a1 = mac(a1, s, v128.load_ext<i8>(w, 248));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 376)); a3 = mac(a3, s, v128.load_ext<i8>(w, 504));
    xs = v128.load_ext<i8>(x, 24);
    s = lane0(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 128)); a1 = mac(a1, s, v128.load_ext<i8>(w, 256));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 384)); a3 = mac(a3, s, v128.load_ext<i8>(w, 512));
    s = lane1(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 136)); a1 = mac(a1, s, v128.load_ext<i8>(w, 264));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 392)); a3 = mac(a3, s, v128.load_ext<i8>(w, 520));
    s = lane2(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 144)); a1 = mac(a1, s, v128.load_ext<i8>(w, 272));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 400)); a3 = mac(a3, s, v128.load_ext<i8>(w, 528));
    s = lane3(xs);
    a0 = mac(a0, s, v128.load_ext<i8>(w, 152)); a1 = mac(a1, s, v128.load_ext<i8>(w, 280));
    a2 = mac(a2, s, v128.load_ext<i8>(w, 408)); a3 = mac(a3, s, v128.load_ext<i8>(w, 536));
    const d = lane0(v128.load(x, 32));
    const s0 = v128.load(w);
    const s1 = v128.load(w, 16);
    const d0 = f32x4.mul(f16Finite(f16Low(s0), bits, lift), d);
    const d1 = f32x4.mul(f16Finite(f16High(s0), bits, lift), d);
    const d2 = f32x4.mul(f16Finite(f16Low(s1), bits, lift), d);
    const d3 = f32x4.mul(f16Finite(f16High(s1), bits, lift), d);
    f0 = madd(f32x4.convert_i32x4_s(a0), d0, f0);
    f1 = madd(f32x4.convert_i32x4_s(a1), d1, f1);
    f2 = madd(f32x4.convert_i32x4_s(a2), d2, f2);
    f3 = madd(f32x4.convert_i32x4_s(a3), d3, f3);
    w += INT8_BLOCK;
    x += 48;
  }
  v128.store(sums, f0);
  v128.store(sums, f1, 16);
  v128.store(sums, f2, 32);
  v128.store(sums, f3, 48);
}

/**
 * Unpacks `blocks` blocks of 16 rows: rows 0 … 7 to `to`, rows 8 … 15 to `to + half`. Scales may
 * be anything that a half can hold.
 */
export function int8Unpack(w: usize, blocks: i32, to: usize, half: usize, factor: f32): void {
  const lift = f32x4.splat(factor);
  for (let b = 0; b < blocks; b++) {
    let high = to + half;
    unpackHalves(w, to, high, lift);
    w += 32;
    to += 32;
    high += 32;
    for (let i = 0; i < 16; i++) {
      v128.store(to, v128.load_ext<i8>(w));
      v128.store(to, v128.load_ext<i8>(w, 128), 16);
      v128.store(high, v128.load_ext<i8>(w, 256));
      v128.store(high, v128.load_ext<i8>(w, 384), 16);
      w += 8;
      to += 32;
      high += 32;
    }
    w += 384;
  }
}

/** Adds 8 rows times 4 tokens, over unpacked blocks, to `sums` [4][16]. */
export function int8Times4(q: usize, x: usize, xStride: usize, blocks: i32, sums: usize): void {
  let x1 = x + xStride;
  let x2 = x1 + xStride;
  let x3 = x2 + xStride;
  let af0 = v128.load(sums);
  let af1 = v128.load(sums, 16);
  let bf0 = v128.load(sums, 64);
  let bf1 = v128.load(sums, 80);
  let cf0 = v128.load(sums, 128);
  let cf1 = v128.load(sums, 144);
  let df0 = v128.load(sums, 192);
  let df1 = v128.load(sums, 208);
  const end = x + blocks * 48;
  while (x < end) {
    let a0 = i32x4.splat(0);
    let a1 = i32x4.splat(0);
    let b0 = i32x4.splat(0);
    let b1 = i32x4.splat(0);
    let c0 = i32x4.splat(0);
    let c1 = i32x4.splat(0);
    let d0 = i32x4.splat(0);
    let d1 = i32x4.splat(0);
    let w0 = v128.load(q, 32);
    let w1 = v128.load(q, 48);
    let s = lane0(v128.load_ext<i8>(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane0(v128.load_ext<i8>(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane0(v128.load_ext<i8>(x2)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane0(v128.load_ext<i8>(x3)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 64);
    w1 = v128.load(q, 80);
    s = lane1(v128.load_ext<i8>(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane1(v128.load_ext<i8>(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane1(v128.load_ext<i8>(x2)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane1(v128.load_ext<i8>(x3)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 96);
    w1 = v128.load(q, 112);
    s = lane2(v128.load_ext<i8>(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane2(v128.load_ext<i8>(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane2(v128.load_ext<i8>(x2)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane2(v128.load_ext<i8>(x3)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 128);
    w1 = v128.load(q, 144);
    s = lane3(v128.load_ext<i8>(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane3(v128.load_ext<i8>(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane3(v128.load_ext<i8>(x2)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane3(v128.load_ext<i8>(x3)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 160);
    w1 = v128.load(q, 176);
    s = lane0(v128.load_ext<i8>(x, 8)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane0(v128.load_ext<i8>(x1, 8)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane0(v128.load_ext<i8>(x2, 8)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane0(v128.load_ext<i8>(x3, 8)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 192);
    w1 = v128.load(q, 208);
    s = lane1(v128.load_ext<i8>(x, 8)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane1(v128.load_ext<i8>(x1, 8)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane1(v128.load_ext<i8>(x2, 8)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane1(v128.load_ext<i8>(x3, 8)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 224);
    w1 = v128.load(q, 240);
    s = lane2(v128.load_ext<i8>(x, 8)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane2(v128.load_ext<i8>(x1, 8)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane2(v128.load_ext<i8>(x2, 8)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane2(v128.load_ext<i8>(x3, 8)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 256);
    w1 = v128.load(q, 272);
    s = lane3(v128.load_ext<i8>(x, 8)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane3(v128.load_ext<i8>(x1, 8)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane3(v128.load_ext<i8>(x2, 8)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane3(v128.load_ext<i8>(x3, 8)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 288);
    w1 = v128.load(q, 304);
    s = lane0(v128.load_ext<i8>(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane0(v128.load_ext<i8>(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane0(v128.load_ext<i8>(x2, 16)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane0(v128.load_ext<i8>(x3, 16)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 320);
    w1 = v128.load(q, 336);
    s = lane1(v128.load_ext<i8>(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane1(v128.load_ext<i8>(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane1(v128.load_ext<i8>(x2, 16)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane1(v128.load_ext<i8>(x3, 16)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 352);
    w1 = v128.load(q, 368);
    s = lane2(v128.load_ext<i8>(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane2(v128.load_ext<i8>(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane2(v128.load_ext<i8>(x2, 16)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane2(v128.load_ext<i8>(x3, 16)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 384);
    w1 = v128.load(q, 400);
    s = lane3(v128.load_ext<i8>(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane3(v128.load_ext<i8>(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane3(v128.load_ext<i8>(x2, 16)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane3(v128.load_ext<i8>(x3, 16)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 416);
    w1 = v128.load(q, 432);
    s = lane0(v128.load_ext<i8>(x, 24)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane0(v128.load_ext<i8>(x1, 24)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane0(v128.load_ext<i8>(x2, 24)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane0(v128.load_ext<i8>(x3, 24)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 448);
    w1 = v128.load(q, 464);
    s = lane1(v128.load_ext<i8>(x, 24)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane1(v128.load_ext<i8>(x1, 24)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane1(v128.load_ext<i8>(x2, 24)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane1(v128.load_ext<i8>(x3, 24)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 480);
    w1 = v128.load(q, 496);
    s = lane2(v128.load_ext<i8>(x, 24)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane2(v128.load_ext<i8>(x1, 24)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane2(v128.load_ext<i8>(x2, 24)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane2(v128.load_ext<i8>(x3, 24)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q, 512);
    w1 = v128.load(q, 528);
    s = lane3(v128.load_ext<i8>(x, 24)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane3(v128.load_ext<i8>(x1, 24)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    s = lane3(v128.load_ext<i8>(x2, 24)); c0 = mac(c0, s, w0); c1 = mac(c1, s, w1);
    s = lane3(v128.load_ext<i8>(x3, 24)); d0 = mac(d0, s, w0); d1 = mac(d1, s, w1);
    w0 = v128.load(q);
    w1 = v128.load(q, 16);
    s = lane0(v128.load(x, 32));
    af0 = madd(f32x4.convert_i32x4_s(a0), f32x4.mul(w0, s), af0);
    af1 = madd(f32x4.convert_i32x4_s(a1), f32x4.mul(w1, s), af1);
    s = lane0(v128.load(x1, 32));
    bf0 = madd(f32x4.convert_i32x4_s(b0), f32x4.mul(w0, s), bf0);
    bf1 = madd(f32x4.convert_i32x4_s(b1), f32x4.mul(w1, s), bf1);
    s = lane0(v128.load(x2, 32));
    cf0 = madd(f32x4.convert_i32x4_s(c0), f32x4.mul(w0, s), cf0);
    cf1 = madd(f32x4.convert_i32x4_s(c1), f32x4.mul(w1, s), cf1);
    s = lane0(v128.load(x3, 32));
    df0 = madd(f32x4.convert_i32x4_s(d0), f32x4.mul(w0, s), df0);
    df1 = madd(f32x4.convert_i32x4_s(d1), f32x4.mul(w1, s), df1);
    q += 544;
    x += 48;
    x1 += 48;
    x2 += 48;
    x3 += 48;
  }
  v128.store(sums, af0);
  v128.store(sums, af1, 16);
  v128.store(sums, bf0, 64);
  v128.store(sums, bf1, 80);
  v128.store(sums, cf0, 128);
  v128.store(sums, cf1, 144);
  v128.store(sums, df0, 192);
  v128.store(sums, df1, 208);
}

/** Adds 8 rows times 2 tokens, over unpacked blocks, to `sums` [2][16]. */
export function int8Times2(q: usize, x: usize, xStride: usize, blocks: i32, sums: usize): void {
  let x1 = x + xStride;
  let af0 = v128.load(sums);
  let af1 = v128.load(sums, 16);
  let bf0 = v128.load(sums, 64);
  let bf1 = v128.load(sums, 80);
  const end = x + blocks * 48;
  while (x < end) {
    let a0 = i32x4.splat(0);
    let a1 = i32x4.splat(0);
    let b0 = i32x4.splat(0);
    let b1 = i32x4.splat(0);
    let w0 = v128.load(q, 32);
    let w1 = v128.load(q, 48);
    let s = lane0(v128.load_ext<i8>(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane0(v128.load_ext<i8>(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 64);
    w1 = v128.load(q, 80);
    s = lane1(v128.load_ext<i8>(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane1(v128.load_ext<i8>(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 96);
    w1 = v128.load(q, 112);
    s = lane2(v128.load_ext<i8>(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane2(v128.load_ext<i8>(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 128);
    w1 = v128.load(q, 144);
    s = lane3(v128.load_ext<i8>(x)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane3(v128.load_ext<i8>(x1)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 160);
    w1 = v128.load(q, 176);
    s = lane0(v128.load_ext<i8>(x, 8)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane0(v128.load_ext<i8>(x1, 8)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 192);
    w1 = v128.load(q, 208);
    s = lane1(v128.load_ext<i8>(x, 8)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane1(v128.load_ext<i8>(x1, 8)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 224);
    w1 = v128.load(q, 240);
    s = lane2(v128.load_ext<i8>(x, 8)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane2(v128.load_ext<i8>(x1, 8)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 256);
    w1 = v128.load(q, 272);
    s = lane3(v128.load_ext<i8>(x, 8)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane3(v128.load_ext<i8>(x1, 8)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 288);
    w1 = v128.load(q, 304);
    s = lane0(v128.load_ext<i8>(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane0(v128.load_ext<i8>(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 320);
    w1 = v128.load(q, 336);
    s = lane1(v128.load_ext<i8>(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane1(v128.load_ext<i8>(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 352);
    w1 = v128.load(q, 368);
    s = lane2(v128.load_ext<i8>(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane2(v128.load_ext<i8>(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 384);
    w1 = v128.load(q, 400);
    s = lane3(v128.load_ext<i8>(x, 16)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane3(v128.load_ext<i8>(x1, 16)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 416);
    w1 = v128.load(q, 432);
    s = lane0(v128.load_ext<i8>(x, 24)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane0(v128.load_ext<i8>(x1, 24)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 448);
    w1 = v128.load(q, 464);
    s = lane1(v128.load_ext<i8>(x, 24)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane1(v128.load_ext<i8>(x1, 24)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 480);
    w1 = v128.load(q, 496);
    s = lane2(v128.load_ext<i8>(x, 24)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane2(v128.load_ext<i8>(x1, 24)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q, 512);
    w1 = v128.load(q, 528);
    s = lane3(v128.load_ext<i8>(x, 24)); a0 = mac(a0, s, w0); a1 = mac(a1, s, w1);
    s = lane3(v128.load_ext<i8>(x1, 24)); b0 = mac(b0, s, w0); b1 = mac(b1, s, w1);
    w0 = v128.load(q);
    w1 = v128.load(q, 16);
    s = lane0(v128.load(x, 32));
    af0 = madd(f32x4.convert_i32x4_s(a0), f32x4.mul(w0, s), af0);
    af1 = madd(f32x4.convert_i32x4_s(a1), f32x4.mul(w1, s), af1);
    s = lane0(v128.load(x1, 32));
    bf0 = madd(f32x4.convert_i32x4_s(b0), f32x4.mul(w0, s), bf0);
    bf1 = madd(f32x4.convert_i32x4_s(b1), f32x4.mul(w1, s), bf1);
    q += 544;
    x += 48;
    x1 += 48;
  }
  v128.store(sums, af0);
  v128.store(sums, af1, 16);
  v128.store(sums, bf0, 64);
  v128.store(sums, bf1, 80);
}
