// The finer integer layouts: what their products for one token (fine_vector.as.ts) and for several
// (fine.as.ts) share. Four, five or six bits to a code, and a scale (and minimum) for each 32 or 16
// that may be a whole multiple of one that eight blocks share.
//
// Packed blocks, 16 rows × 32 k; where eight share halves, these stand before them:
//   int4k  (shared: 16 halves d, 16 halves dmin)
//          16 × 2 B   of each row the multiples s of d and m of dmin
//          4 × 64 B   nibbles as in int4.as.ts
//   int5k  (shared: as int4k)
//          16 × 2 B   as int4k
//          4 × 16 B   fifth bits of rows 4g … 4g+3: byte i of lane r has in bit j that of k = 4j+i of
//                     row 4g+r, in bit 4 + j that of k = 16+4j+i
//          4 × 64 B   nibbles
//   int6k  (shared: 16 halves d)
//          16 × 2 B   of each row the multiples of d (signed) for k < 16 and for the others
//          4 × 32 B   pairs of bits of rows 4g … 4g+3: a vector for k < 16, whose byte i of lane r has
//                     in bits 2j and 2j+1 those of k = 4j+i, and one for the others
//          4 × 64 B   nibbles
//   int5m  16 halves d, 16 halves m, fifth bits, nibbles
//
// Values: d·s·q − dmin·m (int4k, int5k), d·s·(q − 32) (int6k), d·q + m (int5m). Everything but
// d, dmin and m is whole, and so are sums of a block: int32, within 2^25.

import { mac } from "../dots.as";
import { dotPairs, madd } from "../simd.as";

// The layouts as types of different size: what depends on a type parameter `L` is decided when a
// function is compiled, and branches of other layouts are left out. Likewise `Q`, the way of summing
// products (dots.as.ts).
export type Int5m = i8;
export type Int4k = i16;
export type Int5k = i32;
export type Int6k = i64;
export type Pairs = i8;
export type Quads = i16;

/** Bytes of a block before its nibbles. */
@inline
export function nibblesAt<L>(): usize {
  if (sizeof<L>() == sizeof<Int4k>()) return 32;
  if (sizeof<L>() == sizeof<Int5k>()) return 96;
  return sizeof<L>() == sizeof<Int6k>() ? 160 : 128;
}

/** Where the rest of the codes stands for rows 4g … 4g+3 of the block at `w`. */
@inline
export function restAt<L>(w: usize, g: usize): usize {
  if (sizeof<L>() == sizeof<Int6k>()) return w + 32 + (g << 5);
  return w + (sizeof<L>() == sizeof<Int5m>() ? 64 : 32) + (g << 4);
}

/** The rest of four rows' codes for k < 16. */
@inline
export function firstRest<L>(at: usize): v128 {
  return sizeof<L>() == sizeof<Int4k>() ? i32x4.splat(0) : v128.load(at);
}

/** The rest of the others; `first` is that of k < 16. */
@inline
export function secondRest<L>(at: usize, first: v128): v128 {
  return sizeof<L>() == sizeof<Int6k>() ? v128.load(at, 16) : first;
}

/** The bits of a code that do not lie in its nibble. */
@inline
export function restMask<L>(): v128 {
  return i8x16.splat(sizeof<L>() == sizeof<Int6k>() ? 0x30 : 0x10);
}

/** Codes of four rows from their nibbles and the rest: k = 0 … 3. */
@inline
export function code0<L>(nibbles: v128, rest: v128, mask: v128): v128 {
  if (sizeof<L>() == sizeof<Int4k>()) return nibbles;
  if (sizeof<L>() == sizeof<Int6k>()) return v128.or(nibbles, v128.and(i16x8.shl(rest, 4), mask));
  return v128.or(nibbles, v128.and(i16x8.shl(rest, 4), mask));
}

/** As `code0`, k = 4 … 7. */
@inline
export function code1<L>(nibbles: v128, rest: v128, mask: v128): v128 {
  if (sizeof<L>() == sizeof<Int4k>()) return nibbles;
  if (sizeof<L>() == sizeof<Int6k>()) return v128.or(nibbles, v128.and(i16x8.shl(rest, 2), mask));
  return v128.or(nibbles, v128.and(i16x8.shl(rest, 3), mask));
}

/** As `code0`, k = 8 … 11. */
@inline
export function code2<L>(nibbles: v128, rest: v128, mask: v128): v128 {
  if (sizeof<L>() == sizeof<Int4k>()) return nibbles;
  if (sizeof<L>() == sizeof<Int6k>()) return v128.or(nibbles, v128.and(rest, mask));
  return v128.or(nibbles, v128.and(i16x8.shl(rest, 2), mask));
}

/** As `code0`, k = 12 … 15. */
@inline
export function code3<L>(nibbles: v128, rest: v128, mask: v128): v128 {
  if (sizeof<L>() == sizeof<Int4k>()) return nibbles;
  if (sizeof<L>() == sizeof<Int6k>()) return v128.or(nibbles, v128.and(i16x8.shr_u(rest, 2), mask));
  return v128.or(nibbles, v128.and(i16x8.shl(rest, 1), mask));
}

/** As `code0`, k = 16 … 19. */
@inline
export function code4<L>(nibbles: v128, rest: v128, mask: v128): v128 {
  if (sizeof<L>() == sizeof<Int4k>()) return nibbles;
  if (sizeof<L>() == sizeof<Int6k>()) return v128.or(nibbles, v128.and(i16x8.shl(rest, 4), mask));
  return v128.or(nibbles, v128.and(rest, mask));
}

/** As `code0`, k = 20 … 23. */
@inline
export function code5<L>(nibbles: v128, rest: v128, mask: v128): v128 {
  if (sizeof<L>() == sizeof<Int4k>()) return nibbles;
  if (sizeof<L>() == sizeof<Int6k>()) return v128.or(nibbles, v128.and(i16x8.shl(rest, 2), mask));
  return v128.or(nibbles, v128.and(i16x8.shr_u(rest, 1), mask));
}

/** As `code0`, k = 24 … 27. */
@inline
export function code6<L>(nibbles: v128, rest: v128, mask: v128): v128 {
  if (sizeof<L>() == sizeof<Int4k>()) return nibbles;
  if (sizeof<L>() == sizeof<Int6k>()) return v128.or(nibbles, v128.and(rest, mask));
  return v128.or(nibbles, v128.and(i16x8.shr_u(rest, 2), mask));
}

/** As `code0`, k = 28 … 31. */
@inline
export function code7<L>(nibbles: v128, rest: v128, mask: v128): v128 {
  if (sizeof<L>() == sizeof<Int4k>()) return nibbles;
  if (sizeof<L>() == sizeof<Int6k>()) return v128.or(nibbles, v128.and(i16x8.shr_u(rest, 2), mask));
  return v128.or(nibbles, v128.and(i16x8.shr_u(rest, 3), mask));
}

/** The multiples of four rows, two to a row, as i16; ones where the layout has none. */
@inline
export function multiplesOf<L>(at: usize): v128 {
  if (sizeof<L>() == sizeof<Int5m>()) return i16x8.splat(1);
  if (sizeof<L>() == sizeof<Int6k>()) return v128.load_ext<i8>(at);
  return v128.load_ext<u8>(at);
}

/** What the sums of k < 16 are multiplied with, twice in a row's lane. */
@inline
export function firstScale<L>(multiples: v128): v128 {
  return sizeof<L>() == sizeof<Int5m>() ? multiples : firsts(multiples);
}

/** What those of the others are multiplied with; `first` is what those of k < 16 are. */
@inline
export function secondScale<L>(multiples: v128, first: v128): v128 {
  return sizeof<L>() == sizeof<Int6k>() ? seconds(multiples) : first;
}

/** The first of each two i16, twice. */
@inline
function firsts(v: v128): v128 {
  return v128.shuffle<i16>(v, v, 0, 0, 2, 2, 4, 4, 6, 6);
}

/** The second of each two i16, twice. */
@inline
function seconds(v: v128): v128 {
  return v128.shuffle<i16>(v, v, 1, 1, 3, 3, 5, 5, 7, 7);
}

/**
 * `acc` and the products of two vectors of codes with activations, of k that lie beside each other.
 * An i16 holds 8 products of codes below 16, or 4 of codes below 64: with other codes than int4k's,
 * pairs meet `scale`, which the rows' multiples are twice in a lane, two vectors by two.
 */
@inline
export function step<L, Q>(acc: v128, x0: v128, c0: v128, x1: v128, c1: v128, scale: v128): v128 {
  if (sizeof<Q>() == sizeof<Quads>()) return mac(mac(acc, x0, c0, true), x1, c1, true);
  const sum = i16x8.add(dotPairs(x0, c0), dotPairs(x1, c1));
  if (sizeof<L>() == sizeof<Int4k>()) return i16x8.add(acc, sum);
  return i32x4.add(acc, i32x4.dot_i16x8_s(sum, scale));
}

/** What is set aside of a sum of k < 16. */
@inline
export function halfway<L, Q>(acc: v128, scale: v128): v128 {
  if (sizeof<L>() != sizeof<Int6k>() || sizeof<Q>() != sizeof<Quads>()) return acc;
  return i32x4.mul(acc, i32x4.shr_s(scale, 16));
}

/** Where sums go on from k = 16. */
@inline
export function middle<L, Q>(acc: v128, zero: v128): v128 {
  return sizeof<L>() == sizeof<Int6k>() && sizeof<Q>() == sizeof<Quads>() ? zero : acc;
}

/** The whole sum of a block with its multiples, four i32; `low` is what `halfway` gave. */
@inline
export function whole<L, Q>(acc: v128, low: v128, scale: v128): v128 {
  if (sizeof<Q>() == sizeof<Pairs>()) {
    return sizeof<L>() == sizeof<Int4k>() ? i32x4.dot_i16x8_s(acc, scale) : acc;
  }
  if (sizeof<L>() == sizeof<Int5m>()) return acc;
  const scaled = i32x4.mul(acc, i32x4.shr_s(scale, 16));
  return sizeof<L>() == sizeof<Int6k>() ? i32x4.add(low, scaled) : scaled;
}

/**
 * What four rows add for the sum of activations: m of int5m, else −dmin·m, which is exact. `min` are
 * the rows' halves.
 */
@inline
export function offsetOf<L>(multiples: v128, min: v128): v128 {
  if (sizeof<L>() == sizeof<Int5m>() || sizeof<L>() == sizeof<Int6k>()) return min;
  return f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_u(multiples, 16)), min);
}

/**
 * The sums of four rows after a block. `dots` are its products, `multiples` as in the block, `d` the
 * rows' halves as f32, `offset` what `offsetOf` gives; of the activations `dx` is the scale, `parts`
 * the two sums of −8·q, `dxSum` the scale times the sum of q.
 */
@inline
export function addBlock<L>(
  sums: v128,
  dots: v128,
  multiples: v128,
  d: v128,
  offset: v128,
  dx: v128,
  parts: v128,
  dxSum: v128,
): v128 {
  if (sizeof<L>() == sizeof<Int6k>()) {
    // −32 times the sums of q, with their multiples.
    const all = i32x4.add(dots, i32x4.shl(i32x4.dot_i16x8_s(multiples, parts), 2));
    return madd(f32x4.convert_i32x4_s(all), f32x4.mul(d, dx), sums);
  }
  return madd(offset, dxSum, madd(f32x4.convert_i32x4_s(dots), f32x4.mul(d, dx), sums));
}
