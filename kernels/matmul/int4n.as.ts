// INT4N weights: nibbles that choose among sixteen numbers of eight bits. Packed blocks are those of
// int4 (int4.as.ts).
//
// One token: a number is 16·h + l − 128, and both h and l are below 16, as the codes of int4 are, so
// that products are summed as those. 128 is taken back as the −8 of int4.
// More: blocks become blocks of int8 (int8.as.ts) first, once for all tokens of a task.

import { choose } from "../simd.as";
import { is, Quads, two, twoMore } from "./fine_codes.as";
import { high } from "./int4.as";

/** The l of each number. */
@inline
export function lowParts(): v128 {
  return i8x16(1, 8, 13, 15, 15, 13, 10, 6, 1, 13, 9, 6, 5, 5, 9, 1);
}

/** The h of each number. */
@inline
export function highParts(): v128 {
  return i8x16(0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 13, 15);
}

/** Products of four rows' codes at `p` with a block of activations, four i32, with 128 added to each number. */
@inline
export function nonlinearDots<Q>(
  p: usize,
  x0: v128, x1: v128, x2: v128, x3: v128, x4: v128, x5: v128, x6: v128, x7: v128,
  mask: v128,
  lows: v128,
  highs: v128,
): v128 {
  let u = v128.load(p), c = v128.and(u, mask), e = high(u, mask);
  let l = two<Q>(x0, choose(lows, c), x4, choose(lows, e));
  let h = two<Q>(x0, choose(highs, c), x4, choose(highs, e));
  u = v128.load(p, 16); c = v128.and(u, mask); e = high(u, mask);
  l = twoMore<Q>(l, x1, choose(lows, c), x5, choose(lows, e));
  h = twoMore<Q>(h, x1, choose(highs, c), x5, choose(highs, e));
  u = v128.load(p, 32); c = v128.and(u, mask); e = high(u, mask);
  l = twoMore<Q>(l, x2, choose(lows, c), x6, choose(lows, e));
  h = twoMore<Q>(h, x2, choose(highs, c), x6, choose(highs, e));
  u = v128.load(p, 48); c = v128.and(u, mask); e = high(u, mask);
  l = twoMore<Q>(l, x3, choose(lows, c), x7, choose(lows, e));
  h = twoMore<Q>(h, x3, choose(highs, c), x7, choose(highs, e));
  if (is<Q, Quads>()) return i32x4.add(l, i32x4.shl(h, 4));
  return i32x4.add(
    i32x4.dot_i16x8_s(l, i16x8.splat(1)),
    i32x4.dot_i16x8_s(h, i16x8.splat(16)),
  );
}

/** The block at `w` as one of int8, at `to`. */
export function int4nAsInt8(w: usize, to: usize): void {
  const mask = i8x16.splat(15);
  const numbers = i8x16(1, 24, 45, 63, 79, 93, 106, 118, -127, -115, -103, -90, -75, -59, -39, -15);
  v128.store(to, v128.load(w));
  v128.store(to, v128.load(w, 16), 16);
  w += 32;
  to += 32;
  for (let g = 0; g < 4; g++, w += 64, to += 128) {
    for (let j: usize = 0; j < 64; j += 16) {
      const u = v128.load(w + j);
      v128.store(to + j, asInt8(choose(numbers, v128.and(u, mask))));
      v128.store(to + j, asInt8(choose(numbers, high(u, mask))), 64);
    }
  }
}

/** Bytes with 128 added, in the order of int8 blocks, in which the odd ones have nothing added. */
@inline
function asInt8(v: v128): v128 {
  const ordered = v128.shuffle<i8>(v, v, 0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
  return v128.xor(ordered, i16x8.splat(-32768));
}
