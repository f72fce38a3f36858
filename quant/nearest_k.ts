/**
 * Encoders of K-quants where every number counts alike. Each group's best scale (and minimum) is searched
 * among a few, each with the codes nearest to it; the multiples of the block's scale are tried on both
 * sides of the nearest; then the block's scale is fitted to multiples and codes once.
 *
 * Every step is rounded to float32, one sum for each group, so that four groups can be worked on at a
 * time, one in each lane of a vector (kernels/quantizers/nearest_k.as.ts gives the same bytes).
 *
 * @module
 */

import { failEncode } from "./blocks.ts";
import { packGroups, packScales, packSixBits, writeHalves } from "./encode_k.ts";
import { HALF_MAX, HALF_VALUES, halfBits } from "./half.ts";
import type { EncodeBlocks } from "./nearest.ts";

const f32 = Math.fround;
/** Elements of a block. */
const BLOCK = 256;
/** Below what a half can hold, and its inverse is finite. */
const TINY = f32(1e-30);
/** Above what any block holds, and its squares are finite. */
const HUGE = 3e8;

/** To the nearest whole number, ties to even, for magnitudes up to 2²². */
function nearest(x: number): number {
  return f32(f32(x + 12582912) - 12582912);
}

function clamp(x: number, least: number, most: number): number {
  return x < least ? least : x > most ? most : x;
}

/** The greatest magnitude of a block, which is refused where no block holds it. */
function checkPeak(name: string, x: Float32Array, i: number): void {
  for (let k = i; k < i + BLOCK; k++) {
    if (!(Math.abs(x[k]) <= HUGE)) failEncode(name, x, i, i + BLOCK);
  }
}

/** Numbers of a type's groups, and the range of its codes. */
interface Group {
  readonly size: number;
  readonly least: number;
  readonly most: number;
}

/** The code of `value`, a number plus its group's minimum. */
function codeOf({ least, most }: Group, value: number, inverse: number): number {
  return clamp(nearest(f32(value * inverse)), least, most);
}

function inverseOf(step: number): number {
  return step !== 0 ? f32(1 / step) : 0;
}

/** Σ (x − (step · q − minimum))² over a group, with the nearest codes. */
function errorOf(
  group: Group,
  x: Float32Array,
  at: number,
  step: number,
  minimum: number,
): number {
  const inverse = inverseOf(step);
  let error = 0;
  for (let k = at; k < at + group.size; k++) {
    const value = f32(x[k] + minimum);
    const off = f32(value - f32(step * codeOf(group, value, inverse)));
    error = f32(error + f32(off * off));
  }
  return error;
}

/** Sums over a group: its codes, their squares, and their products with the numbers. */
const sums = { q: 0, qq: 0, qx: 0, x: 0 };

function sumCodes(
  group: Group,
  x: Float32Array,
  at: number,
  step: number,
  minimum: number,
): void {
  const inverse = inverseOf(step);
  sums.q =
    sums.qq =
    sums.qx =
    sums.x =
      0;
  for (let k = at; k < at + group.size; k++) {
    const q = codeOf(group, f32(x[k] + minimum), inverse);
    sums.q = f32(sums.q + q);
    sums.qq = f32(sums.qq + f32(q * q));
    sums.qx = f32(sums.qx + f32(q * x[k]));
    sums.x = f32(sums.x + x[k]);
  }
}

const SIX_BITS: Group = { size: 16, least: -32, most: 31 };
/** What a group's number of greatest magnitude is tried as: no code is below −32 then. */
const PEAKS = Float32Array.from({ length: 8 }, (_, i) => -32.4 + 0.7 * i);

/** The best scale of a group of Q6_K, before it is rounded. */
function searchScale(x: Float32Array, at: number, shares: Float32Array): number {
  let peak = 0;
  for (let k = at; k < at + 16; k++) if (Math.abs(x[k]) > Math.abs(peak)) peak = x[k];
  if (!(Math.abs(peak) >= TINY)) return 0;
  const inverse = f32(1 / peak);
  for (let k = 0; k < 16; k++) shares[k] = f32(x[at + k] * inverse);
  let best = -1, scale = 0;
  const tryAs = (as: number): void => {
    let qx = 0, qq = 0;
    for (let k = 0; k < 16; k++) {
      const q = Math.min(nearest(f32(shares[k]! * as)), 31);
      qx = f32(qx + f32(shares[k]! * q));
      qq = f32(qq + f32(q * q));
    }
    const gain = f32(f32(qx * qx) / qq);
    if (!(gain > best)) return;
    best = gain;
    scale = f32(qx / qq);
  };
  PEAKS.forEach(tryAs);
  tryAs(f32(1 / scale));
  return f32(peak * scale);
}

/** Q6_K. */
export const nearestQ6K: EncodeBlocks = (x, out) => {
  const ideal = new Float32Array(16), multiples = new Int8Array(16), codes = new Uint8Array(BLOCK);
  const shares = new Float32Array(16);
  for (let at = 0, i = 0; i < x.length; at += 210, i += BLOCK) {
    checkPeak("Q6_K", x, i);
    let top = 0;
    for (let g = 0; g < 16; g++) {
      ideal[g] = searchScale(x, i + 16 * g, shares);
      if (Math.abs(ideal[g]!) > Math.abs(top)) top = ideal[g]!;
    }
    if (!(Math.abs(top / 128) <= HALF_MAX)) failEncode("Q6_K", x, i, i + BLOCK);
    let d = halfBits(top / -128), error = 0, aa = 0, ax = 0;
    const unit = HALF_VALUES[d]!;
    for (let g = 0; g < 16; g++) {
      const middle = unit !== 0 ? clamp(nearest(f32(ideal[g]! / unit)), -128, 127) : 0;
      let least = Infinity;
      for (const near of [0, -1, 1]) {
        const multiple = clamp(middle + near, -128, 127);
        const found = errorOf(SIX_BITS, x, i + 16 * g, f32(unit * multiple), 0);
        if (!(found < least)) continue;
        least = found;
        multiples[g] = multiple;
      }
      error += least;
      sumCodes(SIX_BITS, x, i + 16 * g, f32(unit * multiples[g]!), 0);
      aa += multiples[g]! * multiples[g]! * sums.qq;
      ax += multiples[g]! * sums.qx;
    }
    const fitted = aa > 0 && Math.abs(ax / aa) <= HALF_MAX ? halfBits(ax / aa) : d;
    let other = 0;
    for (let g = 0; g < 16; g++) {
      other += errorOf(SIX_BITS, x, i + 16 * g, f32(HALF_VALUES[fitted]! * multiples[g]!), 0);
    }
    if (other < error) d = fitted;
    out[at + 208] = d;
    out[at + 209] = d >> 8;
    for (let g = 0; g < 16; g++) {
      const inverse = inverseOf(f32(HALF_VALUES[d]! * multiples[g]!));
      out[at + 192 + g] = multiples[g]!;
      for (let k = 16 * g; k < 16 * g + 16; k++) {
        codes[k] = codeOf(SIX_BITS, x[i + k], inverse) + 32;
      }
    }
    packSixBits(codes, out, at);
  }
};

/** How many steps more than there are a group's distance is tried with. */
const STRETCHES = Float32Array.from({ length: 13 }, (_, i) => 0.6 - 0.2 * i);

/** What `searchRange` found. */
const range = { scale: 0, minimum: 0 };

/** The best steps and minimum of a group, before they are rounded. */
function searchRange(
  { size, most }: Group,
  x: Float32Array,
  at: number,
  shares: Float32Array,
): void {
  let low = 0, high = x[at]!;
  for (let k = at; k < at + size; k++) {
    if (x[k] < low) low = x[k];
    if (x[k] > high) high = x[k];
  }
  const spread = f32(high - low);
  range.scale = 0;
  range.minimum = -low;
  if (!(spread >= TINY)) return;
  // Numbers as shares of the distance from the least to the greatest; zero is at `zero`.
  const inverse = f32(1 / spread), zero = f32(-low * inverse);
  let sx = 0;
  for (let k = 0; k < size; k++) {
    shares[k] = f32(f32(x[at + k] - low) * inverse);
    sx = f32(sx + shares[k]!);
  }
  let best = -Infinity, scale = f32(1 / most), least = 0;
  const tryAs = (steps: number, shift: number): void => {
    let q = 0, qq = 0, qx = 0;
    for (let k = 0; k < size; k++) {
      const code = clamp(nearest(f32(f32(shares[k]! * steps) + shift)), 0, most);
      q = f32(q + code);
      qq = f32(qq + f32(code * code));
      qx = f32(qx + f32(code * shares[k]!));
    }
    // A line through (code, share), which must not lie above zero at code 0.
    const determinant = f32(f32(size * qq) - f32(q * q));
    let a = f32(f32(f32(size * qx) - f32(q * sx)) / determinant);
    let b = f32(f32(f32(qq * sx) - f32(q * qx)) / determinant);
    if (!(determinant > 0 && a > 0 && b <= zero)) {
      b = zero;
      a = f32(f32(qx - f32(b * q)) / qq);
    }
    const byScale = f32(f32(2 * qx) - f32(f32(a * qq) + f32(2 * f32(b * q))));
    const gain = f32(f32(a * byScale) + f32(b * f32(f32(2 * sx) - f32(size * b))));
    if (!(a > 0 && gain > best)) return;
    best = gain;
    scale = a;
    least = b;
  };
  // Every third try begins half a step lower, which splits what lies close together elsewhere.
  STRETCHES.forEach((it, i) => tryAs(f32(most + it), i % 3 === 1 ? 0.5 : 0));
  tryAs(f32(1 / scale), f32(-least / scale));
  range.scale = f32(scale * spread);
  range.minimum = Math.max(0, f32(f32(zero - least) * spread));
}

/** Q4_K. */
export const nearestQ4K: EncodeBlocks = rangedGroups("Q4_K", 144, 15);
/** Q5_K. */
export const nearestQ5K: EncodeBlocks = rangedGroups("Q5_K", 176, 31);

function rangedGroups(name: string, blockBytes: number, most: number): EncodeBlocks {
  const group: Group = { size: 32, least: 0, most }, middle = most / 2;
  const scales = new Float32Array(8), lows = new Float32Array(8);
  const multiples = new Uint8Array(8), minima = new Uint8Array(8);
  const codes = new Uint8Array(BLOCK), shares = new Float32Array(32);

  return (x, out) => {
    for (let at = 0, i = 0; i < x.length; at += blockBytes, i += BLOCK) {
      checkPeak(name, x, i);
      let topScale = 0, topLow = 0;
      for (let g = 0; g < 8; g++) {
        searchRange(group, x, i + 32 * g, shares);
        scales[g] = range.scale;
        lows[g] = range.minimum;
        topScale = Math.max(topScale, range.scale);
        topLow = Math.max(topLow, range.minimum);
      }
      if (!(Math.max(topScale, topLow) / 63 <= HALF_MAX)) failEncode(name, x, i, i + BLOCK);
      let d = halfBits(topScale / 63), dmin = halfBits(topLow / 63);
      const error = chooseMultiples(x, i, HALF_VALUES[d]!, HALF_VALUES[dmin]!);
      const [fitted, fittedMin] = fit(x, i, d, dmin);
      let other = 0;
      for (let g = 0; g < 8; g++) {
        const step = f32(HALF_VALUES[fitted]! * multiples[g]!);
        const low = f32(HALF_VALUES[fittedMin]! * minima[g]!);
        other += errorOf(group, x, i + 32 * g, step, low);
      }
      if (other < error) {
        d = fitted;
        dmin = fittedMin;
      }
      writeHalves(out, at, d, dmin);
      packScales(multiples, minima, out, at + 4);
      for (let g = 0; g < 8; g++) {
        const inverse = inverseOf(f32(HALF_VALUES[d]! * multiples[g]!));
        const low = f32(HALF_VALUES[dmin]! * minima[g]!);
        for (let k = 32 * g; k < 32 * g + 32; k++) {
          codes[k] = codeOf(group, f32(x[i + k] + low), inverse);
        }
      }
      packGroups(codes, out, at + 16, blockBytes > 144);
    }
  };

  /** Sets the multiples of each group to the best around its own scale; gives their error. */
  function chooseMultiples(x: Float32Array, i: number, unit: number, unitMin: number): number {
    let error = 0;
    for (let g = 0; g < 8; g++) {
      const own = unit !== 0 ? clamp(nearest(f32(scales[g]! / unit)), 0, 63) : 0;
      let least = Infinity;
      const attempt = (multiple: number, minimum: number): void => {
        const step = f32(unit * multiple), low = f32(unitMin * minimum);
        const found = errorOf(group, x, i + 32 * g, step, low);
        if (!(found < least)) return;
        least = found;
        multiples[g] = multiple;
        minima[g] = minimum;
      };
      for (const near of [0, -1, 1]) {
        // What is in the middle of the group's codes stays where it is.
        const multiple = clamp(own + near, 0, 63);
        const moved = f32(f32(f32(unit * multiple) - scales[g]!) * middle);
        const low = f32(lows[g]! + moved);
        attempt(multiple, unitMin !== 0 ? clamp(nearest(f32(low / unitMin)), 0, 63) : 0);
      }
      const multiple = multiples[g]!, minimum = minima[g]!;
      for (const near of [-1, 1]) attempt(multiple, clamp(minimum + near, 0, 63));
      error += least;
    }
    return error;
  }

  /** The halves of least error for the chosen multiples and their codes. */
  function fit(x: Float32Array, i: number, d: number, dmin: number): [number, number] {
    let aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;
    for (let g = 0; g < 8; g++) {
      const s = multiples[g]!, m = minima[g]!;
      sumCodes(group, x, i + 32 * g, f32(HALF_VALUES[d]! * s), f32(HALF_VALUES[dmin]! * m));
      aa += s * s * sums.qq;
      ab -= s * m * sums.q;
      bb += m * m * group.size;
      ax += s * sums.qx;
      bx -= m * sums.x;
    }
    if (bb === 0) {
      return aa > 0 && ax > 0 && ax / aa <= HALF_MAX ? [halfBits(ax / aa), dmin] : [d, dmin];
    }
    const determinant = aa * bb - ab * ab;
    const scale = (bb * ax - ab * bx) / determinant, low = (aa * bx - ab * ax) / determinant;
    const isSound = determinant > 0 && scale > 0 && low >= 0 && scale <= HALF_MAX &&
      low <= HALF_MAX;
    return isSound ? [halfBits(scale), halfBits(low)] : [d, dmin];
  }
}
