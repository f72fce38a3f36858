// Float weights: the inner loops of matmulF32, matmulF16 and matmulBf16. They work on panels of 16
// rows; float.as.ts walks over panels, k and tokens.
//
// Packed block, 16 rows × 1 k: f32 (64 bytes) rows 0 … 15; f16 and bf16 (32 bytes) rows 0, 4, 1, 5,
// 2, 6, 3, 7, then 8, 12, 9, …, so that a 32-bit lane holds rows j and j + 4. Halves are scaled by
// a power of two, see kernels/pack/halves.as.ts; `factor` undoes it.
// Packed activations, 1 token × 32 k: 32 f32, zeros past the row's end.

import { lane0, lane1, lane2, lane3, madd } from "../simd.as";

/** Layouts: f16 with Inf and NaN, and f16 whose factor is applied to the activations instead. */
export const F32: i32 = 0;
export const F16: i32 = 1;
export const F16_SPECIAL: i32 = 2;
export const F16_FOLDED: i32 = 3;
export const BF16: i32 = 4;

/** What a half keeps once its bits are where f32 has sign and exponent: the second of a lane. */
const HIGH_BITS: i32 = 0x8fffe000;
/** The same for the first half of a lane. */
const LOW_BITS: i32 = 0x8fffffff;

/** The first halves of four lanes as f32. */
@inline
function lowHalves(v: v128, bits: v128, factor: v128, layout: i32): v128 {
  if (layout == BF16) return i32x4.shl(v, 16);
  return scaled(v128.and(i32x4.shr_s(i32x4.shl(v, 16), 3), bits), factor, layout);
}

/** The second halves of four lanes as f32; `bits` is `HIGH_BITS`, or 0xffff0000 for bf16. */
@inline
function highHalves(v: v128, bits: v128, factor: v128, layout: i32): v128 {
  if (layout == BF16) return v128.and(v, bits);
  return scaled(v128.and(i32x4.shr_s(v, 3), bits), factor, layout);
}

@inline
function scaled(bits: v128, factor: v128, layout: i32): v128 {
  if (layout == F16_FOLDED) return bits;
  const value = f32x4.mul(bits, factor);
  if (layout == F16) return value;
  const exponent = i32x4.splat(0x0f800000);
  const special = i32x4.eq(v128.and(bits, exponent), exponent);
  return v128.or(value, v128.and(special, i32x4.splat(0x7f800000)));
}

/** Adds 16 rows times one token, over `count` k, to `sums`. */
@inline
function rowsTimes1(w: usize, x: usize, count: i32, sums: usize, factor: f32, layout: i32): void {
  const low = i32x4.splat(LOW_BITS);
  const high = i32x4.splat(layout == BF16 ? 0xffff0000 : HIGH_BITS);
  const lift = f32x4.splat(factor);
  // Sums of even and of odd k.
  let a0 = v128.load(sums);
  let b0 = v128.load(sums, 16);
  let c0 = v128.load(sums, 32);
  let d0 = v128.load(sums, 48);
  let a1 = f32x4.splat(0);
  let b1 = a1;
  let c1 = a1;
  let d1 = a1;
  const end = x + (<usize> count << 2);
  const fours = x + (<usize> (count & ~3) << 2);
  while (x < fours) {
    let xs = v128.load(x);
    if (layout == F16_FOLDED) xs = f32x4.mul(xs, lift);
    let s = lane0(xs);
    if (layout == F32) {
      a0 = madd(s, v128.load(w), a0);
      b0 = madd(s, v128.load(w, 16), b0);
      c0 = madd(s, v128.load(w, 32), c0);
      d0 = madd(s, v128.load(w, 48), d0);
      s = lane1(xs);
      a1 = madd(s, v128.load(w, 64), a1);
      b1 = madd(s, v128.load(w, 80), b1);
      c1 = madd(s, v128.load(w, 96), c1);
      d1 = madd(s, v128.load(w, 112), d1);
      s = lane2(xs);
      a0 = madd(s, v128.load(w, 128), a0);
      b0 = madd(s, v128.load(w, 144), b0);
      c0 = madd(s, v128.load(w, 160), c0);
      d0 = madd(s, v128.load(w, 176), d0);
      s = lane3(xs);
      a1 = madd(s, v128.load(w, 192), a1);
      b1 = madd(s, v128.load(w, 208), b1);
      c1 = madd(s, v128.load(w, 224), c1);
      d1 = madd(s, v128.load(w, 240), d1);
      w += 256;
    } else {
      let v = v128.load(w);
      a0 = madd(s, lowHalves(v, low, lift, layout), a0);
      b0 = madd(s, highHalves(v, high, lift, layout), b0);
      v = v128.load(w, 16);
      c0 = madd(s, lowHalves(v, low, lift, layout), c0);
      d0 = madd(s, highHalves(v, high, lift, layout), d0);
      s = lane1(xs);
      v = v128.load(w, 32);
      a1 = madd(s, lowHalves(v, low, lift, layout), a1);
      b1 = madd(s, highHalves(v, high, lift, layout), b1);
      v = v128.load(w, 48);
      c1 = madd(s, lowHalves(v, low, lift, layout), c1);
      d1 = madd(s, highHalves(v, high, lift, layout), d1);
      s = lane2(xs);
      v = v128.load(w, 64);
      a0 = madd(s, lowHalves(v, low, lift, layout), a0);
      b0 = madd(s, highHalves(v, high, lift, layout), b0);
      v = v128.load(w, 80);
      c0 = madd(s, lowHalves(v, low, lift, layout), c0);
      d0 = madd(s, highHalves(v, high, lift, layout), d0);
      s = lane3(xs);
      v = v128.load(w, 96);
      a1 = madd(s, lowHalves(v, low, lift, layout), a1);
      b1 = madd(s, highHalves(v, high, lift, layout), b1);
      v = v128.load(w, 112);
      c1 = madd(s, lowHalves(v, low, lift, layout), c1);
      d1 = madd(s, highHalves(v, high, lift, layout), d1);
      w += 128;
    }
    x += 16;
  }
  while (x < end) {
    let s = v128.load32_splat(x);
    if (layout == F16_FOLDED) s = f32x4.mul(s, lift);
    if (layout == F32) {
      a0 = madd(s, v128.load(w), a0);
      b0 = madd(s, v128.load(w, 16), b0);
      c0 = madd(s, v128.load(w, 32), c0);
      d0 = madd(s, v128.load(w, 48), d0);
      w += 64;
    } else {
      let v = v128.load(w);
      a0 = madd(s, lowHalves(v, low, lift, layout), a0);
      b0 = madd(s, highHalves(v, high, lift, layout), b0);
      v = v128.load(w, 16);
      c0 = madd(s, lowHalves(v, low, lift, layout), c0);
      d0 = madd(s, highHalves(v, high, lift, layout), d0);
      w += 32;
    }
    x += 4;
  }
  v128.store(sums, f32x4.add(a0, a1));
  v128.store(sums, f32x4.add(b0, b1), 16);
  v128.store(sums, f32x4.add(c0, c1), 32);
  v128.store(sums, f32x4.add(d0, d1), 48);
}

export function f32Times1(w: usize, x: usize, count: i32, sums: usize): void {
  rowsTimes1(w, x, count, sums, 1, F32);
}

export function bf16Times1(w: usize, x: usize, count: i32, sums: usize): void {
  rowsTimes1(w, x, count, sums, 1, BF16);
}

export function f16Times1(w: usize, x: usize, count: i32, sums: usize, factor: f32): void {
  rowsTimes1(w, x, count, sums, factor, F16);
}

/** Where the activations times `factor` are all finite. */
export function f16FoldedTimes1(w: usize, x: usize, count: i32, sums: usize, factor: f32): void {
  rowsTimes1(w, x, count, sums, factor, F16_FOLDED);
}

export function f16SpecialTimes1(w: usize, x: usize, count: i32, sums: usize, factor: f32): void {
  rowsTimes1(w, x, count, sums, factor, F16_SPECIAL);
}

/** `count` blocks of halves to blocks of f32. */
@inline
function unpack(w: usize, count: i32, to: usize, factor: f32, layout: i32): void {
  const low = i32x4.splat(LOW_BITS);
  const high = i32x4.splat(layout == BF16 ? 0xffff0000 : HIGH_BITS);
  const lift = f32x4.splat(factor);
  const end = w + (<usize> count << 5);
  while (w < end) {
    const v = v128.load(w);
    v128.store(to, lowHalves(v, low, lift, layout));
    v128.store(to, highHalves(v, high, lift, layout), 16);
    const u = v128.load(w, 16);
    v128.store(to, lowHalves(u, low, lift, layout), 32);
    v128.store(to, highHalves(u, high, lift, layout), 48);
    w += 32;
    to += 64;
  }
}

/** See `unpack`; `layout` is not `F32`. */
export function unpackBlocks(w: usize, count: i32, to: usize, factor: f32, layout: i32): void {
  if (layout == BF16) unpack(w, count, to, factor, BF16);
  else if (layout == F16) unpack(w, count, to, factor, F16);
  else unpack(w, count, to, factor, F16_SPECIAL);
}

/**
 * Adds 16 rows (f32 blocks) times `count` tokens, over 32 k, to `sums` [count + 1][16]; `x` is the
 * tokens' packed activations, one behind the other. Weights are kept on the stack, as in
 * int4.as.ts. Tokens are taken in pairs; an odd last one is taken twice, with sums of its own.
 */
export function floatBlock(w: usize, x: usize, count: i32, sums: usize): void {
  const a0 = v128.load(w); const b0 = v128.load(w, 16);
  const c0 = v128.load(w, 32); const d0 = v128.load(w, 48);
  const a1 = v128.load(w, 64); const b1 = v128.load(w, 80);
  const c1 = v128.load(w, 96); const d1 = v128.load(w, 112);
  const a2 = v128.load(w, 128); const b2 = v128.load(w, 144);
  const c2 = v128.load(w, 160); const d2 = v128.load(w, 176);
  const a3 = v128.load(w, 192); const b3 = v128.load(w, 208);
  const c3 = v128.load(w, 224); const d3 = v128.load(w, 240);
  const a4 = v128.load(w, 256); const b4 = v128.load(w, 272);
  const c4 = v128.load(w, 288); const d4 = v128.load(w, 304);
  const a5 = v128.load(w, 320); const b5 = v128.load(w, 336);
  const c5 = v128.load(w, 352); const d5 = v128.load(w, 368);
  const a6 = v128.load(w, 384); const b6 = v128.load(w, 400);
  const c6 = v128.load(w, 416); const d6 = v128.load(w, 432);
  const a7 = v128.load(w, 448); const b7 = v128.load(w, 464);
  const c7 = v128.load(w, 480); const d7 = v128.load(w, 496);
  const a8 = v128.load(w, 512); const b8 = v128.load(w, 528);
  const c8 = v128.load(w, 544); const d8 = v128.load(w, 560);
  const a9 = v128.load(w, 576); const b9 = v128.load(w, 592);
  const c9 = v128.load(w, 608); const d9 = v128.load(w, 624);
  const a10 = v128.load(w, 640); const b10 = v128.load(w, 656);
  const c10 = v128.load(w, 672); const d10 = v128.load(w, 688);
  const a11 = v128.load(w, 704); const b11 = v128.load(w, 720);
  const c11 = v128.load(w, 736); const d11 = v128.load(w, 752);
  const a12 = v128.load(w, 768); const b12 = v128.load(w, 784);
  const c12 = v128.load(w, 800); const d12 = v128.load(w, 816);
  const a13 = v128.load(w, 832); const b13 = v128.load(w, 848);
  const c13 = v128.load(w, 864); const d13 = v128.load(w, 880);
  const a14 = v128.load(w, 896); const b14 = v128.load(w, 912);
  const c14 = v128.load(w, 928); const d14 = v128.load(w, 944);
  const a15 = v128.load(w, 960); const b15 = v128.load(w, 976);
  const c15 = v128.load(w, 992); const d15 = v128.load(w, 1008);
  const a16 = v128.load(w, 1024); const b16 = v128.load(w, 1040);
  const c16 = v128.load(w, 1056); const d16 = v128.load(w, 1072);
  const a17 = v128.load(w, 1088); const b17 = v128.load(w, 1104);
  const c17 = v128.load(w, 1120); const d17 = v128.load(w, 1136);
  const a18 = v128.load(w, 1152); const b18 = v128.load(w, 1168);
  const c18 = v128.load(w, 1184); const d18 = v128.load(w, 1200);
  const a19 = v128.load(w, 1216); const b19 = v128.load(w, 1232);
  const c19 = v128.load(w, 1248); const d19 = v128.load(w, 1264);
  const a20 = v128.load(w, 1280); const b20 = v128.load(w, 1296);
  const c20 = v128.load(w, 1312); const d20 = v128.load(w, 1328);
  const a21 = v128.load(w, 1344); const b21 = v128.load(w, 1360);
  const c21 = v128.load(w, 1376); const d21 = v128.load(w, 1392);
  const a22 = v128.load(w, 1408); const b22 = v128.load(w, 1424);
  const c22 = v128.load(w, 1440); const d22 = v128.load(w, 1456);
  const a23 = v128.load(w, 1472); const b23 = v128.load(w, 1488);
  const c23 = v128.load(w, 1504); const d23 = v128.load(w, 1520);
  const a24 = v128.load(w, 1536); const b24 = v128.load(w, 1552);
  const c24 = v128.load(w, 1568); const d24 = v128.load(w, 1584);
  const a25 = v128.load(w, 1600); const b25 = v128.load(w, 1616);
  const c25 = v128.load(w, 1632); const d25 = v128.load(w, 1648);
  const a26 = v128.load(w, 1664); const b26 = v128.load(w, 1680);
  const c26 = v128.load(w, 1696); const d26 = v128.load(w, 1712);
  const a27 = v128.load(w, 1728); const b27 = v128.load(w, 1744);
  const c27 = v128.load(w, 1760); const d27 = v128.load(w, 1776);
  const a28 = v128.load(w, 1792); const b28 = v128.load(w, 1808);
  const c28 = v128.load(w, 1824); const d28 = v128.load(w, 1840);
  const a29 = v128.load(w, 1856); const b29 = v128.load(w, 1872);
  const c29 = v128.load(w, 1888); const d29 = v128.load(w, 1904);
  const a30 = v128.load(w, 1920); const b30 = v128.load(w, 1936);
  const c30 = v128.load(w, 1952); const d30 = v128.load(w, 1968);
  const a31 = v128.load(w, 1984); const b31 = v128.load(w, 2000);
  const c31 = v128.load(w, 2016); const d31 = v128.load(w, 2032);
  const end = x + (<usize> count << 7);
  while (x < end) {
    const y = min(x + 128, end - 128);
    let ax = v128.load(sums);
    let bx = v128.load(sums, 16);
    let cx = v128.load(sums, 32);
    let dx = v128.load(sums, 48);
    let ay = v128.load(sums, 64);
    let by = v128.load(sums, 80);
    let cy = v128.load(sums, 96);
    let dy = v128.load(sums, 112);
    let xs = v128.load(x);
    let ys = v128.load(y);
    let s = lane0(xs);
    let t = lane0(ys);
    ax = madd(s, a0, ax); ay = madd(t, a0, ay); bx = madd(s, b0, bx); by = madd(t, b0, by);
    cx = madd(s, c0, cx); cy = madd(t, c0, cy); dx = madd(s, d0, dx); dy = madd(t, d0, dy);
    s = lane1(xs);
    t = lane1(ys);
    ax = madd(s, a1, ax); ay = madd(t, a1, ay); bx = madd(s, b1, bx); by = madd(t, b1, by);
    cx = madd(s, c1, cx); cy = madd(t, c1, cy); dx = madd(s, d1, dx); dy = madd(t, d1, dy);
    s = lane2(xs);
    t = lane2(ys);
    ax = madd(s, a2, ax); ay = madd(t, a2, ay); bx = madd(s, b2, bx); by = madd(t, b2, by);
    cx = madd(s, c2, cx); cy = madd(t, c2, cy); dx = madd(s, d2, dx); dy = madd(t, d2, dy);
    s = lane3(xs);
    t = lane3(ys);
    ax = madd(s, a3, ax); ay = madd(t, a3, ay); bx = madd(s, b3, bx); by = madd(t, b3, by);
    cx = madd(s, c3, cx); cy = madd(t, c3, cy); dx = madd(s, d3, dx); dy = madd(t, d3, dy);
    xs = v128.load(x, 16);
    ys = v128.load(y, 16);
    s = lane0(xs);
    t = lane0(ys);
    ax = madd(s, a4, ax); ay = madd(t, a4, ay); bx = madd(s, b4, bx); by = madd(t, b4, by);
    cx = madd(s, c4, cx); cy = madd(t, c4, cy); dx = madd(s, d4, dx); dy = madd(t, d4, dy);
    s = lane1(xs);
    t = lane1(ys);
    ax = madd(s, a5, ax); ay = madd(t, a5, ay); bx = madd(s, b5, bx); by = madd(t, b5, by);
    cx = madd(s, c5, cx); cy = madd(t, c5, cy); dx = madd(s, d5, dx); dy = madd(t, d5, dy);
    s = lane2(xs);
    t = lane2(ys);
    ax = madd(s, a6, ax); ay = madd(t, a6, ay); bx = madd(s, b6, bx); by = madd(t, b6, by);
    cx = madd(s, c6, cx); cy = madd(t, c6, cy); dx = madd(s, d6, dx); dy = madd(t, d6, dy);
    s = lane3(xs);
    t = lane3(ys);
    ax = madd(s, a7, ax); ay = madd(t, a7, ay); bx = madd(s, b7, bx); by = madd(t, b7, by);
    cx = madd(s, c7, cx); cy = madd(t, c7, cy); dx = madd(s, d7, dx); dy = madd(t, d7, dy);
    xs = v128.load(x, 32);
    ys = v128.load(y, 32);
    s = lane0(xs);
    t = lane0(ys);
    ax = madd(s, a8, ax); ay = madd(t, a8, ay); bx = madd(s, b8, bx); by = madd(t, b8, by);
    cx = madd(s, c8, cx); cy = madd(t, c8, cy); dx = madd(s, d8, dx); dy = madd(t, d8, dy);
    s = lane1(xs);
    t = lane1(ys);
    ax = madd(s, a9, ax); ay = madd(t, a9, ay); bx = madd(s, b9, bx); by = madd(t, b9, by);
    cx = madd(s, c9, cx); cy = madd(t, c9, cy); dx = madd(s, d9, dx); dy = madd(t, d9, dy);
    s = lane2(xs);
    t = lane2(ys);
    ax = madd(s, a10, ax); ay = madd(t, a10, ay); bx = madd(s, b10, bx); by = madd(t, b10, by);
    cx = madd(s, c10, cx); cy = madd(t, c10, cy); dx = madd(s, d10, dx); dy = madd(t, d10, dy);
    s = lane3(xs);
    t = lane3(ys);
    ax = madd(s, a11, ax); ay = madd(t, a11, ay); bx = madd(s, b11, bx); by = madd(t, b11, by);
    cx = madd(s, c11, cx); cy = madd(t, c11, cy); dx = madd(s, d11, dx); dy = madd(t, d11, dy);
    xs = v128.load(x, 48);
    ys = v128.load(y, 48);
    s = lane0(xs);
    t = lane0(ys);
    ax = madd(s, a12, ax); ay = madd(t, a12, ay); bx = madd(s, b12, bx); by = madd(t, b12, by);
    cx = madd(s, c12, cx); cy = madd(t, c12, cy); dx = madd(s, d12, dx); dy = madd(t, d12, dy);
    s = lane1(xs);
    t = lane1(ys);
    ax = madd(s, a13, ax); ay = madd(t, a13, ay); bx = madd(s, b13, bx); by = madd(t, b13, by);
    cx = madd(s, c13, cx); cy = madd(t, c13, cy); dx = madd(s, d13, dx); dy = madd(t, d13, dy);
    s = lane2(xs);
    t = lane2(ys);
    ax = madd(s, a14, ax); ay = madd(t, a14, ay); bx = madd(s, b14, bx); by = madd(t, b14, by);
    cx = madd(s, c14, cx); cy = madd(t, c14, cy); dx = madd(s, d14, dx); dy = madd(t, d14, dy);
    s = lane3(xs);
    t = lane3(ys);
    ax = madd(s, a15, ax); ay = madd(t, a15, ay); bx = madd(s, b15, bx); by = madd(t, b15, by);
    cx = madd(s, c15, cx); cy = madd(t, c15, cy); dx = madd(s, d15, dx); dy = madd(t, d15, dy);
    xs = v128.load(x, 64);
    ys = v128.load(y, 64);
    s = lane0(xs);
    t = lane0(ys);
    ax = madd(s, a16, ax); ay = madd(t, a16, ay); bx = madd(s, b16, bx); by = madd(t, b16, by);
    cx = madd(s, c16, cx); cy = madd(t, c16, cy); dx = madd(s, d16, dx); dy = madd(t, d16, dy);
    s = lane1(xs);
    t = lane1(ys);
    ax = madd(s, a17, ax); ay = madd(t, a17, ay); bx = madd(s, b17, bx); by = madd(t, b17, by);
    cx = madd(s, c17, cx); cy = madd(t, c17, cy); dx = madd(s, d17, dx); dy = madd(t, d17, dy);
    s = lane2(xs);
    t = lane2(ys);
    ax = madd(s, a18, ax); ay = madd(t, a18, ay); bx = madd(s, b18, bx); by = madd(t, b18, by);
    cx = madd(s, c18, cx); cy = madd(t, c18, cy); dx = madd(s, d18, dx); dy = madd(t, d18, dy);
    s = lane3(xs);
    t = lane3(ys);
    ax = madd(s, a19, ax); ay = madd(t, a19, ay); bx = madd(s, b19, bx); by = madd(t, b19, by);
    cx = madd(s, c19, cx); cy = madd(t, c19, cy); dx = madd(s, d19, dx); dy = madd(t, d19, dy);
    xs = v128.load(x, 80);
    ys = v128.load(y, 80);
    s = lane0(xs);
    t = lane0(ys);
    ax = madd(s, a20, ax); ay = madd(t, a20, ay); bx = madd(s, b20, bx); by = madd(t, b20, by);
    cx = madd(s, c20, cx); cy = madd(t, c20, cy); dx = madd(s, d20, dx); dy = madd(t, d20, dy);
    s = lane1(xs);
    t = lane1(ys);
    ax = madd(s, a21, ax); ay = madd(t, a21, ay); bx = madd(s, b21, bx); by = madd(t, b21, by);
    cx = madd(s, c21, cx); cy = madd(t, c21, cy); dx = madd(s, d21, dx); dy = madd(t, d21, dy);
    s = lane2(xs);
    t = lane2(ys);
    ax = madd(s, a22, ax); ay = madd(t, a22, ay); bx = madd(s, b22, bx); by = madd(t, b22, by);
    cx = madd(s, c22, cx); cy = madd(t, c22, cy); dx = madd(s, d22, dx); dy = madd(t, d22, dy);
    s = lane3(xs);
    t = lane3(ys);
    ax = madd(s, a23, ax); ay = madd(t, a23, ay); bx = madd(s, b23, bx); by = madd(t, b23, by);
    cx = madd(s, c23, cx); cy = madd(t, c23, cy); dx = madd(s, d23, dx); dy = madd(t, d23, dy);
    xs = v128.load(x, 96);
    ys = v128.load(y, 96);
    s = lane0(xs);
    t = lane0(ys);
    ax = madd(s, a24, ax); ay = madd(t, a24, ay); bx = madd(s, b24, bx); by = madd(t, b24, by);
    cx = madd(s, c24, cx); cy = madd(t, c24, cy); dx = madd(s, d24, dx); dy = madd(t, d24, dy);
    s = lane1(xs);
    t = lane1(ys);
    ax = madd(s, a25, ax); ay = madd(t, a25, ay); bx = madd(s, b25, bx); by = madd(t, b25, by);
    cx = madd(s, c25, cx); cy = madd(t, c25, cy); dx = madd(s, d25, dx); dy = madd(t, d25, dy);
    s = lane2(xs);
    t = lane2(ys);
    ax = madd(s, a26, ax); ay = madd(t, a26, ay); bx = madd(s, b26, bx); by = madd(t, b26, by);
    cx = madd(s, c26, cx); cy = madd(t, c26, cy); dx = madd(s, d26, dx); dy = madd(t, d26, dy);
    s = lane3(xs);
    t = lane3(ys);
    ax = madd(s, a27, ax); ay = madd(t, a27, ay); bx = madd(s, b27, bx); by = madd(t, b27, by);
    cx = madd(s, c27, cx); cy = madd(t, c27, cy); dx = madd(s, d27, dx); dy = madd(t, d27, dy);
    xs = v128.load(x, 112);
    ys = v128.load(y, 112);
    s = lane0(xs);
    t = lane0(ys);
    ax = madd(s, a28, ax); ay = madd(t, a28, ay); bx = madd(s, b28, bx); by = madd(t, b28, by);
    cx = madd(s, c28, cx); cy = madd(t, c28, cy); dx = madd(s, d28, dx); dy = madd(t, d28, dy);
    s = lane1(xs);
    t = lane1(ys);
    ax = madd(s, a29, ax); ay = madd(t, a29, ay); bx = madd(s, b29, bx); by = madd(t, b29, by);
    cx = madd(s, c29, cx); cy = madd(t, c29, cy); dx = madd(s, d29, dx); dy = madd(t, d29, dy);
    s = lane2(xs);
    t = lane2(ys);
    ax = madd(s, a30, ax); ay = madd(t, a30, ay); bx = madd(s, b30, bx); by = madd(t, b30, by);
    cx = madd(s, c30, cx); cy = madd(t, c30, cy); dx = madd(s, d30, dx); dy = madd(t, d30, dy);
    s = lane3(xs);
    t = lane3(ys);
    ax = madd(s, a31, ax); ay = madd(t, a31, ay); bx = madd(s, b31, bx); by = madd(t, b31, by);
    cx = madd(s, c31, cx); cy = madd(t, c31, cy); dx = madd(s, d31, dx); dy = madd(t, d31, dy);
    v128.store(sums, ax);
    v128.store(sums, bx, 16);
    v128.store(sums, cx, 32);
    v128.store(sums, dx, 48);
    v128.store(sums, ay, 64);
    v128.store(sums, by, 80);
    v128.store(sums, cy, 96);
    v128.store(sums, dy, 112);
    x += 256;
    sums += 128;
  }
}

