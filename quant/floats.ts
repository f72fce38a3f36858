/**
 * Rows of f32, f16 and bf16 to float32 and back.
 *
 * @module
 */

import { failEncode } from "./blocks.ts";
import { HALF_VALUES, viewHalves, viewWords } from "./half.ts";

function asBytes(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}

function asWords(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** Floats as they lie in memory. */
export function decodeF32(bytes: Uint8Array, out: Float32Array): void {
  asBytes(out).set(bytes);
}

/** Floats as they lie in memory. */
export function encodeF32(out: Uint8Array, values: Float32Array): void {
  out.set(asBytes(values));
}

/** Halves to floats, exactly. */
export function decodeF16(bytes: Uint8Array, out: Float32Array): void {
  const halves = viewWords(bytes);
  for (let i = 0; i < out.length; i++) out[i] = HALF_VALUES[halves[i]];
}

/** Floats to the nearest halves, ties to even. */
export function encodeF16(out: Uint8Array, values: Float32Array): void {
  const halves = viewHalves(out);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    halves[i] = value;
    // 65520 is halfway between the greatest half and the next power of two.
    if (Math.abs(value) >= 65520 && Number.isFinite(value)) failEncode("f16", values, i, i + 1);
  }
  if (halves.buffer !== out.buffer) out.set(new Uint8Array(halves.buffer));
}

/** The upper halves of floats to floats, exactly. */
export function decodeBf16(bytes: Uint8Array, out: Float32Array): void {
  const words = viewWords(bytes);
  const bits = asWords(out);
  for (let i = 0; i < bits.length; i++) bits[i] = words[i] << 16;
}

/** Floats to their upper halves: to nearest, ties to even. */
export function encodeBf16(out: Uint8Array, values: Float32Array): void {
  const words = viewWords(out);
  const bits = asWords(values);
  for (let i = 0; i < bits.length; i++) {
    const word = bits[i];
    const isNaN = (word & 0x7fffffff) > 0x7f800000;
    words[i] = isNaN ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16;
  }
  if (words.buffer !== out.buffer) out.set(new Uint8Array(words.buffer));
}
