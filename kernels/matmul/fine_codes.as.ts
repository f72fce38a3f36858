// The finer integer layouts: what their products for one token (fine_vector.as.ts) and for several
// (fine.as.ts) share. Four, five or six bits to a code, and a scale (and minimum) for each 32 or 16
// that may be a whole multiple of one that eight blocks share.
//
// Packed blocks, 16 rows × 32 k; where eight share halves, these stand before them:
//   int4k  (shared: 16 halves d, 16 halves dmin)
//          16 × 2 B   of each row the multiples s of d and m of dmin
//          4 × 64 B   codes of rows 4g … 4g+3 in four bits, as in int4.as.ts
//   int5k  (shared: as int4k)
//          16 × 2 B   as int4k
//          4 × 80 B   codes of rows 4g … 4g+3 in five bits
//   int6k  (shared: 16 halves d)
//          16 × 2 B   of each row the multiples of d (signed) for k < 16 and for the others
//          4 × 96 B   codes of rows 4g … 4g+3 in six bits
//   int4n  16 halves d, codes in four bits (one token only: int4n.as.ts)
//   int5   16 halves d, codes in five bits
//   int5m  16 halves d, 16 halves m, codes in five bits
//
// Codes of five bits are vectors 0 … 4, of six bits 0 … 5. Lane r of a vector is of row 4g+r, byte i
// of it of k = 4j+i, for several j. Written j are the codes of these k, written u the vectors' bytes:
//   five bits  the low five of u0 … u4 are 0 … 4; above them, three bits each: of 5 in u0 the low
//              three, in u1 the high two and then the fourth of 7; of 6 in u2 and u3 likewise, and
//              then the fifth of 7; in u4 the low three of 7
//   six bits   the low six of u0 u1 u2 are 0 1 2; above them, two bits each, lowest first, is 3; and
//              u3 u4 u5 are 4 5 6 7 likewise
// So one mask takes the codes out, and whatever lies above them.
//
// Values: d·s·q − dmin·m (int4k, int5k), d·s·(q − 32) (int6k), d·(q − 16) (int5), d·q + m (int5m).
// Everything but d, dmin and m is whole, and so are sums of a block: int32, within 2^25.

import { mac } from "../dots.as";
import { dotPairs, madd } from "../simd.as";
import { high } from "./int4.as";

// The layouts as types that differ: what depends on a type parameter `L` is decided when a function is
// compiled, and branches of other layouts are left out. Likewise `Q`, the way of summing products
// (dots.as.ts).
export type Int5m = i8;
export type Int4k = i16;
export type Int5k = i32;
export type Int6k = i64;
export type Int5 = v128;
export type Int4n = f32;
export type Pairs = i8;
export type Quads = i16;

/** Whether two of these types are the same. */
@inline
export function is<L, T>(): bool {
  return sizeof<L>() == sizeof<T>() && isFloat<L>() == isFloat<T>();
}

/** Bytes of the halves that eight blocks share. */
@inline
export function sharedHalves<L>(): usize {
  if (is<L, Int6k>()) return 32;
  return is<L, Int4k>() || is<L, Int5k>() ? 64 : 0;
}

/** Whether there are minimums beside the scales. */
@inline
export function hasMinimums<L>(): bool {
  return !is<L, Int6k>() && !is<L, Int5>() && !is<L, Int4n>();
}

/** Whether there is more to a code than its nibble. */
@inline
export function hasRest<L>(): bool {
  return !is<L, Int4k>() && !is<L, Int4n>();
}

/** Bytes of a block before its codes. */
@inline
export function codesAt<L>(): usize {
  return is<L, Int5m>() ? 64 : 32;
}

/** Bytes of the codes of four rows. */
@inline
export function codeBytes<L>(): usize {
  if (is<L, Int6k>()) return 96;
  return hasRest<L>() ? 80 : 64;
}

/** The bits of a byte that are a code. */
@inline
export function codeMask<L>(): v128 {
  if (is<L, Int6k>()) return i8x16.splat(63);
  return i8x16.splat(hasRest<L>() ? 31 : 15);
}

/** Two bits of each of three vectors: the codes that lie above others of six bits. */
@inline
export function spread6(u: v128, v: v128, w: v128, mask: v128): v128 {
  return v128.or(
    v128.or(i16x8.shr_u(v128.andnot(u, mask), 6), i16x8.shr_u(v128.andnot(v, mask), 4)),
    i16x8.shr_u(v128.andnot(w, mask), 2),
  );
}

/** Three bits of each of two vectors: a code of five bits, and a bit above it. */
@inline
export function spread5(u: v128, v: v128, mask: v128): v128 {
  return v128.or(i16x8.shr_u(v128.andnot(u, mask), 5), i16x8.shr_u(v128.andnot(v, mask), 2));
}

/** Three bits of a vector, and the bits above two codes: a code of five bits. */
@inline
export function spread5Last(u: v128, code5: v128, code6: v128, mask: v128): v128 {
  return v128.or(
    v128.or(i16x8.shr_u(v128.andnot(u, mask), 5), i16x8.shr_u(v128.andnot(code5, mask), 2)),
    i16x8.shr_u(v128.andnot(code6, mask), 1),
  );
}

/** The fifth vector of four rows' codes, where there is one; else the first. */
@inline
export function fifthVector<L>(at: usize, first: v128): v128 {
  return hasRest<L>() ? v128.load(at, 64) : first;
}

/** The sixth vector of four rows' codes, where there is one; else the first. */
@inline
export function sixthVector<L>(at: usize, first: v128): v128 {
  return is<L, Int6k>() ? v128.load(at, 80) : first;
}

/** Codes of k = 12 … 15 of four rows; `u` … are the vectors at their codes. */
@inline
export function code3<L>(u0: v128, u1: v128, u2: v128, u3: v128, mask: v128): v128 {
  return is<L, Int6k>() ? spread6(u0, u1, u2, mask) : v128.and(u3, mask);
}

/** Codes of k = 16 … 19. */
@inline
export function code4<L>(u0: v128, u3: v128, u4: v128, mask: v128): v128 {
  if (!hasRest<L>()) return high(u0, mask);
  return v128.and(is<L, Int6k>() ? u3 : u4, mask);
}

/** What the codes of k = 20 … 23 are in, with a bit for `code7` above. */
@inline
export function above5<L>(u0: v128, u1: v128, u4: v128, mask: v128): v128 {
  if (!hasRest<L>()) return i16x8.shr_u(u1, 4);
  return is<L, Int6k>() ? u4 : spread5(u0, u1, mask);
}

/** Likewise of k = 24 … 27. */
@inline
export function above6<L>(u2: v128, u3: v128, u5: v128, mask: v128): v128 {
  if (!hasRest<L>()) return i16x8.shr_u(u2, 4);
  return is<L, Int6k>() ? u5 : spread5(u2, u3, mask);
}

/** Codes of k = 28 … 31; `v5` and `v6` are what `above5` and `above6` give. */
@inline
export function code7<L>(u3: v128, u4: v128, v5: v128, v6: v128, mask: v128): v128 {
  if (!hasRest<L>()) return high(u3, mask);
  return is<L, Int6k>() ? spread6(u3, v5, v6, mask) : spread5Last(u4, v5, v6, mask);
}

/** The multiples of four rows, two to a row, as i16; ones where the layout has none. */
@inline
export function multiplesOf<L>(at: usize): v128 {
  if (sharedHalves<L>() == 0) return i16x8.splat(1);
  if (is<L, Int6k>()) return v128.load_ext<i8>(at);
  return v128.load_ext<u8>(at);
}

/** What the sums of k < 16 are multiplied with, twice in a row's lane. */
@inline
export function firstScale<L>(multiples: v128): v128 {
  if (sharedHalves<L>() == 0) return multiples;
  return firsts(multiples);
}

/** What those of the others are multiplied with; `first` is what those of k < 16 are. */
@inline
export function secondScale<L>(multiples: v128, first: v128): v128 {
  return is<L, Int6k>() ? seconds(multiples) : first;
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

/** `step` where a sum begins. */
@inline
export function begun<L, Q>(x0: v128, c0: v128, x1: v128, c1: v128, scale: v128): v128 {
  const sum = two<Q>(x0, c0, x1, c1);
  if (is<Q, Quads>() || is<L, Int4k>()) return sum;
  return i32x4.dot_i16x8_s(sum, scale);
}

/**
 * `acc` and the products of two vectors of codes with activations, of k that lie beside each other.
 * An i16 holds 8 products of codes below 16, or 4 of codes below 64: with other codes than int4k's,
 * pairs meet `scale`, which the rows' multiples are twice in a lane, two vectors by two.
 */
@inline
export function step<L, Q>(acc: v128, x0: v128, c0: v128, x1: v128, c1: v128, scale: v128): v128 {
  if (is<Q, Quads>()) return mac(mac(acc, x0, c0, true), x1, c1, true);
  const sum = i16x8.add(dotPairs(x0, c0), dotPairs(x1, c1));
  if (is<L, Int4k>()) return i16x8.add(acc, sum);
  return i32x4.add(acc, i32x4.dot_i16x8_s(sum, scale));
}

/** The products of two vectors of codes with activations: i16 in pairs, i32 in quads. */
@inline
export function two<Q>(x0: v128, c0: v128, x1: v128, c1: v128): v128 {
  if (is<Q, Quads>()) return mac(mac(i32x4.splat(0), x0, c0, true), x1, c1, true);
  return i16x8.add(dotPairs(x0, c0), dotPairs(x1, c1));
}

/** `acc` and such products. */
@inline
export function twoMore<Q>(acc: v128, x0: v128, c0: v128, x1: v128, c1: v128): v128 {
  if (is<Q, Quads>()) return mac(mac(acc, x0, c0, true), x1, c1, true);
  return i16x8.add(acc, two<Q>(x0, c0, x1, c1));
}

/** Such sums of rows times their multiples, which are twice in a lane; i32. */
@inline
export function times<Q>(sums: v128, multiples: v128): v128 {
  if (is<Q, Quads>()) return i32x4.mul(sums, i32x4.shr_s(multiples, 16));
  return i32x4.dot_i16x8_s(sums, multiples);
}

/** What is set aside of a sum of k < 16. */
@inline
export function halfway<L, Q>(acc: v128, scale: v128): v128 {
  if (!is<L, Int6k>() || !is<Q, Quads>()) return acc;
  return i32x4.mul(acc, i32x4.shr_s(scale, 16));
}

/** Where sums go on from k = 16. */
@inline
export function middle<L, Q>(acc: v128, zero: v128): v128 {
  return is<L, Int6k>() && is<Q, Quads>() ? zero : acc;
}

/** The whole sum of a block with its multiples, four i32; `low` is what `halfway` gave. */
@inline
export function whole<L, Q>(acc: v128, low: v128, scale: v128): v128 {
  if (is<Q, Pairs>()) {
    return is<L, Int4k>() ? i32x4.dot_i16x8_s(acc, scale) : acc;
  }
  if (sharedHalves<L>() == 0) return acc;
  const scaled = i32x4.mul(acc, i32x4.shr_s(scale, 16));
  return is<L, Int6k>() ? i32x4.add(low, scaled) : scaled;
}

/**
 * What four rows add for the sum of activations: m of int5m, else −dmin·m, which is exact. `min` are
 * the rows' halves.
 */
@inline
export function offsetOf<L>(multiples: v128, min: v128): v128 {
  if (is<L, Int5m>() || !hasMinimums<L>()) return min;
  return f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_u(multiples, 16)), min);
}

/** What addBlock needs of `parts`, the two sums of −8·q of a block of activations. */
@inline
export function partsOf<L>(parts: v128): v128 {
  if (!is<L, Int5>() && !is<L, Int4n>()) return parts;
  // −16 or −128 times the sum of all q.
  return i32x4.shl(i32x4.dot_i16x8_s(i16x8.splat(1), parts), is<L, Int5>() ? 1 : 4);
}

/**
 * The sums of four rows after a block. `dots` are its products, `multiples` as in the block, `d` the
 * rows' halves as f32, `offset` what `offsetOf` gives; of the activations `dx` is the scale, `parts`
 * what `partsOf` gives, `dxSum` the scale times the sum of q.
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
  if (is<L, Int6k>()) {
    // −32 times the sums of q, with their multiples.
    const all = i32x4.add(dots, i32x4.shl(i32x4.dot_i16x8_s(multiples, parts), 2));
    return madd(f32x4.convert_i32x4_s(all), f32x4.mul(d, dx), sums);
  }
  if (is<L, Int5>() || is<L, Int4n>()) {
    return madd(f32x4.convert_i32x4_s(i32x4.add(dots, parts)), f32x4.mul(d, dx), sums);
  }
  return madd(offset, dxSum, madd(f32x4.convert_i32x4_s(dots), f32x4.mul(d, dx), sums));
}
