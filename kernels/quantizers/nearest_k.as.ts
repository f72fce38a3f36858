// Blocks of K-quants where every number counts alike: quant/nearest_k.ts with the same bytes. Four groups
// of a block are worked on at a time, one in each lane.

import { halfBits } from "../pack/codes.as";
import { BLOCK_CODES, CELL, LANES, SHARES, TURNED } from "./area.as";
import { packScales, writeCodes } from "./codes.as";
import {
  areHeld,
  chooseThree,
  chosen,
  chosenError,
  chosenLow,
  clamp,
  codeOf,
  errorOf,
  putCodes,
  sumCodes,
  turn,
} from "./lanes.as";
import { halfValue } from "./search.as";

@inline const TINY: f32 = 1e-30;
@inline const HALF_MAX: f64 = 65504;

// Places in `LANES`, each for a number of every group, all of f32.
@inline const IDEAL: usize = LANES;
@inline const LOWS: usize = LANES + 64;
@inline const MULTIPLES: usize = LANES + 128;
@inline const MINIMA: usize = LANES + 192;
@inline const ERRORS: usize = LANES + 256;
/** Sums of four groups: codes, their squares, their products with the numbers, the numbers. */
@inline const SUMS: usize = LANES + 320;
/** Multiples and minima as bytes. */
@inline const PACKED: usize = LANES + 384;

/** What the number of greatest magnitude is tried as: no code is below -32 then. */
@inline
function peakAs(i: i32): v128 {
  const as: f64 = -32.4 + 0.7 * <f64> i;
  return f32x4.splat(<f32> as);
}

@inline
function sixBitCode(share: v128, as: v128): v128 {
  return f32x4.pmin(f32x4.nearest(f32x4.mul(share, as)), f32x4.splat(31));
}

/** The best scales of four groups of Q6_K, before they are rounded; `x` are 16 vectors. */
function searchScales(x: usize, shares: usize): v128 {
  let greatest = f32x4.splat(0);
  let peak = f32x4.splat(0);
  for (let at: usize = 0; at < 256; at += 16) {
    const v = v128.load(x + at);
    const isMore = f32x4.gt(f32x4.abs(v), greatest);
    greatest = v128.bitselect(f32x4.abs(v), greatest, isMore);
    peak = v128.bitselect(v, peak, isMore);
  }
  const isSome = f32x4.ge(greatest, f32x4.splat(TINY));
  const inverse = v128.and(f32x4.div(f32x4.splat(1), peak), isSome);
  for (let at: usize = 0; at < 256; at += 16) {
    v128.store(shares + at, f32x4.mul(v128.load(x + at), inverse));
  }
  let best = f32x4.splat(-1);
  let scale = f32x4.splat(0);
  for (let i = 0; i < 8; i += 2) {
    const as0 = peakAs(i);
    const as1 = peakAs(i + 1);
    let qx0 = f32x4.splat(0);
    let qq0 = f32x4.splat(0);
    let qx1 = f32x4.splat(0);
    let qq1 = f32x4.splat(0);
    for (let at: usize = 0; at < 256; at += 16) {
      const v = v128.load(shares + at);
      const q0 = sixBitCode(v, as0);
      const q1 = sixBitCode(v, as1);
      qx0 = f32x4.add(qx0, f32x4.mul(v, q0));
      qx1 = f32x4.add(qx1, f32x4.mul(v, q1));
      qq0 = f32x4.add(qq0, f32x4.mul(q0, q0));
      qq1 = f32x4.add(qq1, f32x4.mul(q1, q1));
    }
    const gain0 = f32x4.div(f32x4.mul(qx0, qx0), qq0);
    const gain1 = f32x4.div(f32x4.mul(qx1, qx1), qq1);
    const isFirst = f32x4.gt(gain0, best);
    best = v128.bitselect(gain0, best, isFirst);
    scale = v128.bitselect(f32x4.div(qx0, qq0), scale, isFirst);
    const isSecond = f32x4.gt(gain1, best);
    best = v128.bitselect(gain1, best, isSecond);
    scale = v128.bitselect(f32x4.div(qx1, qq1), scale, isSecond);
  }
  // The codes of the best scale may have a better one.
  const as = f32x4.div(f32x4.splat(1), scale);
  let qx = f32x4.splat(0);
  let qq = f32x4.splat(0);
  for (let at: usize = 0; at < 256; at += 16) {
    const v = v128.load(shares + at);
    const q = sixBitCode(v, as);
    qx = f32x4.add(qx, f32x4.mul(v, q));
    qq = f32x4.add(qq, f32x4.mul(q, q));
  }
  const isLast = f32x4.gt(f32x4.div(f32x4.mul(qx, qx), qq), best);
  scale = v128.bitselect(f32x4.div(qx, qq), scale, isLast);
  return v128.and(f32x4.mul(peak, scale), isSome);
}

/** One block of Q6_K; false where a half cannot hold its scale, or a number is none. */
export function nearestSixBits(x: usize, out: usize, area: usize): bool {
  if (!areHeld(x)) return false;
  const turned = area + TURNED;
  turn(x, 64, turned);
  for (let b: usize = 0; b < 4; b++) {
    v128.store(area + IDEAL + (b << 4), searchScales(turned + (b << 8), area + SHARES));
  }
  let top: f32 = 0;
  for (let g: usize = 0; g < 64; g += 4) {
    const scale = load<f32>(area + IDEAL + g);
    if (abs(scale) > abs(top)) top = scale;
  }
  if (!(abs(<f64> top / 128) <= HALF_MAX)) return false;
  let d = <i32> halfBits(<f64> top / -128);
  const unit = <f32> halfValue(d, area + CELL);
  const units = f32x4.splat(unit);
  const none = f32x4.splat(0);
  const least = f32x4.splat(-32);
  const most = f32x4.splat(31);
  let error: f64 = 0;
  let aa: f64 = 0;
  let ax: f64 = 0;
  for (let b: usize = 0; b < 4; b++) {
    const from = turned + (b << 8);
    const ideal = f32x4.nearest(f32x4.div(v128.load(area + IDEAL + (b << 4)), units));
    const middle = unit != 0 ? multipleOf(ideal) : none;
    const below = multipleOf(f32x4.sub(middle, f32x4.splat(1)));
    const above = multipleOf(f32x4.add(middle, f32x4.splat(1)));
    chooseThree(
      from, from + 256, units, none, least, most, middle, below, above, none, none, none,
    );
    v128.store(area + MULTIPLES + (b << 4), chosen);
    v128.store(area + ERRORS, chosenError);
    sumCodes(from, from + 256, f32x4.mul(units, chosen), none, least, most, area + SUMS);
    for (let g: usize = 0; g < 16; g += 4) {
      error += <f64> load<f32>(area + ERRORS + g);
      const multiple = <f64> load<f32>(area + MULTIPLES + (b << 4) + g);
      aa += multiple * multiple * <f64> load<f32>(area + SUMS + 16 + g);
      ax += multiple * <f64> load<f32>(area + SUMS + 32 + g);
    }
  }
  const fitted = aa > 0 && abs(ax / aa) <= HALF_MAX ? <i32> halfBits(ax / aa) : d;
  let other: f64 = 0;
  const fittedUnits = f32x4.splat(<f32> halfValue(fitted, area + CELL));
  for (let b: usize = 0; b < 4; b++) {
    const from = turned + (b << 8);
    const step = f32x4.mul(fittedUnits, v128.load(area + MULTIPLES + (b << 4)));
    v128.store(area + ERRORS, errorOf(from, from + 256, step, none, least, most));
    for (let g: usize = 0; g < 16; g += 4) other += <f64> load<f32>(area + ERRORS + g);
  }
  if (other < error) d = fitted;
  store<u16>(out + 208, d);
  const last = f32x4.splat(<f32> halfValue(d, area + CELL));
  for (let b: usize = 0; b < 4; b++) {
    const step = f32x4.mul(last, v128.load(area + MULTIPLES + (b << 4)));
    putCodes(turned + (b << 8), 16, step, none, least, most, 32, area + BLOCK_CODES + (b << 6));
  }
  for (let g: usize = 0; g < 16; g++) {
    store<i8>(out + 192 + g, <i8> <i32> load<f32>(area + MULTIPLES + (g << 2)));
  }
  writeCodes(14, area + BLOCK_CODES, out);
  return true;
}

@inline
function multipleOf(value: v128): v128 {
  return clamp(value, f32x4.splat(-128), f32x4.splat(127));
}

/** The best steps and minima of four groups of 32, before they are rounded; to `IDEAL` and `LOWS`. */
function searchRanges(x: usize, most: f32, shares: usize, to: usize): void {
  let low = f32x4.splat(0);
  let high = v128.load(x);
  for (let at: usize = 0; at < 512; at += 16) {
    const v = v128.load(x + at);
    low = f32x4.pmin(low, v);
    high = f32x4.pmax(high, v);
  }
  const spread = f32x4.sub(high, low);
  const isSome = f32x4.ge(spread, f32x4.splat(TINY));
  const inverse = v128.and(f32x4.div(f32x4.splat(1), spread), isSome);
  const zero = f32x4.mul(f32x4.neg(low), inverse);
  let sx = f32x4.splat(0);
  for (let at: usize = 0; at < 512; at += 16) {
    const share = f32x4.mul(f32x4.sub(v128.load(x + at), low), inverse);
    v128.store(shares + at, share);
    sx = f32x4.add(sx, share);
  }
  const none = f32x4.splat(0);
  const greatest = f32x4.splat(most);
  const size = f32x4.splat(32);
  const two = f32x4.splat(2);
  let best = f32x4.splat(-Infinity);
  let scale = f32x4.splat(1 / most);
  let least = none;
  for (let i = 0; i < 14; i++) {
    const stretch: f64 = 0.6 - 0.2 * <f64> i;
    const steps = i < 13
      ? f32x4.splat(most + <f32> stretch)
      : f32x4.div(f32x4.splat(1), scale);
    const shift = i < 13
      ? f32x4.splat(i % 3 == 1 ? 0.5 : 0)
      : f32x4.div(f32x4.neg(least), scale);
    let q = none;
    let qq = none;
    let qx = none;
    for (let at: usize = 0; at < 512; at += 16) {
      const share = v128.load(shares + at);
      const scaled = f32x4.add(f32x4.mul(share, steps), shift);
      const code = clamp(f32x4.nearest(scaled), none, greatest);
      q = f32x4.add(q, code);
      qq = f32x4.add(qq, f32x4.mul(code, code));
      qx = f32x4.add(qx, f32x4.mul(code, share));
    }
    const determinant = f32x4.sub(f32x4.mul(size, qq), f32x4.mul(q, q));
    let a = f32x4.div(f32x4.sub(f32x4.mul(size, qx), f32x4.mul(q, sx)), determinant);
    let b = f32x4.div(f32x4.sub(f32x4.mul(qq, sx), f32x4.mul(q, qx)), determinant);
    const isSound = v128.and(
      v128.and(f32x4.gt(determinant, none), f32x4.gt(a, none)),
      f32x4.le(b, zero),
    );
    b = v128.bitselect(b, zero, isSound);
    a = v128.bitselect(a, f32x4.div(f32x4.sub(qx, f32x4.mul(b, q)), qq), isSound);
    const bq = f32x4.mul(two, f32x4.mul(b, q));
    const byScale = f32x4.sub(f32x4.mul(two, qx), f32x4.add(f32x4.mul(a, qq), bq));
    const byLeast = f32x4.sub(f32x4.mul(two, sx), f32x4.mul(size, b));
    const gain = f32x4.add(f32x4.mul(a, byScale), f32x4.mul(b, byLeast));
    const isMore = v128.and(f32x4.gt(a, none), f32x4.gt(gain, best));
    best = v128.bitselect(gain, best, isMore);
    scale = v128.bitselect(a, scale, isMore);
    least = v128.bitselect(b, least, isMore);
  }
  v128.store(to + IDEAL, v128.and(f32x4.mul(scale, spread), isSome));
  const minimum = f32x4.pmax(f32x4.mul(f32x4.sub(zero, least), spread), none);
  v128.store(to + LOWS, v128.bitselect(minimum, f32x4.neg(low), isSome));
}

/** One block of Q4_K or Q5_K; false where a half cannot hold a scale, or a number is none. */
export function nearestRanges(x: usize, out: usize, area: usize, most: f32, type: i32): bool {
  if (!areHeld(x)) return false;
  const turned = area + TURNED;
  turn(x, 128, turned);
  searchRanges(turned, most, area + SHARES, area);
  searchRanges(turned + 512, most, area + SHARES, area + 16);
  let topScale: f64 = 0;
  let topLow: f64 = 0;
  for (let g: usize = 0; g < 32; g += 4) {
    topScale = max(topScale, <f64> load<f32>(area + IDEAL + g));
    topLow = max(topLow, <f64> load<f32>(area + LOWS + g));
  }
  if (!(max(topScale, topLow) / 63 <= HALF_MAX)) return false;
  let d = <i32> halfBits(topScale / 63);
  let dmin = <i32> halfBits(topLow / 63);
  let error: f64 = 0;
  for (let b: usize = 0; b < 2; b++) {
    chooseRanges(area, b, most, d, dmin);
    for (let g: usize = 0; g < 16; g += 4) error += <f64> load<f32>(area + ERRORS + g);
  }
  fit(area, most, d, dmin);
  let other: f64 = 0;
  for (let b: usize = 0; b < 2; b++) {
    const from = turned + (b << 9);
    const step = stepOf(fittedD, MULTIPLES, b, area);
    const low = stepOf(fittedMin, MINIMA, b, area);
    const found = errorOf(from, from + 512, step, low, f32x4.splat(0), f32x4.splat(most));
    v128.store(area + ERRORS, found);
    for (let g: usize = 0; g < 16; g += 4) other += <f64> load<f32>(area + ERRORS + g);
  }
  if (other < error) {
    d = fittedD;
    dmin = fittedMin;
  }
  store<u16>(out, d);
  store<u16>(out + 2, dmin);
  for (let b: usize = 0; b < 2; b++) {
    putCodes(
      turned + (b << 9), 32, stepOf(d, MULTIPLES, b, area), stepOf(dmin, MINIMA, b, area),
      f32x4.splat(0), f32x4.splat(most), 0, area + BLOCK_CODES + (b << 7),
    );
  }
  for (let g: usize = 0; g < 8; g++) {
    store<u8>(area + PACKED + g, <i32> load<f32>(area + MULTIPLES + (g << 2)));
    store<u8>(area + PACKED + 8 + g, <i32> load<f32>(area + MINIMA + (g << 2)));
  }
  packScales(area + PACKED, area + PACKED + 8, out + 4);
  writeCodes(type, area + BLOCK_CODES, out);
  return true;
}

/** A half times multiples of four groups. */
@inline
function stepOf(bits: i32, multiples: usize, b: usize, area: usize): v128 {
  const unit = f32x4.splat(<f32> halfValue(bits, area + CELL));
  return f32x4.mul(unit, v128.load(area + multiples + (b << 4)));
}

@inline
function smallMultiple(value: v128): v128 {
  return clamp(value, f32x4.splat(0), f32x4.splat(63));
}

/** Sets the multiples of four groups to the best around their own scales, and `ERRORS` to what is lost. */
function chooseRanges(area: usize, b: usize, most: f32, d: i32, dmin: i32): void {
  const from = area + TURNED + (b << 9);
  const unit = f32x4.splat(<f32> halfValue(d, area + CELL));
  const unitLow = f32x4.splat(<f32> halfValue(dmin, area + CELL));
  const scales = v128.load(area + IDEAL + (b << 4));
  const lows = v128.load(area + LOWS + (b << 4));
  const none = f32x4.splat(0);
  const greatest = f32x4.splat(most);
  const own = d ? smallMultiple(f32x4.nearest(f32x4.div(scales, unit))) : none;
  const below = smallMultiple(f32x4.sub(own, f32x4.splat(1)));
  const above = smallMultiple(f32x4.add(own, f32x4.splat(1)));
  const middle = f32x4.splat(most / 2);
  chooseThree(
    from, from + 512, unit, unitLow, none, greatest, own, below, above,
    lowOf(own, unit, scales, middle, lows, unitLow, dmin),
    lowOf(below, unit, scales, middle, lows, unitLow, dmin),
    lowOf(above, unit, scales, middle, lows, unitLow, dmin),
  );
  const less = smallMultiple(f32x4.sub(chosenLow, f32x4.splat(1)));
  const more = smallMultiple(f32x4.add(chosenLow, f32x4.splat(1)));
  chooseThree(
    from, from + 512, unit, unitLow, none, greatest, chosen, chosen, chosen, chosenLow, less, more,
  );
  v128.store(area + MULTIPLES + (b << 4), chosen);
  v128.store(area + MINIMA + (b << 4), chosenLow);
  v128.store(area + ERRORS, chosenError);
}

/** The multiple of the minimum with which what is in the middle of the codes stays where it is. */
@inline
function lowOf(
  multiple: v128,
  unit: v128,
  scales: v128,
  middle: v128,
  lows: v128,
  unitLow: v128,
  dmin: i32,
): v128 {
  const moved = f32x4.mul(f32x4.sub(f32x4.mul(unit, multiple), scales), middle);
  const low = f32x4.nearest(f32x4.div(f32x4.add(lows, moved), unitLow));
  return dmin ? smallMultiple(low) : f32x4.splat(0);
}

let fittedD: i32 = 0;
let fittedMin: i32 = 0;

/** The halves of least error for the chosen multiples and their codes. */
function fit(area: usize, most: f32, d: i32, dmin: i32): void {
  let aa: f64 = 0;
  let ab: f64 = 0;
  let bb: f64 = 0;
  let ax: f64 = 0;
  let bx: f64 = 0;
  for (let b: usize = 0; b < 2; b++) {
    const from = area + TURNED + (b << 9);
    sumCodes(
      from, from + 512, stepOf(d, MULTIPLES, b, area), stepOf(dmin, MINIMA, b, area),
      f32x4.splat(0), f32x4.splat(most), area + SUMS,
    );
    for (let g: usize = 0; g < 16; g += 4) {
      const s = <f64> load<f32>(area + MULTIPLES + (b << 4) + g);
      const m = <f64> load<f32>(area + MINIMA + (b << 4) + g);
      aa += s * s * <f64> load<f32>(area + SUMS + 16 + g);
      ab -= s * m * <f64> load<f32>(area + SUMS + g);
      bb += m * m * 32;
      ax += s * <f64> load<f32>(area + SUMS + 32 + g);
      bx -= m * <f64> load<f32>(area + SUMS + 48 + g);
    }
  }
  fittedD = d;
  fittedMin = dmin;
  if (bb == 0) {
    if (aa > 0 && ax > 0 && ax / aa <= HALF_MAX) fittedD = <i32> halfBits(ax / aa);
    return;
  }
  const determinant = aa * bb - ab * ab;
  const scale = (bb * ax - ab * bx) / determinant;
  const low = (aa * bx - ab * ax) / determinant;
  if (!(determinant > 0 && scale > 0 && low >= 0 && scale <= HALF_MAX && low <= HALF_MAX)) return;
  fittedD = <i32> halfBits(scale);
  fittedMin = <i32> halfBits(low);
}
