// The searches of quant/search.ts, number by number in the same order and in f64, so that scales and
// codes are the same to the bit. `x` and `w` are addresses of f32, `codes` of i8.

import { half, halfBits } from "../pack/codes.as";

/** Where the host has put the table of the codes of IQ4_NL: see `nonlinear` in quantize/wasm/pool.ts. */
@inline export const NONLINEAR: usize = 1024;

@inline const TINY: f64 = 1e-30;
@inline const ROUNDS: i32 = 8;
@inline const TRIES: i32 = 33;

/** Sums over the codes that were last tried: w·x·q and w·q². */
let sumXq: f64 = 0;
let sumQq: f64 = 0;

/** The code from `least` to `most` nearest to half of `doubled`; `isWhole` tells those of all types but IQ4_NL. */
@inline
function nearestTo(doubled: f64, least: f64, most: f64, isWhole: bool): f64 {
  const place = floor(doubled);
  if (isWhole) return max(least, min(most, floor((place + 1) * 0.5)));
  const last = 2 * (most - least);
  const at = max<f64>(0, min(last, place - 2 * least));
  return <f64> load<i8>(NONLINEAR + <usize> at);
}

function tryScale(
  least: f64,
  most: f64,
  isWhole: bool,
  x: usize,
  w: usize,
  n: i32,
  inverse: f64,
): f64 {
  const twice = 2 * inverse;
  let xq: f64 = 0;
  let qq: f64 = 0;
  const end = x + (<usize> n << 2);
  for (; x < end; x += 4, w += 4) {
    const value = <f64> load<f32>(x);
    const q = nearestTo(value * twice, least, most, isWhole);
    const wq = <f64> load<f32>(w) * q;
    xq += wq * value;
    qq += wq * q;
  }
  sumXq = xq;
  sumQq = qq;
  return qq > 0 ? xq * xq / qq : 0;
}

/** The error of a scale with the codes nearest to it, which are written to `codes`. */
export function scaleError(
  least: f64,
  most: f64,
  isWhole: bool,
  x: usize,
  w: usize,
  n: i32,
  d: f64,
  codes: usize,
): f64 {
  const twice = d != 0 ? 2 / d : 0;
  let error: f64 = 0;
  const end = x + (<usize> n << 2);
  for (; x < end; x += 4, w += 4, codes++) {
    const value = <f64> load<f32>(x);
    const q = nearestTo(value * twice, least, most, isWhole);
    const off = value - d * q;
    store<i8>(codes, <i8> q);
    error += <f64> load<f32>(w) * off * off;
  }
  return error;
}

/** The number of greatest magnitude, the first of several. */
function peakOf(x: usize, n: i32): f64 {
  let peak: f32 = 0;
  const end = x + (<usize> n << 2);
  for (; x < end; x += 4) {
    const value = load<f32>(x);
    if (abs(value) > abs(peak)) peak = value;
  }
  return <f64> peak;
}

/** What the number of greatest magnitude is tried as: `triedAs` in quant/search.ts. */
@inline
function triedAs(i: i32, outermost: f64, gap: f64): f64 {
  const size = abs(outermost);
  const at = i < 23
    ? size + gap * (1.1 - 0.1 * <f64> i)
    : size * (0.92 - 0.04 * <f64> (i - 23)) - gap;
  return outermost < 0 ? -at : at;
}

/** The best scale of `n` numbers, before it is rounded; 0 for zeros. */
export function searchScale(
  least: f64,
  most: f64,
  isWhole: bool,
  x: usize,
  w: usize,
  n: i32,
): f64 {
  const peak = peakOf(x, n);
  if (abs(peak) < TINY) return 0;
  let best: f64 = 0;
  let bestGain: f64 = -1;
  const signs = least == -most ? 1 : 2;
  for (let sign = 0; sign < signs; sign++) {
    const outermost = sign == 0 ? most : least;
    const gap: f64 = isWhole ? 1 : sign == 0 ? 24 : 23;
    let gain: f64 = 0;
    let scale = peak / triedAs(11, outermost, gap);
    for (let i = 0; i < TRIES; i++) {
      const tried = tryScale(
        least, most, isWhole, x, w, n, triedAs(i, outermost, gap) / peak,
      );
      if (tried > gain) {
        gain = tried;
        scale = sumXq / sumQq;
      }
    }
    for (let round = 0; round < ROUNDS; round++) {
      const tried = tryScale(least, most, isWhole, x, w, n, 1 / scale);
      if (!(tried > gain)) break;
      gain = tried;
      scale = sumXq / sumQq;
    }
    if (gain > bestGain) {
      bestGain = gain;
      best = scale;
    }
  }
  return best;
}

/** The value of a half. */
@inline
export function halfValue(bits: i32, cell: usize): f64 {
  store<u16>(cell, bits);
  return <f64> half(cell);
}

/** The half near `scale`, or one that rounding to nearest takes, whose codes have the least error. */
export function bestHalf(
  least: f64,
  most: f64,
  isWhole: bool,
  x: usize,
  w: usize,
  n: i32,
  scale: f64,
  codes: usize,
  cell: usize,
): i32 {
  const peak = peakOf(x, n);
  let best = <i32> halfBits(scale);
  const first = best;
  let lowest = scaleError(least, most, isWhole, x, w, n, halfValue(best, cell), codes);
  for (let i = 0; i < 4; i++) {
    const bits = i == 0
      ? first - 1
      : i == 1
      ? first + 1
      : <i32> halfBits(i == 2 ? peak / least : peak / most);
    if (bits < 0 || (bits & 0x7fff) >= 0x7c00) continue;
    const error = scaleError(least, most, isWhole, x, w, n, halfValue(bits, cell), codes);
    if (error < lowest) {
      lowest = error;
      best = bits;
    }
  }
  scaleError(least, most, isWhole, x, w, n, halfValue(best, cell), codes);
  return best;
}

/** What `searchRange` and `fitRange` found. */
export let foundScale: f64 = 0;
export let foundLeast: f64 = 0;

/** The error of steps of `scale` from `least`, codes from 0 to `most`, which are written to `codes`. */
export function rangeError(
  most: f64,
  x: usize,
  w: usize,
  n: i32,
  scale: f64,
  least: f64,
  codes: usize,
): f64 {
  const inverse = scale > 0 ? 1 / scale : 0;
  let error: f64 = 0;
  const end = x + (<usize> n << 2);
  for (; x < end; x += 4, w += 4, codes++) {
    const value = <f64> load<f32>(x);
    const q = max<f64>(0, min(most, floor((value - least) * inverse + 0.5)));
    const off = value - scale * q - least;
    store<i8>(codes, <i8> q);
    error += <f64> load<f32>(w) * off * off;
  }
  return error;
}

/** The best steps with codes from 0 to `most`, before they are rounded: `foundScale`, `foundLeast`. */
export function searchRange(
  most: f64,
  x: usize,
  w: usize,
  n: i32,
  isBelow: bool,
  codes: usize,
): void {
  let low = load<f32>(x);
  let high = low;
  for (let i = 1; i < n; i++) {
    const value = load<f32>(x + (<usize> i << 2));
    if (value < low) low = value;
    if (value > high) high = value;
  }
  if (isBelow && low > 0) low = 0;
  const lowest = <f64> low;
  const spread = <f64> high - lowest;
  let bestScale: f64 = 0;
  let bestLeast = lowest;
  let bestError: f64 = Infinity;
  if (spread < TINY) {
    rangeError(most, x, w, n, 0, lowest, codes);
    foundScale = 0;
    foundLeast = lowest;
    return;
  }
  for (let i = 0; i < 48; i++) {
    const stretch = i < 37 ? 0.9 - 0.05 * <f64> i : -1 - 0.25 * <f64> (i - 37);
    let scale = spread / (most + stretch);
    let least = i % 3 == 1 ? lowest - scale / 2 : lowest;
    let error = rangeError(most, x, w, n, scale, least, codes);
    if (error < bestError) {
      bestScale = scale;
      bestLeast = least;
      bestError = error;
    }
    for (let round = 0; round < 2; round++) {
      fitRange(x, w, n, codes, isBelow);
      scale = foundScale;
      least = foundLeast;
      error = rangeError(most, x, w, n, scale, least, codes);
      if (error < bestError) {
        bestScale = scale;
        bestLeast = least;
        bestError = error;
      }
    }
  }
  for (let round = 0; round < ROUNDS; round++) {
    rangeError(most, x, w, n, bestScale, bestLeast, codes);
    fitRange(x, w, n, codes, isBelow);
    const error = rangeError(most, x, w, n, foundScale, foundLeast, codes);
    if (!(error < bestError)) break;
    bestScale = foundScale;
    bestLeast = foundLeast;
    bestError = error;
  }
  foundScale = bestScale;
  foundLeast = bestLeast;
}

/** Scale and least number of least error for these codes: a line through (q, x). */
function fitRange(x: usize, w: usize, n: i32, codes: usize, isBelow: bool): void {
  let sw: f64 = 0;
  let sq: f64 = 0;
  let sqq: f64 = 0;
  let sx: f64 = 0;
  let sxq: f64 = 0;
  const end = x + (<usize> n << 2);
  for (; x < end; x += 4, w += 4, codes++) {
    const weight = <f64> load<f32>(w);
    const q = <f64> load<i8>(codes);
    const value = <f64> load<f32>(x);
    const wq = weight * q;
    sw += weight;
    sq += wq;
    sqq += wq * q;
    sx += weight * value;
    sxq += wq * value;
  }
  const determinant = sw * sqq - sq * sq;
  if (determinant > 0) {
    const scale = (sw * sxq - sq * sx) / determinant;
    const least = (sqq * sx - sq * sxq) / determinant;
    if (scale > 0 && !(isBelow && least > 0)) {
      foundScale = scale;
      foundLeast = least;
      return;
    }
  }
  foundScale = sqq > 0 ? max<f64>(sxq / sqq, 0) : 0;
  foundLeast = 0;
}
