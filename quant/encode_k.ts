/**
 * Encoders of K-quants under importances: blocks of 256 numbers whose groups have scales (and minima)
 * that are whole multiples of the block's own. Each group's best scale is searched alone (search.ts);
 * then follow each other, while the error shrinks, the multiples that suit the block's scale, and the
 * block's scale that suits multiples and codes.
 *
 * @module
 */

import { failEncode } from "./blocks.ts";
import type { EncodeWeighted } from "./encode_plain.ts";
import { HALF_MAX, HALF_VALUES, halfBits } from "./half.ts";
import { rangeError, scaleError, searchRange, searchScale, wholeCodes } from "./search.ts";

/** Elements of a block. */
const BLOCK = 256;
/** Most rounds of fitting a block's scales to its groups' and back. */
const ROUNDS = 4;
/** Shares of the greatest group's scale that the block's scale is first taken from. */
const STARTS = [1, 0.97, 1.03, 1.08], MOST_START = Math.max(...STARTS);
/** What is tried beside the multiple nearest to a group's own scale. */
const NEAR = [0, -1, 1];

/** Q4_K. */
export const weightedQ4K: EncodeWeighted = rangedGroups("Q4_K", 144, 15);
/** Q5_K. */
export const weightedQ5K: EncodeWeighted = rangedGroups("Q5_K", 176, 31);

/** Blocks of eight groups of 32 numbers `d·s·q − dmin·m`; `s` and `m` from 0 to 63. */
function rangedGroups(name: string, blockBytes: number, most: number): EncodeWeighted {
  const ideal = { scales: new Float64Array(8), minima: new Float64Array(8) };
  const groups = Array.from({ length: 8 }, () => new Int8Array(32)); // codes
  const scales = new Uint8Array(8), minima = new Uint8Array(8);
  const kept = new Uint8Array(BLOCK), tried = new Int8Array(32);

  return (x, w, out) => {
    for (let at = 0, i = 0; i < x.length; at += blockBytes, i += BLOCK) {
      for (let g = 0; g < 8; g++) {
        const found = searchRange(most, x, w, i + 32 * g, 32, true, tried);
        ideal.scales[g] = found.scale;
        ideal.minima[g] = -found.least;
      }
      const scale = Math.max(...ideal.scales) / 63, min = Math.max(...ideal.minima) / 63;
      if (!(Math.max(scale, min) * MOST_START < HALF_MAX)) failEncode(name, x, i, i + BLOCK);
      let least = Infinity;
      for (const start of STARTS) {
        let d = halfBits(start * scale), dmin = halfBits(start * min), last = Infinity;
        for (let round = 0; round < ROUNDS; round++) {
          const error = chooseMultiples(x, w, i, HALF_VALUES[d]!, HALF_VALUES[dmin]!);
          if (!(error < last)) break;
          last = error;
          if (error < least) {
            least = error;
            writeHalves(out, at, d, dmin);
            packScales(scales, minima, out, at + 4);
            for (let g = 0; g < 8; g++) kept.set(groups[g]!, 32 * g);
          }
          const fitted = fitRanges(x, w, i, scales, minima, groups);
          if (!fitted) break;
          d = halfBits(fitted.d);
          dmin = halfBits(fitted.dmin);
        }
      }
      packGroups(kept, out, at + 16, blockBytes > 144);
    }
  };

  /** Sets multiples and codes of each group to the best around its own scale; gives their error. */
  function chooseMultiples(
    x: Float32Array,
    w: Float32Array,
    i: number,
    scale: number,
    min: number,
  ): number {
    let error = 0;
    for (let g = 0; g < 8; g++) {
      const s = nearestMultiple(ideal.scales[g]!, scale),
        m = nearestMultiple(ideal.minima[g]!, min);
      let best = Infinity;
      for (const nearS of NEAR) {
        for (const nearM of NEAR) {
          const S = s + nearS, M = m + nearM;
          if (S < 0 || S > 63 || M < 0 || M > 63) continue;
          const off = rangeError(most, x, w, i + 32 * g, 32, scale * S, -min * M, tried);
          if (off >= best) continue;
          best = off;
          scales[g] = S;
          minima[g] = M;
          groups[g]!.set(tried);
        }
      }
      error += best;
    }
    return error;
  }
}

/** The whole number from 0 to 63 nearest to `value / unit`. */
function nearestMultiple(value: number, unit: number): number {
  return unit > 0 ? Math.max(0, Math.min(63, Math.round(value / unit))) : 0;
}

/** The `d` and `dmin` of least error for these multiples and codes; undefined where none is sound. */
function fitRanges(
  x: Float32Array,
  w: Float32Array,
  i: number,
  scales: Uint8Array,
  minima: Uint8Array,
  groups: readonly Int8Array[],
): { readonly d: number; readonly dmin: number } | undefined {
  let aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;
  for (let g = 0; g < 8; g++) {
    for (let k = 0; k < 32; k++) {
      const weight = w[i + 32 * g + k], value = weight * x[i + 32 * g + k];
      const a = scales[g] * groups[g]![k], b = -minima[g];
      aa += weight * a * a;
      ab += weight * a * b;
      bb += weight * b * b;
      ax += value * a;
      bx += value * b;
    }
  }
  if (bb === 0) return aa > 0 && ax > 0 ? { d: ax / aa, dmin: 0 } : undefined;
  const determinant = aa * bb - ab * ab;
  if (!(determinant > 0)) return undefined;
  const d = (bb * ax - ab * bx) / determinant, dmin = (aa * bx - ab * ax) / determinant;
  return d > 0 && dmin >= 0 && d <= HALF_MAX && dmin <= HALF_MAX ? { d, dmin } : undefined;
}

/** The two halves of a block. */
export function writeHalves(out: Uint8Array, at: number, d: number, dmin: number): void {
  out[at] = d;
  out[at + 1] = d >> 8;
  out[at + 2] = dmin;
  out[at + 3] = dmin >> 8;
}

/** Twelve bytes: low six bits of the first four scales and minima, then nibbles of the others. */
export function packScales(
  scales: Uint8Array,
  minima: Uint8Array,
  out: Uint8Array,
  at: number,
): void {
  for (let j = 0; j < 4; j++) {
    out[at + j] = scales[j] | scales[j + 4] >> 4 << 6;
    out[at + 4 + j] = minima[j] | minima[j + 4] >> 4 << 6;
    out[at + 8 + j] = scales[j + 4] & 15 | (minima[j + 4] & 15) << 4;
  }
}

/** Nibbles of groups 2j and 2j + 1 in 32 bytes; fifth bits before them, one byte for each column. */
export function packGroups(
  codes: Uint8Array,
  out: Uint8Array,
  at: number,
  hasFifth: boolean,
): void {
  const nibbles = at + (hasFifth ? 32 : 0);
  for (let k = 0; k < 32; k++) {
    let fifths = 0;
    for (let g = 0; g < 8; g++) fifths |= codes[32 * g + k] >> 4 << g;
    if (hasFifth) out[at + k] = fifths;
    for (let pair = 0; pair < 4; pair++) {
      const low = codes[64 * pair + k] & 15, high = codes[64 * pair + 32 + k] & 15;
      out[nibbles + 32 * pair + k] = low | high << 4;
    }
  }
}

const CODES_Q6K = wholeCodes(-32, 31);

/** Q6_K: sixteen groups of 16 numbers `d·s·q`; `s` from −128 to 127, `q` from −32 to 31. */
export const weightedQ6K: EncodeWeighted = (() => {
  const ideal = new Float64Array(16), codes = new Int8Array(BLOCK), kept = new Uint8Array(BLOCK);
  const scales = new Int8Array(16), tried = new Int8Array(16);

  return (x, w, out) => {
    for (let at = 0, i = 0; i < x.length; at += 210, i += BLOCK) {
      let peak = 0;
      for (let g = 0; g < 16; g++) {
        ideal[g] = searchScale(CODES_Q6K, x, w, i + 16 * g, 16);
        if (Math.abs(ideal[g]) > Math.abs(peak)) peak = ideal[g]!;
      }
      if (!(Math.abs(peak / 128) * MOST_START < HALF_MAX)) failEncode("Q6_K", x, i, i + BLOCK);
      let least = Infinity;
      for (const start of STARTS) {
        let d = halfBits(start * peak / -128), last = Infinity;
        for (let round = 0; round < ROUNDS; round++) {
          const error = chooseMultiples(x, w, i, HALF_VALUES[d]!);
          if (!(error < last)) break;
          last = error;
          if (error < least) {
            least = error;
            out[at + 208] = d;
            out[at + 209] = d >> 8;
            for (let g = 0; g < 16; g++) out[at + 192 + g] = scales[g]!;
            for (let k = 0; k < BLOCK; k++) kept[k] = codes[k] + 32;
          }
          let aa = 0, ax = 0;
          for (let k = 0; k < BLOCK; k++) {
            const a = scales[k >> 4] * codes[k];
            aa += w[i + k] * a * a;
            ax += w[i + k] * a * x[i + k];
          }
          if (!(aa > 0) || !(Math.abs(ax / aa) <= HALF_MAX)) break;
          d = halfBits(ax / aa);
        }
      }
      packSixBits(kept, out, at);
    }
  };

  /** Sets multiples and codes of each group to the best around its own scale; gives their error. */
  function chooseMultiples(x: Float32Array, w: Float32Array, i: number, unit: number): number {
    let error = 0;
    for (let g = 0; g < 16; g++) {
      const s = unit !== 0 ? Math.round(ideal[g]! / unit) : 0;
      let best = Infinity;
      for (const near of NEAR) {
        const S = Math.max(-128, Math.min(127, s + near));
        const off = scaleError(CODES_Q6K, x, w, i + 16 * g, 16, unit * S, tried);
        if (off >= best) continue;
        best = off;
        scales[g] = S;
        codes.set(tried, 16 * g);
      }
      error += best;
    }
    return error;
  }
})();

/** 128 bytes of low nibbles and 64 of high bit pairs; each half of the block in quarters of 32. */
export function packSixBits(codes: Uint8Array, out: Uint8Array, at: number): void {
  for (let half = 0; half < 2; half++) {
    for (let k = 0; k < 32; k++) {
      const [a, b, c, d] = [0, 32, 64, 96].map((it) => codes[128 * half + it + k]!) as [
        ...[number, number, number, number],
      ];
      out[at + 64 * half + k] = a & 15 | (c & 15) << 4;
      out[at + 64 * half + 32 + k] = b & 15 | (d & 15) << 4;
      out[at + 128 + 32 * half + k] = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6;
    }
  }
}
