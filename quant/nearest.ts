/**
 * Encoders of GGUF's plain block types, each number to the nearest code: scale and minimum follow from
 * a block's greatest and least numbers alone. Every step is rounded to float32 as in the reference
 * implementation of the specification, so that the bytes are the same; two halves that it stores with
 * no number behind them (a scale too small or too large for a half) are no exception, but for numbers
 * that are not finite, which are refused.
 *
 * @module
 */

import { failEncode } from "./blocks.ts";
import { HALF_MAX, halfBits } from "./half.ts";

const f32 = Math.fround;

/** Elements of a block. */
const BLOCK = 32;

/** Packs whole blocks; lengths are already checked. */
export type EncodeBlocks = (values: Float32Array, out: Uint8Array) => void;

/** Q4_0: `d·(q − 8)`; the number of greatest magnitude gets code 0. */
export function nearestQ4_0(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, i = 0; i < values.length; at += 18, i += BLOCK) {
    const inverse = writePeak("Q4_0", values, i, 8, out, at);
    for (let k = 0; k < 16; k++) {
      const low = code(f32(values[i + k] * inverse), 8.5, 15);
      const high = code(f32(values[i + 16 + k] * inverse), 8.5, 15);
      out[at + 2 + k] = low | high << 4;
    }
  }
}

/** Q5_0: `d·(q − 16)`, otherwise as Q4_0. */
export function nearestQ5_0(values: Float32Array, out: Uint8Array): void {
  const codes = new Uint8Array(BLOCK);
  for (let at = 0, i = 0; i < values.length; at += 22, i += BLOCK) {
    const inverse = writePeak("Q5_0", values, i, 16, out, at);
    for (let k = 0; k < BLOCK; k++) codes[k] = code(f32(values[i + k] * inverse), 16.5, 31);
    packFifths(codes, out, at + 2);
  }
}

/** Q4_1: `d·q + m`, fifteen steps from the least number to the greatest. */
export function nearestQ4_1(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, i = 0; i < values.length; at += 20, i += BLOCK) {
    const { least, inverse } = writeRange("Q4_1", values, i, 15, out, at);
    for (let k = 0; k < 16; k++) {
      const low = code(f32(f32(values[i + k] - least) * inverse), 0.5, 15);
      const high = code(f32(f32(values[i + 16 + k] - least) * inverse), 0.5, 15);
      out[at + 4 + k] = low | high << 4;
    }
  }
}

/** Q5_1: `d·q + m`, 31 steps. */
export function nearestQ5_1(values: Float32Array, out: Uint8Array): void {
  const codes = new Uint8Array(BLOCK);
  for (let at = 0, i = 0; i < values.length; at += 24, i += BLOCK) {
    const { least, inverse } = writeRange("Q5_1", values, i, 31, out, at);
    for (let k = 0; k < BLOCK; k++) {
      codes[k] = code(f32(f32(values[i + k] - least) * inverse), 0.5, 31);
    }
    packFifths(codes, out, at + 4);
  }
}

/** Q8_0: `d·q`, halves away from zero. */
export function nearestQ8_0(values: Float32Array, out: Uint8Array): void {
  for (let at = 0, i = 0; i < values.length; at += 34, i += BLOCK) {
    let greatest = 0;
    for (let k = 0; k < BLOCK; k++) greatest = Math.max(greatest, Math.abs(values[i + k]));
    const d = f32(greatest / 127);
    writeHalf("Q8_0", values, i, d, out, at);
    const inverse = d ? f32(1 / d) : 0;
    for (let k = 0; k < BLOCK; k++) {
      const scaled = f32(values[i + k] * inverse);
      const away = Math.trunc(scaled + (scaled < 0 ? -0.5 : 0.5));
      out[at + 2 + k] = Number.isFinite(away) ? away : 0;
    }
  }
}

/** The code of a scaled number: shifted to be positive, cut, and at most `most`. */
function code(scaled: number, shift: number, most: number): number {
  return Math.min(f32(scaled + shift) | 0, most);
}

/** Writes the scale that gives the number of greatest magnitude code −`levels`; its inverse. */
function writePeak(
  type: string,
  values: Float32Array,
  i: number,
  levels: number,
  out: Uint8Array,
  at: number,
): number {
  let greatest = 0, peak = 0;
  for (let k = 0; k < BLOCK; k++) {
    const value = values[i + k], magnitude = Math.abs(value);
    if (!(magnitude <= greatest)) {
      greatest = magnitude;
      peak = value;
    }
  }
  const d = f32(peak / -levels);
  writeHalf(type, values, i, d, out, at);
  return d ? f32(1 / d) : 0;
}

/** Writes the scale and the least number of `steps` equal steps. */
function writeRange(
  type: string,
  values: Float32Array,
  i: number,
  steps: number,
  out: Uint8Array,
  at: number,
): { readonly least: number; readonly inverse: number } {
  let least = values[i]!, greatest = least;
  for (let k = 1; k < BLOCK; k++) {
    const value = values[i + k];
    if (value < least) least = value;
    if (!(value <= greatest)) greatest = value;
  }
  const d = f32(f32(greatest - least) / steps);
  writeHalf(type, values, i, d, out, at);
  writeHalf(type, values, i, least, out, at + 2);
  return { least, inverse: d ? f32(1 / d) : 0 };
}

/** Writes a half of the block whose numbers begin at `values[i]`. */
function writeHalf(
  type: string,
  values: Float32Array,
  i: number,
  value: number,
  out: Uint8Array,
  at: number,
): void {
  if (!(Math.abs(value) <= HALF_MAX)) failEncode(type, values, i, i + BLOCK);
  const bits = halfBits(value);
  out[at] = bits;
  out[at + 1] = bits >> 8;
}

/** Writes 32 codes of five bits: a word of fifth bits, then 16 bytes of nibbles. */
export function packFifths(codes: Uint8Array, out: Uint8Array, at: number): void {
  out.fill(0, at, at + 4);
  for (let k = 0; k < BLOCK; k++) out[at + (k >> 3)] |= codes[k] >> 4 << (k & 7);
  packNibbles(codes, 0, out, at + 4);
}

/** Writes 32 codes from `codes[from]` as 16 bytes of nibbles, the first 16 in the low halves. */
export function packNibbles(codes: Uint8Array, from: number, out: Uint8Array, at: number): void {
  for (let k = 0; k < 16; k++) {
    out[at + k] = codes[from + k] & 15 | (codes[from + 16 + k] & 15) << 4;
  }
}
