/**
 * Encoders of the layouts with finer scales: int4k, int5k and int6k, blocks of 256 whose groups have
 * scales that are whole multiples of the block's own, and int5 and int5m. Each number takes the nearest code
 * that its group has once its scale (and minimum) follow from the group's greatest and least numbers.
 * Files come with better scales than these; decoders are in `ggml_k.ts` and `ggml_blocks.ts`.
 *
 * @module
 */

import { failEncode } from "./blocks.ts";
import { HALF_MAX, HALF_VALUES, halfBits, scaleBits } from "./half.ts";

/** Elements of a block of the K layouts. */
const BLOCK = 256;

/** Blocks of int4k. */
export function encodeInt4k(out: Uint8Array, values: Float32Array): void {
  encodeRanges("int4k", 144, 15, out, values);
}

/** Blocks of int5k. */
export function encodeInt5k(out: Uint8Array, values: Float32Array): void {
  encodeRanges("int5k", 176, 31, out, values);
}

/** The least (at most 0) and the greatest number from `at` on; NaN where one is not finite. */
function rangeOf(values: Float32Array, at: number, count: number): [number, number] {
  let least = 0, greatest = 0, taint = 0;
  for (let i = at; i < at + count; i++) {
    least = Math.min(least, values[i]);
    greatest = Math.max(greatest, values[i]);
    taint += values[i] * 0;
  }
  return [least + taint, greatest + taint];
}

/** Eight groups of 32 numbers `d·s·q − dmin·m`; `s` and `m` from 0 to 63, `q` from 0 to `most`. */
function encodeRanges(
  name: string,
  blockBytes: number,
  most: number,
  out: Uint8Array,
  values: Float32Array,
): void {
  const codes = new Uint8Array(BLOCK), scales = new Uint8Array(8), minima = new Uint8Array(8);
  for (let at = 0, i = 0; i < values.length; at += blockBytes, i += BLOCK) {
    const ranges = Array.from({ length: 8 }, (_, g) => rangeOf(values, i + 32 * g, 32));
    const widest = Math.max(...ranges.map(([least, greatest]) => greatest - least)) / most;
    const dBits = scaleBits(widest / 63);
    const minBits = scaleBits(Math.max(...ranges.map(([least]) => -least)) / 63);
    const d = HALF_VALUES[dBits], dmin = HALF_VALUES[minBits];
    if (!(Math.max(d, dmin) <= HALF_MAX)) failEncode(name, values, i, i + BLOCK);
    for (let g = 0; g < 8; g++) {
      const [least, greatest] = ranges[g]!;
      minima[g] = dmin > 0 ? Math.min(Math.ceil(-least / dmin), 63) : 0;
      const min = dmin * minima[g]!;
      scales[g] = d > 0 ? Math.min(Math.ceil((greatest + min) / most / d), 63) : 0;
      const scale = d * scales[g]!;
      for (let k = 32 * g; k < 32 * g + 32; k++) {
        const code = scale > 0 ? Math.floor((values[i + k] + min) / scale + 0.5) : 0;
        codes[k] = Math.min(Math.max(code, 0), most);
      }
    }
    writeHalf(out, at, dBits);
    writeHalf(out, at + 2, minBits);
    for (let j = 0; j < 4; j++) {
      out[at + 4 + j] = scales[j]! | scales[j + 4]! >> 4 << 6;
      out[at + 8 + j] = minima[j]! | minima[j + 4]! >> 4 << 6;
      out[at + 12 + j] = scales[j + 4]! & 15 | (minima[j + 4]! & 15) << 4;
    }
    const nibbles = at + blockBytes - 128;
    if (most > 15) out.fill(0, at + 16, nibbles);
    for (let g = 0; g < 8; g += 2) {
      for (let k = 0; k < 32; k++) {
        const low = codes[32 * g + k]!, high = codes[32 * g + 32 + k]!;
        out[nibbles + 16 * g + k] = low & 15 | (high & 15) << 4;
        if (most > 15) out[at + 16 + k] |= low >> 4 << g | high >> 4 << g + 1;
      }
    }
  }
}

/** Blocks of int6k: sixteen groups of 16 numbers `d·s·(q − 32)`, `s` from 0 to 127. */
export function encodeInt6k(out: Uint8Array, values: Float32Array): void {
  const codes = new Uint8Array(BLOCK);
  for (let at = 0, i = 0; i < values.length; at += 210, i += BLOCK) {
    const [least, greatest] = rangeOf(values, i, BLOCK);
    const dBits = scaleBits(Math.max(-least / 32, greatest / 31) / 127);
    const d = HALF_VALUES[dBits];
    if (!(d <= HALF_MAX)) failEncode("int6k", values, i, i + BLOCK);
    writeHalf(out, at + 208, dBits);
    for (let g = 0; g < 16; g++) {
      const [least, greatest] = rangeOf(values, i + 16 * g, 16);
      const ideal = Math.max(-least / 32, greatest / 31);
      const multiple = d > 0 ? Math.min(Math.ceil(ideal / d), 127) : 0, scale = d * multiple;
      out[at + 192 + g] = multiple;
      for (let k = 16 * g; k < 16 * g + 16; k++) {
        const code = scale > 0 ? Math.floor(values[i + k] / scale + 32.5) : 32;
        codes[k] = Math.min(Math.max(code, 0), 63);
      }
    }
    for (let k = 0; k < 64; k++) {
      // Of each half of the block, quarters of 32: nibbles of the first two lie below those of the
      // last two, pairs of all four in one byte.
      const from = k >> 5 << 7 | k & 31;
      const [a, b, c, e] = [0, 32, 64, 96].map((quarter) => codes[from + quarter]!) as Four;
      const low = at + (k >> 5 << 6) + (k & 31);
      out[low] = a & 15 | (c & 15) << 4;
      out[low + 32] = b & 15 | (e & 15) << 4;
      out[at + 128 + k] = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | e >> 4 << 6;
    }
  }
}

type Four = [number, number, number, number];

/** Blocks of int5. Scale: the value of greatest magnitude / −16, sign kept: it gets code 0. */
export function encodeInt5(out: Uint8Array, values: Float32Array): void {
  const codes = new Uint8Array(32);
  for (let at = 0, i = 0; i < values.length; at += 22, i += 32) {
    let peak = 0, taint = 0;
    for (let k = i; k < i + 32; k++) {
      if (Math.abs(values[k]) > Math.abs(peak)) peak = values[k];
      taint += values[k] * 0;
    }
    const bits = scaleBits(peak / -16);
    const d = HALF_VALUES[bits];
    if (!(Math.abs(d) + taint <= HALF_MAX)) failEncode("int5", values, i, i + 32);
    for (let k = 0; k < 32; k++) {
      const code = d !== 0 ? Math.floor(values[i + k] / d + 16.5) : 16;
      codes[k] = Math.min(Math.max(code, 0), 31);
    }
    writeHalf(out, at, bits);
    writeFifths(out, at + 2, codes);
  }
}

/** Blocks of int5m: 31 equal steps from the least value, as stored, to the greatest. */
export function encodeInt5m(out: Uint8Array, values: Float32Array): void {
  const codes = new Uint8Array(32);
  for (let at = 0, i = 0; i < values.length; at += 24, i += 32) {
    let least = Infinity, greatest = -Infinity, taint = 0;
    for (let k = i; k < i + 32; k++) {
      least = Math.min(least, values[k]);
      greatest = Math.max(greatest, values[k]);
      taint += values[k] * 0;
    }
    const minBits = halfBits(least + 0); // -0 becomes 0
    const m = HALF_VALUES[minBits];
    const bits = scaleBits(Math.max(greatest - m, 0) / 31);
    const d = HALF_VALUES[bits];
    if (!(Math.max(d, Math.abs(m)) + taint <= HALF_MAX)) failEncode("int5m", values, i, i + 32);
    for (let k = 0; k < 32; k++) {
      const code = d > 0 ? Math.floor((values[i + k] - m) / d + 0.5) : 0;
      codes[k] = Math.min(Math.max(code, 0), 31);
    }
    writeHalf(out, at, bits);
    writeHalf(out, at + 2, minBits);
    writeFifths(out, at + 4, codes);
  }
}

/** 32 codes of five bits in 20 bytes: their fifth bits, then nibbles. */
function writeFifths(out: Uint8Array, at: number, codes: Uint8Array): void {
  let fifths = 0;
  for (let k = 0; k < 32; k++) fifths |= codes[k]! >> 4 << k;
  writeHalf(out, at, fifths);
  writeHalf(out, at + 2, fifths >>> 16);
  for (let k = 0; k < 16; k++) out[at + 4 + k] = codes[k]! & 15 | (codes[k + 16]! & 15) << 4;
}

function writeHalf(out: Uint8Array, at: number, bits: number): void {
  out[at] = bits;
  out[at + 1] = bits >> 8;
}
