// Float weights: their packed layouts, and the inner loops of matmulF32, matmulF16 and matmulBf16 for
// one token and one panel of 16 rows. float.as.ts walks over panels, k and tokens;
// float_vector.as.ts takes four panels at once, float_tile.as.ts several tokens.
//
// Packed block, 16 rows × 1 k: f32 (64 bytes) rows 0 … 15; f16 and bf16 (32 bytes) rows 0, 4, 1, 5,
// 2, 6, 3, 7, then 8, 12, 9, …, so that a 32-bit lane holds rows j and j + 4. Halves are scaled by
// a power of two, see kernels/pack/halves.as.ts; `factor` undoes it.
// Packed activations, 1 token × 32 k: 32 f32, zeros past the row's end.

import { BF16, F16, F32 } from "../constants.as";
import { F16_BITS, lane0, lane1, lane2, lane3, madd } from "../simd.as";

// Layouts beside those of constants.as.ts: f16 with Inf and NaN, and f16 whose factor is applied to
// the activations instead. Without `@inline` they would be globals, and tested at every use in the
// functions that they specialize.
@inline export const F16_SPECIAL: i32 = 100;
@inline export const F16_FOLDED: i32 = 101;

/** As F16_BITS, for the first half of a lane, which has zeros below. */
export const LOW_BITS: i32 = 0x8fffffff;

/** The first halves of four lanes as f32. */
@inline
export function lowHalves(v: v128, bits: v128, factor: v128, layout: i32): v128 {
  if (layout == BF16) return i32x4.shl(v, 16);
  return scaled(v128.and(i32x4.shr_s(i32x4.shl(v, 16), 3), bits), factor, layout);
}

/** The second halves of four lanes as f32; `bits` is `F16_BITS`, or 0xffff0000 for bf16. */
@inline
export function highHalves(v: v128, bits: v128, factor: v128, layout: i32): v128 {
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

/**
 * Adds 16 rows times one token, over `count` k, to `sums`: one k after another, as all loops of floats
 * do, so that a token's numbers do not depend on how many others it runs with.
 */
@inline
function rowsTimes1(w: usize, x: usize, count: i32, sums: usize, factor: f32, layout: i32): void {
  const low = i32x4.splat(LOW_BITS);
  const high = i32x4.splat(layout == BF16 ? 0xffff0000 : F16_BITS);
  const lift = f32x4.splat(factor);
  let a = v128.load(sums);
  let b = v128.load(sums, 16);
  let c = v128.load(sums, 32);
  let d = v128.load(sums, 48);
  const end = x + (<usize> count << 2);
  const fours = x + (<usize> (count & ~3) << 2);
  while (x < fours) {
    let xs = v128.load(x);
    if (layout == F16_FOLDED) xs = f32x4.mul(xs, lift);
    let s = lane0(xs);
    if (layout == F32) {
      a = madd(s, v128.load(w), a);
      b = madd(s, v128.load(w, 16), b);
      c = madd(s, v128.load(w, 32), c);
      d = madd(s, v128.load(w, 48), d);
      s = lane1(xs);
      a = madd(s, v128.load(w, 64), a);
      b = madd(s, v128.load(w, 80), b);
      c = madd(s, v128.load(w, 96), c);
      d = madd(s, v128.load(w, 112), d);
      s = lane2(xs);
      a = madd(s, v128.load(w, 128), a);
      b = madd(s, v128.load(w, 144), b);
      c = madd(s, v128.load(w, 160), c);
      d = madd(s, v128.load(w, 176), d);
      s = lane3(xs);
      a = madd(s, v128.load(w, 192), a);
      b = madd(s, v128.load(w, 208), b);
      c = madd(s, v128.load(w, 224), c);
      d = madd(s, v128.load(w, 240), d);
      w += 256;
    } else {
      let v = v128.load(w);
      a = madd(s, lowHalves(v, low, lift, layout), a);
      b = madd(s, highHalves(v, high, lift, layout), b);
      v = v128.load(w, 16);
      c = madd(s, lowHalves(v, low, lift, layout), c);
      d = madd(s, highHalves(v, high, lift, layout), d);
      s = lane1(xs);
      v = v128.load(w, 32);
      a = madd(s, lowHalves(v, low, lift, layout), a);
      b = madd(s, highHalves(v, high, lift, layout), b);
      v = v128.load(w, 48);
      c = madd(s, lowHalves(v, low, lift, layout), c);
      d = madd(s, highHalves(v, high, lift, layout), d);
      s = lane2(xs);
      v = v128.load(w, 64);
      a = madd(s, lowHalves(v, low, lift, layout), a);
      b = madd(s, highHalves(v, high, lift, layout), b);
      v = v128.load(w, 80);
      c = madd(s, lowHalves(v, low, lift, layout), c);
      d = madd(s, highHalves(v, high, lift, layout), d);
      s = lane3(xs);
      v = v128.load(w, 96);
      a = madd(s, lowHalves(v, low, lift, layout), a);
      b = madd(s, highHalves(v, high, lift, layout), b);
      v = v128.load(w, 112);
      c = madd(s, lowHalves(v, low, lift, layout), c);
      d = madd(s, highHalves(v, high, lift, layout), d);
      w += 128;
    }
    x += 16;
  }
  while (x < end) {
    let s = v128.load32_splat(x);
    if (layout == F16_FOLDED) s = f32x4.mul(s, lift);
    if (layout == F32) {
      a = madd(s, v128.load(w), a);
      b = madd(s, v128.load(w, 16), b);
      c = madd(s, v128.load(w, 32), c);
      d = madd(s, v128.load(w, 48), d);
      w += 64;
    } else {
      let v = v128.load(w);
      a = madd(s, lowHalves(v, low, lift, layout), a);
      b = madd(s, highHalves(v, high, lift, layout), b);
      v = v128.load(w, 16);
      c = madd(s, lowHalves(v, low, lift, layout), c);
      d = madd(s, highHalves(v, high, lift, layout), d);
      w += 32;
    }
    x += 4;
  }
  v128.store(sums, a);
  v128.store(sums, b, 16);
  v128.store(sums, c, 32);
  v128.store(sums, d, 48);
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
  const high = i32x4.splat(layout == BF16 ? 0xffff0000 : F16_BITS);
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
