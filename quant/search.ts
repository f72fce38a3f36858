/**
 * The search of a block's scale, or scale and minimum, under importances: the sum of w·(x − x̂)² shall
 * be least. Codes to nearest of many scales are tried; from the best of each direction the scale that
 * suits its codes and the codes that suit that scale follow each other until nothing changes
 * (coordinate descent). Scales are halves already when their error is judged.
 *
 * @module
 */

import { HALF_VALUES, halfBits } from "./half.ts";

/** Values of a type's codes, by what a scaled number is nearest to. */
export interface Codebook {
  /** Nearest value for numbers in [(first + i) / 2, (first + i + 1) / 2). */
  readonly nearest: Int8Array;
  /** Twice the number where `nearest` begins. */
  readonly first: number;
  readonly least: number;
  readonly most: number;
  /** What the greatest number is tried as, for each sign that scales may have. */
  readonly tries: readonly Float64Array[];
}

/** The codebook of these values, in rising order. */
export function codebook(values: ArrayLike<number>): Codebook {
  const sorted = Array.from(values), least = sorted[0]!, most = sorted.at(-1)!;
  const first = 2 * least, nearest = new Int8Array(2 * (most - least) + 1);
  for (let i = 0, at = 0; i < nearest.length; i++) {
    const middle = (first + i) / 2 + 0.25;
    while (at + 1 < sorted.length && sorted[at + 1]! - middle <= middle - sorted[at]!) at++;
    nearest[i] = sorted[at]!;
  }
  const tries = [triedAs(most, most - sorted.at(-2)!)];
  if (least !== -most) tries.push(triedAs(least, sorted[1]! - least));
  return { nearest, first, least, most, tries };
}

/** The codebook of all whole numbers from `least` to `most`. */
export function wholeCodes(least: number, most: number): Codebook {
  return codebook(Array.from({ length: most - least + 1 }, (_, i) => least + i));
}

/** Sums over the codes that were last tried: w·x·q and w·q². */
let sumXq = 0, sumQq = 0;

/** Tries the codes nearest to `x · inverse`; the greater the result, the smaller the error. */
function tryScale(
  { nearest, first }: Codebook,
  x: Float32Array,
  w: Float32Array,
  at: number,
  n: number,
  inverse: number,
): number {
  const twice = 2 * inverse, last = nearest.length - 1;
  sumXq = sumQq = 0;
  for (let i = at; i < at + n; i++) {
    const place = Math.floor(x[i] * twice) - first;
    const q = nearest[place < 0 ? 0 : place > last ? last : place];
    const wq = w[i] * q;
    sumXq += wq * x[i];
    sumQq += wq * q;
  }
  return sumQq > 0 ? sumXq * sumXq / sumQq : 0;
}

/** The error of a scale with the codes nearest to it, which are written to `codes`. */
export function scaleError(
  { nearest, first }: Codebook,
  x: Float32Array,
  w: Float32Array,
  at: number,
  n: number,
  d: number,
  codes: Int8Array,
): number {
  const twice = d !== 0 ? 2 / d : 0, last = nearest.length - 1;
  let error = 0;
  for (let i = 0; i < n; i++) {
    const place = Math.floor(x[at + i] * twice) - first;
    const q = nearest[place < 0 ? 0 : place > last ? last : place];
    const off = x[at + i] - d * q;
    codes[i] = q;
    error += w[at + i] * off * off;
  }
  return error;
}

/** Far below what a half can hold, and its inverse is finite. */
const TINY = 1e-30;
/**
 * What the number of greatest magnitude is tried as: within a gap around the outermost code, `gap` from
 * the next one, then far within.
 */
function triedAs(outermost: number, gap: number): Float64Array {
  const size = Math.abs(outermost);
  const near = Array.from({ length: 23 }, (_, i) => size + gap * (1.1 - 0.1 * i));
  const within = Array.from({ length: 10 }, (_, i) => size * (0.92 - 0.04 * i) - gap);
  return Float64Array.from([...near, ...within], (it) => it * Math.sign(outermost));
}
/** Most rounds of coordinate descent. */
const ROUNDS = 8;

/**
 * The best scale of `n` numbers from `x[at]`, before it is rounded; 0 for zeros.
 *
 * @param w importance of each number
 */
export function searchScale(
  book: Codebook,
  x: Float32Array,
  w: Float32Array,
  at: number,
  n: number,
): number {
  let peak = 0;
  for (let i = at; i < at + n; i++) if (Math.abs(x[i]) > Math.abs(peak)) peak = x[i];
  if (Math.abs(peak) < TINY) return 0;
  let best = 0, bestGain = -1;
  for (const tries of book.tries) {
    let gain = 0, scale = peak / tries[11];
    for (const as of tries) {
      const tried = tryScale(book, x, w, at, n, as / peak);
      if (tried > gain) {
        gain = tried;
        scale = sumXq / sumQq;
      }
    }
    for (let round = 0; round < ROUNDS; round++) {
      const tried = tryScale(book, x, w, at, n, 1 / scale);
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

/** The half near `scale`, or one that rounding to nearest takes, whose codes have the least error, as bits; the codes are left in `codes`. */
export function bestHalf(
  book: Codebook,
  x: Float32Array,
  w: Float32Array,
  at: number,
  n: number,
  scale: number,
  codes: Int8Array,
): number {
  let peak = 0;
  for (let i = at; i < at + n; i++) if (Math.abs(x[i]) > Math.abs(peak)) peak = x[i];
  let best = halfBits(scale), least = scaleError(book, x, w, at, n, HALF_VALUES[best]!, codes);
  for (
    const bits of [best - 1, best + 1, halfBits(peak / book.least), halfBits(peak / book.most)]
  ) {
    // Neither past zero, which is no number, nor to infinity.
    if (bits < 0 || (bits & 0x7fff) >= 0x7c00) continue;
    const error = scaleError(book, x, w, at, n, HALF_VALUES[bits]!, codes);
    if (error < least) {
      least = error;
      best = bits;
    }
  }
  scaleError(book, x, w, at, n, HALF_VALUES[best]!, codes);
  return best;
}

/** A scale and what is added to its multiples. */
export interface Range {
  scale: number;
  least: number;
  /** Sum of w·(x − x̂)² with these. */
  error: number;
}

/** The error of steps of `scale` from `least`, codes from 0 to `most`, which are written to `codes`. */
export function rangeError(
  most: number,
  x: Float32Array,
  w: Float32Array,
  at: number,
  n: number,
  scale: number,
  least: number,
  codes: Int8Array,
): number {
  const inverse = scale > 0 ? 1 / scale : 0;
  let error = 0;
  for (let i = 0; i < n; i++) {
    const steps = Math.floor((x[at + i] - least) * inverse + 0.5);
    const q = steps < 0 ? 0 : steps > most ? most : steps;
    const off = x[at + i] - scale * q - least;
    codes[i] = q;
    error += w[at + i] * off * off;
  }
  return error;
}

/** How many steps more than there are the greatest distance is tried with. */
const STRETCHES = Float64Array.from([
  ...Array.from({ length: 37 }, (_, i) => 0.9 - 0.05 * i),
  ...Array.from({ length: 11 }, (_, i) => -1 - 0.25 * i),
]);

/**
 * The best steps for `n` numbers from `x[at]` with codes from 0 to `most`, before they are rounded.
 *
 * @param isBelow whether `least` must not be positive, as in K-quants
 */
export function searchRange(
  most: number,
  x: Float32Array,
  w: Float32Array,
  at: number,
  n: number,
  isBelow: boolean,
  codes: Int8Array,
): Range {
  let low = x[at]!, high = low;
  for (let i = at + 1; i < at + n; i++) {
    if (x[i] < low) low = x[i];
    if (x[i] > high) high = x[i];
  }
  if (isBelow && low > 0) low = 0;
  let best: Range = { scale: 0, least: low, error: Infinity };
  if (high - low < TINY) {
    return { scale: 0, least: low, error: rangeError(most, x, w, at, n, 0, low, codes) };
  }
  for (let i = 0; i < STRETCHES.length; i++) {
    // Every third try begins half a step lower, which splits what lies close together elsewhere.
    let scale = (high - low) / (most + STRETCHES[i]);
    let least = i % 3 === 1 ? low - scale / 2 : low;
    let error = rangeError(most, x, w, at, n, scale, least, codes);
    if (error < best.error) best = { scale, least, error };
    // Two rounds are enough to rank them; the best is refined below.
    for (let round = 0; round < 2; round++) {
      ({ scale, least } = fitRange(x, w, at, n, codes, isBelow));
      error = rangeError(most, x, w, at, n, scale, least, codes);
      if (error < best.error) best = { scale, least, error };
    }
  }
  for (let round = 0; round < ROUNDS; round++) {
    rangeError(most, x, w, at, n, best.scale, best.least, codes);
    const { scale, least } = fitRange(x, w, at, n, codes, isBelow);
    const error = rangeError(most, x, w, at, n, scale, least, codes);
    if (!(error < best.error)) break;
    best = { scale, least, error };
  }
  return best;
}

/** Scale and least number of least error for these codes: a line through (q, x). */
function fitRange(
  x: Float32Array,
  w: Float32Array,
  at: number,
  n: number,
  codes: Int8Array,
  isBelow: boolean,
): { scale: number; least: number } {
  let sw = 0, sq = 0, sqq = 0, sx = 0, sxq = 0;
  for (let i = 0; i < n; i++) {
    const weight = w[at + i], q = codes[i], wq = weight * q;
    sw += weight;
    sq += wq;
    sqq += wq * q;
    sx += weight * x[at + i];
    sxq += wq * x[at + i];
  }
  const determinant = sw * sqq - sq * sq;
  if (determinant > 0) {
    const scale = (sw * sxq - sq * sx) / determinant, least = (sqq * sx - sq * sxq) / determinant;
    if (scale > 0 && !(isBelow && least > 0)) return { scale, least };
  }
  return { scale: sqq > 0 ? Math.max(sxq / sqq, 0) : 0, least: 0 };
}
