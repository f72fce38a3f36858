// The finer integer layouts (fine_codes.as.ts), one token: a block of four rows, which is the body of the
// loops over panels (fine_vector.as.ts, fine_panel.as.ts).
//
// What costs time is how many instructions there are, loads from the stack among them. So vectors of
// codes are loaded where they are needed, and multiples and halves after the products.

import { f16Finite } from "../simd.as";
import {
  addBlock,
  codeBytes,
  codesAt,
  firstScale,
  hasMinimums,
  Int4k,
  Int4n,
  Int6k,
  is,
  multiplesOf,
  offsetOf,
  Pairs,
  Quads,
  secondScale,
  sharedHalves,
  spread5,
  spread5Last,
  spread6,
  times,
  two,
  twoMore,
} from "./fine_codes.as";
import { high } from "./int4.as";
import { nonlinearDots } from "./int4n.as";

/** Halves of four rows as f32, which must be finite. */
@inline
function halvesAt(at: usize, bits: v128, lift: v128): v128 {
  return f16Finite(i32x4.shl(v128.load_ext<i16>(at), 13), bits, lift);
}

/** Scales of rows 4g … 4g+3 that blocks share; where they share none, `lift`. */
@inline
export function sharedScales<L>(shared: usize, g: i32, bits: v128, lift: v128): v128 {
  return sharedHalves<L>() == 0 ? lift : halvesAt(shared + (g << 3), bits, lift);
}

/** As `sharedScales`, of minimums, where the layout has some. */
@inline
export function sharedMinimums<L>(shared: usize, g: i32, bits: v128, lift: v128): v128 {
  if (sharedHalves<L>() == 0 || !hasMinimums<L>()) return lift;
  return halvesAt(shared + 32 + (g << 3), bits, lift);
}

/**
 * The sums of rows 4g … 4g+3 after the block at `w` times one token; `d` and `min` are what
 * `sharedScales` and `sharedMinimums` give.
 */
@inline
export function rowsTimes1<L, Q>(
  sums: v128,
  w: usize,
  g: usize,
  d: v128,
  min: v128,
  x0: v128, x1: v128, x2: v128, x3: v128, x4: v128, x5: v128, x6: v128, x7: v128,
  dx: v128,
  parts: v128,
  dxSum: v128,
  bits: v128,
  mask: v128,
  lows: v128,
  highs: v128,
): v128 {
  const p = w + codesAt<L>() + <usize> g * codeBytes<L>();
  let dots: v128, multiples = mask;
  if (is<L, Int4n>()) {
    dots = nonlinearDots<Q>(p, x0, x1, x2, x3, x4, x5, x6, x7, mask, lows, highs);
  } else if (is<L, Int4k>()) {
    const sums = dots4<Q>(p, x0, x1, x2, x3, x4, x5, x6, x7, mask);
    multiples = multiplesOf<L>(w + (g << 3));
    dots = times<Q>(sums, firstScale<L>(multiples));
  } else if (is<L, Int6k>()) {
    // An i16 holds no more than 4 products of codes of six bits.
    let u = v128.load(p), v = v128.load(p, 16), t = v128.load(p, 32);
    let a = two<Q>(x0, v128.and(u, mask), x1, v128.and(v, mask)), b: v128;
    let last = spread6(u, v, t, mask);
    if (is<Q, Quads>()) a = twoMore<Q>(a, x2, v128.and(t, mask), x3, last);
    else b = two<Q>(x2, v128.and(t, mask), x3, last);
    u = v128.load(p, 48);
    v = v128.load(p, 64);
    t = v128.load(p, 80);
    let c = two<Q>(x4, v128.and(u, mask), x5, v128.and(v, mask)), e: v128;
    last = spread6(u, v, t, mask);
    if (is<Q, Quads>()) c = twoMore<Q>(c, x6, v128.and(t, mask), x7, last);
    else e = two<Q>(x6, v128.and(t, mask), x7, last);
    multiples = multiplesOf<L>(w + (g << 3));
    const first = firstScale<L>(multiples), second = secondScale<L>(multiples, multiples);
    dots = i32x4.add(times<Q>(a, first), times<Q>(c, second));
    if (is<Q, Pairs>()) {
      dots = i32x4.add(dots, i32x4.add(times<Q>(b, first), times<Q>(e, second)));
    }
  } else {
    // An i16 holds 8 products of codes of five bits.
    let u = v128.load(p), v = v128.load(p, 16);
    let a = two<Q>(x0, v128.and(u, mask), x1, v128.and(v, mask));
    const v5 = spread5(u, v, mask);
    u = v128.load(p, 32);
    v = v128.load(p, 48);
    a = twoMore<Q>(a, x2, v128.and(u, mask), x3, v128.and(v, mask));
    const v6 = spread5(u, v, mask);
    u = v128.load(p, 64);
    const c7 = spread5Last(u, v5, v6, mask);
    let b = two<Q>(x4, v128.and(u, mask), x5, v128.and(v5, mask));
    b = twoMore<Q>(b, x6, v128.and(v6, mask), x7, c7);
    multiples = multiplesOf<L>(w + (g << 3));
    const scale = firstScale<L>(multiples);
    if (is<Q, Quads>()) {
      dots = i32x4.add(a, b);
      if (sharedHalves<L>() != 0) dots = times<Q>(dots, scale);
    } else dots = i32x4.add(times<Q>(a, scale), times<Q>(b, scale));
  }
  if (sharedHalves<L>() == 0) {
    d = halvesAt(w + (g << 3), bits, d);
    if (hasMinimums<L>()) min = halvesAt(w + 32 + (g << 3), bits, min);
  }
  return addBlock<L>(sums, dots, multiples, d, offsetOf<L>(multiples, min), dx, parts, dxSum);
}

/** Products of four rows' codes of four bits at `p`, without multiples. */
@inline
function dots4<Q>(
  p: usize,
  x0: v128, x1: v128, x2: v128, x3: v128, x4: v128, x5: v128, x6: v128, x7: v128,
  mask: v128,
): v128 {
  let u = v128.load(p);
  let dots = two<Q>(x0, v128.and(u, mask), x4, high(u, mask));
  u = v128.load(p, 16);
  dots = twoMore<Q>(dots, x1, v128.and(u, mask), x5, high(u, mask));
  u = v128.load(p, 32);
  dots = twoMore<Q>(dots, x2, v128.and(u, mask), x6, high(u, mask));
  u = v128.load(p, 48);
  return twoMore<Q>(dots, x3, v128.and(u, mask), x7, high(u, mask));
}
