// Sums of products of int8 activations and INT4 weights, in the two ways that relaxed SIMD has. Both
// give the same numbers to the bit; which is faster depends on the CPU.
//   pairs  two products to an i16, in one instruction on any x86 CPU; added up there, and to i32
//          once per block of 32 k
//   quads  four products to an i32: one instruction where the CPU has AVX-VNNI or Arm's dot products
//          and the engine uses them, else a sequence
// The cell QUADS (memory.ts) holds the choice of the backend.

import { QUADS } from "./constants.as";
import { dotPairs } from "./simd.as";

/** Whether to sum quads, in the build that can. */
@inline
export function sumsQuads(): bool {
  return load<i32>(QUADS) != 0;
}

/**
 * acc + x·w over four k of four rows, x int8 and w in 0…15. `acc` is eight i16, or four i32 where
 * `quads`, a constant.
 */
@inline
export function mac(acc: v128, x: v128, w: v128, quads: bool): v128 {
  if (ASC_FEATURE_RELAXED_SIMD) {
    return quads
      ? i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w, acc)
      : i16x8.add(acc, dotPairs(x, w));
  }
  return i16x8.add(acc, dotPairs(x, w));
}

/** What an accumulator of `mac` holds, as four f32; `ones` are eight i16. */
@inline
export function sumOf(acc: v128, ones: v128, quads: bool): v128 {
  return f32x4.convert_i32x4_s(quads ? acc : i32x4.dot_i16x8_s(acc, ones));
}

/** Where an accumulator starts; `start` is eight i16. */
@inline
export function startOf(start: v128, ones: v128, quads: bool): v128 {
  return quads ? i32x4.dot_i16x8_s(start, ones) : start;
}

/** `turns` times the products of a block, of numbers that change; the result is of no use. */
@inline
function probe(turns: i32, quads: bool): v128 {
  const ones = i16x8.splat(1);
  const w0 = i8x16.splat(15);
  const w1 = i8x16.splat(11);
  const w2 = i8x16.splat(7);
  const w3 = i8x16.splat(3);
  let x = i8x16.splat(5);
  let y = i8x16.splat(-5);
  let f0 = f32x4.splat(0);
  let f1 = f0;
  for (; turns > 0; turns--) {
    let a = startOf(ones, ones, quads);
    let b = a;
    a = mac(a, x, w0, quads);
    b = mac(b, y, w0, quads);
    a = mac(a, x, w1, quads);
    b = mac(b, y, w1, quads);
    a = mac(a, x, w2, quads);
    b = mac(b, y, w2, quads);
    a = mac(a, x, w3, quads);
    b = mac(b, y, w3, quads);
    x = i8x16.add(x, ones);
    y = i8x16.add(y, ones);
    a = mac(a, x, w0, quads);
    b = mac(b, y, w0, quads);
    a = mac(a, x, w1, quads);
    b = mac(b, y, w1, quads);
    a = mac(a, x, w2, quads);
    b = mac(b, y, w2, quads);
    a = mac(a, x, w3, quads);
    b = mac(b, y, w3, quads);
    f0 = f32x4.add(f0, sumOf(a, ones, quads));
    f1 = f32x4.add(f1, sumOf(b, ones, quads));
  }
  return f32x4.add(f0, f1);
}

function probePairs(turns: i32): f32 {
  return f32x4.extract_lane(probe(turns, false), 0);
}

function probeQuads(turns: i32): f32 {
  return f32x4.extract_lane(probe(turns, true), 0);
}

/** Does some products in one of the two ways, to be timed. */
export function probeDots(quads: i32, turns: i32): f32 {
  return quads ? probeQuads(turns) : probePairs(turns);
}
