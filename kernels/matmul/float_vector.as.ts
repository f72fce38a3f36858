// Float weights, one token: the inner loops of matmulF32, matmulF16 and matmulBf16 that read several
// panels side by side, for the reason given in int4_vector.as.ts. float.as.ts walks over panels;
// float_blocks.as.ts has the packed layouts, and loops for any number of k.

import { F16_BITS, lane0, lane1, lane2, lane3, madd } from "../simd.as";
import { BF16, F32 } from "../constants.as";
import { bf16Times1, F16_FOLDED, f16FoldedTimes1, f32Times1, LOW_BITS } from "./float_blocks.as";
import { first, load1, load2, load3, panelTimes1, second } from "./float_panel.as";

export { first, second } from "./float_panel.as";

/**
 * Adds four panels times one token to `sums` [4][16], over `columns` k, a multiple of eight. The
 * first panel's header is at `panel`, the others follow at the given distance. Sums, loads and their
 * order: see int4_vector.as.ts. The factors of F16_FOLDED are one and the same.
 */
@inline
function fourTimes1(
  panel: usize,
  distance: usize,
  x: usize,
  columns: i32,
  sums: usize,
  layout: i32,
): void {
  const low = i32x4.splat(LOW_BITS);
  const high = i32x4.splat(layout == BF16 ? 0xffff0000 : F16_BITS);
  const half: usize = layout == F32 ? 32 : 16; // bytes of eight rows of one k
  const lift = v128.load32_splat(panel, 4);
  let w0 = panel + 16;
  let w1 = w0 + distance;
  let w2 = w1 + distance;
  let w3 = w2 + distance;
  let s00 = v128.load(sums); let s01 = v128.load(sums, 16);
  let s02 = v128.load(sums, 32); let s03 = v128.load(sums, 48);
  let s10 = v128.load(sums, 64); let s11 = v128.load(sums, 80);
  let s12 = v128.load(sums, 96); let s13 = v128.load(sums, 112);
  let s20 = v128.load(sums, 128); let s21 = v128.load(sums, 144);
  let s22 = v128.load(sums, 160); let s23 = v128.load(sums, 176);
  let s30 = v128.load(sums, 192); let s31 = v128.load(sums, 208);
  let s32 = v128.load(sums, 224); let s33 = v128.load(sums, 240);
  const end = x + (<usize> columns << 2);
  while (x < end) {
    let xa = v128.load(x);
    let xb = v128.load(x, 16);
    if (layout == F16_FOLDED) {
      xa = f32x4.mul(xa, lift);
      xb = f32x4.mul(xb, lift);
    }
    const x0 = lane0(xa);
    const x1 = lane1(xa);
    const x2 = lane2(xa);
    const x3 = lane3(xa);
    const x4 = lane0(xb);
    const x5 = lane1(xb);
    const x6 = lane2(xb);
    const x7 = lane3(xb);
    let p: usize;
    let u: v128;
    let v: v128;
    let y: v128;
    let z: v128;

    p = w0;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s00 = madd(x0, first(u, low, lift, layout), s00);
    s01 = madd(x0, second(p, u, high, lift, layout), s01);
    s02 = madd(x0, first(v, low, lift, layout), s02);
    s03 = madd(x0, second(p + half, v, high, lift, layout), s03);
    s00 = madd(x1, first(y, low, lift, layout), s00);
    s01 = madd(x1, second(p + 2 * half, y, high, lift, layout), s01);
    s02 = madd(x1, first(z, low, lift, layout), s02);
    s03 = madd(x1, second(p + 3 * half, z, high, lift, layout), s03);

    p = w0 + 4 * half;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s00 = madd(x2, first(u, low, lift, layout), s00);
    s01 = madd(x2, second(p, u, high, lift, layout), s01);
    s02 = madd(x2, first(v, low, lift, layout), s02);
    s03 = madd(x2, second(p + half, v, high, lift, layout), s03);
    s00 = madd(x3, first(y, low, lift, layout), s00);
    s01 = madd(x3, second(p + 2 * half, y, high, lift, layout), s01);
    s02 = madd(x3, first(z, low, lift, layout), s02);
    s03 = madd(x3, second(p + 3 * half, z, high, lift, layout), s03);

    p = w0 + 8 * half;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s00 = madd(x4, first(u, low, lift, layout), s00);
    s01 = madd(x4, second(p, u, high, lift, layout), s01);
    s02 = madd(x4, first(v, low, lift, layout), s02);
    s03 = madd(x4, second(p + half, v, high, lift, layout), s03);
    s00 = madd(x5, first(y, low, lift, layout), s00);
    s01 = madd(x5, second(p + 2 * half, y, high, lift, layout), s01);
    s02 = madd(x5, first(z, low, lift, layout), s02);
    s03 = madd(x5, second(p + 3 * half, z, high, lift, layout), s03);

    p = w0 + 12 * half;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s00 = madd(x6, first(u, low, lift, layout), s00);
    s01 = madd(x6, second(p, u, high, lift, layout), s01);
    s02 = madd(x6, first(v, low, lift, layout), s02);
    s03 = madd(x6, second(p + half, v, high, lift, layout), s03);
    s00 = madd(x7, first(y, low, lift, layout), s00);
    s01 = madd(x7, second(p + 2 * half, y, high, lift, layout), s01);
    s02 = madd(x7, first(z, low, lift, layout), s02);
    s03 = madd(x7, second(p + 3 * half, z, high, lift, layout), s03);

    p = w1;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s10 = madd(x0, first(u, low, lift, layout), s10);
    s11 = madd(x0, second(p, u, high, lift, layout), s11);
    s12 = madd(x0, first(v, low, lift, layout), s12);
    s13 = madd(x0, second(p + half, v, high, lift, layout), s13);
    s10 = madd(x1, first(y, low, lift, layout), s10);
    s11 = madd(x1, second(p + 2 * half, y, high, lift, layout), s11);
    s12 = madd(x1, first(z, low, lift, layout), s12);
    s13 = madd(x1, second(p + 3 * half, z, high, lift, layout), s13);

    p = w1 + 4 * half;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s10 = madd(x2, first(u, low, lift, layout), s10);
    s11 = madd(x2, second(p, u, high, lift, layout), s11);
    s12 = madd(x2, first(v, low, lift, layout), s12);
    s13 = madd(x2, second(p + half, v, high, lift, layout), s13);
    s10 = madd(x3, first(y, low, lift, layout), s10);
    s11 = madd(x3, second(p + 2 * half, y, high, lift, layout), s11);
    s12 = madd(x3, first(z, low, lift, layout), s12);
    s13 = madd(x3, second(p + 3 * half, z, high, lift, layout), s13);

    p = w1 + 8 * half;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s10 = madd(x4, first(u, low, lift, layout), s10);
    s11 = madd(x4, second(p, u, high, lift, layout), s11);
    s12 = madd(x4, first(v, low, lift, layout), s12);
    s13 = madd(x4, second(p + half, v, high, lift, layout), s13);
    s10 = madd(x5, first(y, low, lift, layout), s10);
    s11 = madd(x5, second(p + 2 * half, y, high, lift, layout), s11);
    s12 = madd(x5, first(z, low, lift, layout), s12);
    s13 = madd(x5, second(p + 3 * half, z, high, lift, layout), s13);

    p = w1 + 12 * half;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s10 = madd(x6, first(u, low, lift, layout), s10);
    s11 = madd(x6, second(p, u, high, lift, layout), s11);
    s12 = madd(x6, first(v, low, lift, layout), s12);
    s13 = madd(x6, second(p + half, v, high, lift, layout), s13);
    s10 = madd(x7, first(y, low, lift, layout), s10);
    s11 = madd(x7, second(p + 2 * half, y, high, lift, layout), s11);
    s12 = madd(x7, first(z, low, lift, layout), s12);
    s13 = madd(x7, second(p + 3 * half, z, high, lift, layout), s13);

    p = w2;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s20 = madd(x0, first(u, low, lift, layout), s20);
    s21 = madd(x0, second(p, u, high, lift, layout), s21);
    s22 = madd(x0, first(v, low, lift, layout), s22);
    s23 = madd(x0, second(p + half, v, high, lift, layout), s23);
    s20 = madd(x1, first(y, low, lift, layout), s20);
    s21 = madd(x1, second(p + 2 * half, y, high, lift, layout), s21);
    s22 = madd(x1, first(z, low, lift, layout), s22);
    s23 = madd(x1, second(p + 3 * half, z, high, lift, layout), s23);

    p = w2 + 4 * half;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s20 = madd(x2, first(u, low, lift, layout), s20);
    s21 = madd(x2, second(p, u, high, lift, layout), s21);
    s22 = madd(x2, first(v, low, lift, layout), s22);
    s23 = madd(x2, second(p + half, v, high, lift, layout), s23);
    s20 = madd(x3, first(y, low, lift, layout), s20);
    s21 = madd(x3, second(p + 2 * half, y, high, lift, layout), s21);
    s22 = madd(x3, first(z, low, lift, layout), s22);
    s23 = madd(x3, second(p + 3 * half, z, high, lift, layout), s23);

    p = w2 + 8 * half;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s20 = madd(x4, first(u, low, lift, layout), s20);
    s21 = madd(x4, second(p, u, high, lift, layout), s21);
    s22 = madd(x4, first(v, low, lift, layout), s22);
    s23 = madd(x4, second(p + half, v, high, lift, layout), s23);
    s20 = madd(x5, first(y, low, lift, layout), s20);
    s21 = madd(x5, second(p + 2 * half, y, high, lift, layout), s21);
    s22 = madd(x5, first(z, low, lift, layout), s22);
    s23 = madd(x5, second(p + 3 * half, z, high, lift, layout), s23);

    p = w2 + 12 * half;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s20 = madd(x6, first(u, low, lift, layout), s20);
    s21 = madd(x6, second(p, u, high, lift, layout), s21);
    s22 = madd(x6, first(v, low, lift, layout), s22);
    s23 = madd(x6, second(p + half, v, high, lift, layout), s23);
    s20 = madd(x7, first(y, low, lift, layout), s20);
    s21 = madd(x7, second(p + 2 * half, y, high, lift, layout), s21);
    s22 = madd(x7, first(z, low, lift, layout), s22);
    s23 = madd(x7, second(p + 3 * half, z, high, lift, layout), s23);

    p = w3;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s30 = madd(x0, first(u, low, lift, layout), s30);
    s31 = madd(x0, second(p, u, high, lift, layout), s31);
    s32 = madd(x0, first(v, low, lift, layout), s32);
    s33 = madd(x0, second(p + half, v, high, lift, layout), s33);
    s30 = madd(x1, first(y, low, lift, layout), s30);
    s31 = madd(x1, second(p + 2 * half, y, high, lift, layout), s31);
    s32 = madd(x1, first(z, low, lift, layout), s32);
    s33 = madd(x1, second(p + 3 * half, z, high, lift, layout), s33);

    p = w3 + 4 * half;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s30 = madd(x2, first(u, low, lift, layout), s30);
    s31 = madd(x2, second(p, u, high, lift, layout), s31);
    s32 = madd(x2, first(v, low, lift, layout), s32);
    s33 = madd(x2, second(p + half, v, high, lift, layout), s33);
    s30 = madd(x3, first(y, low, lift, layout), s30);
    s31 = madd(x3, second(p + 2 * half, y, high, lift, layout), s31);
    s32 = madd(x3, first(z, low, lift, layout), s32);
    s33 = madd(x3, second(p + 3 * half, z, high, lift, layout), s33);

    p = w3 + 8 * half;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s30 = madd(x4, first(u, low, lift, layout), s30);
    s31 = madd(x4, second(p, u, high, lift, layout), s31);
    s32 = madd(x4, first(v, low, lift, layout), s32);
    s33 = madd(x4, second(p + half, v, high, lift, layout), s33);
    s30 = madd(x5, first(y, low, lift, layout), s30);
    s31 = madd(x5, second(p + 2 * half, y, high, lift, layout), s31);
    s32 = madd(x5, first(z, low, lift, layout), s32);
    s33 = madd(x5, second(p + 3 * half, z, high, lift, layout), s33);

    p = w3 + 12 * half;
    u = v128.load(p); v = load1(p, layout); y = load2(p, layout); z = load3(p, layout);
    s30 = madd(x6, first(u, low, lift, layout), s30);
    s31 = madd(x6, second(p, u, high, lift, layout), s31);
    s32 = madd(x6, first(v, low, lift, layout), s32);
    s33 = madd(x6, second(p + half, v, high, lift, layout), s33);
    s30 = madd(x7, first(y, low, lift, layout), s30);
    s31 = madd(x7, second(p + 2 * half, y, high, lift, layout), s31);
    s32 = madd(x7, first(z, low, lift, layout), s32);
    s33 = madd(x7, second(p + 3 * half, z, high, lift, layout), s33);

    w0 += layout == F32 ? 512 : 256;
    w1 += layout == F32 ? 512 : 256;
    w2 += layout == F32 ? 512 : 256;
    w3 += layout == F32 ? 512 : 256;
    x += 32;
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
  const eights = columns & ~7;
  if (count == 4 && (layout != F16_FOLDED || haveOneFactor(panel, distance))) {
    fourTimes1(panel, distance, x, eights, sums, layout);
  } else {
    for (let i = 0; i < count; i++) {
      panelTimes1(panel + i * distance, x, eights, sums + (i << 6), layout);
    }
  }
  if (eights == columns) return;
  x += <usize> eights << 2;
  const skip: usize = 16 + (<usize> eights << (layout == F32 ? 6 : 5));
  for (; count > 0; count--) {
    const w = panel + skip;
    if (layout == F32) f32Times1(w, x, columns - eights, sums);
    else if (layout == BF16) bf16Times1(w, x, columns - eights, sums);
    else f16FoldedTimes1(w, x, columns - eights, sums, load<f32>(panel, 4));
    panel += distance;
    sums += 64;
  }
}

/** Whether four panels at the given distance have the same factor. */
function haveOneFactor(panel: usize, distance: usize): bool {
  const factor = load<f32>(panel, 4);
  let same = true;
  for (let i = 0; i < 3; i++) {
    panel += distance;
    same = same && load<f32>(panel, 4) == factor;
  }
  return same;
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
