/**
 * Conversions of the layouts that keep 32 elements per block; `formats.ts` describes their bytes.
 * Loops over whole blocks, whose number the caller has checked.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import { NONLINEAR_CODES } from "./ggml_blocks.ts";
import { HALF_MAX, HALF_VALUES, halfAt, halfBits, scaleBits } from "./half.ts";

/** Blocks of int8: `d·q`. */
export function decodeInt8(bytes: Uint8Array, out: Float32Array): void {
  const codes = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0, i = 0; i < out.length; at += 34, i += 32) {
    const d = halfAt(bytes, at);
    for (let k = 0; k < 32; k++) out[i + k] = d * codes[at + 2 + k];
  }
}

/** Blocks of int8. Scale: greatest magnitude / 127. Code −128 is never written. */
export function encodeInt8(out: Uint8Array, values: Float32Array): void {
  for (let at = 0, i = 0; i < values.length; at += 34, i += 32) {
    let greatest = 0;
    let taint = 0; // NaN once any value is not finite
    for (let k = 0; k < 32; k++) {
      const value = values[i + k];
      const magnitude = Math.abs(value);
      if (magnitude > greatest) greatest = magnitude;
      taint += value * 0;
    }
    const bits = scaleBits(greatest / 127);
    const d = HALF_VALUES[bits];
    if (!(d + taint <= HALF_MAX)) failEncode("int8", values, i, i + 32);
    out[at] = bits;
    out[at + 1] = bits >> 8;
    const inverse = d > 0 ? 1 / d : 0;
    for (let k = 0; k < 32; k++) {
      out[at + 2 + k] = ((values[i + k] * inverse + 128.5) | 0) - 128;
    }
  }
}

/** Blocks of int4: `d·(q − 8)`. */
export function decodeInt4(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 18, i += 32) {
    const d = halfAt(bytes, at);
    for (let k = 0; k < 16; k++) {
      const pair = bytes[at + 2 + k];
      out[i + k] = d * ((pair & 15) - 8);
      out[i + 16 + k] = d * ((pair >> 4) - 8);
    }
  }
}

/** Blocks of int4. Scale: the value of greatest magnitude / −8, sign kept: it gets code 0. */
export function encodeInt4(out: Uint8Array, values: Float32Array): void {
  for (let at = 0, i = 0; i < values.length; at += 18, i += 32) {
    let greatest = 0;
    let peak = 0;
    let taint = 0;
    for (let k = 0; k < 32; k++) {
      const value = values[i + k];
      const magnitude = Math.abs(value);
      if (magnitude > greatest) {
        greatest = magnitude;
        peak = value;
      }
      taint += value * 0;
    }
    const bits = scaleBits(peak / -8);
    const d = HALF_VALUES[bits];
    if (!(Math.abs(d) + taint <= HALF_MAX)) failEncode("int4", values, i, i + 32);
    out[at] = bits;
    out[at + 1] = bits >> 8;
    const inverse = d !== 0 ? 1 / d : 0;
    for (let k = 0; k < 16; k++) {
      const low = (values[i + k] * inverse + 8.5) | 0;
      const high = (values[i + 16 + k] * inverse + 8.5) | 0;
      out[at + 2 + k] = Math.min(low, 15) | Math.min(high, 15) << 4;
    }
  }
}

/** Blocks of int4n. Scale: the value of greatest magnitude / −127, sign kept: it gets code 0. */
export function encodeInt4n(out: Uint8Array, values: Float32Array): void {
  for (let at = 0, i = 0; i < values.length; at += 18, i += 32) {
    let peak = 0, taint = 0;
    for (let k = i; k < i + 32; k++) {
      if (Math.abs(values[k]) > Math.abs(peak)) peak = values[k];
      taint += values[k] * 0;
    }
    const bits = scaleBits(peak / -127);
    const d = HALF_VALUES[bits];
    if (!(Math.abs(d) + taint <= HALF_MAX)) failEncode("int4n", values, i, i + 32);
    out[at] = bits;
    out[at + 1] = bits >> 8;
    const code = (value: number): number => d !== 0 ? nearestNonlinear(value / d) : 8;
    for (let k = 0; k < 16; k++) {
      out[at + 2 + k] = code(values[i + k]) | code(values[i + 16 + k]) << 4;
    }
  }
}

/** The code of the number that is nearest to `value`. */
function nearestNonlinear(value: number): number {
  let code = 0;
  while (code < 15 && 2 * value > NONLINEAR_CODES[code] + NONLINEAR_CODES[code + 1]) code++;
  return code;
}

/** Blocks of int4m: `d·q + m`. */
export function decodeInt4m(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 20, i += 32) {
    const d = halfAt(bytes, at);
    const m = halfAt(bytes, at + 2);
    for (let k = 0; k < 16; k++) {
      const pair = bytes[at + 4 + k];
      out[i + k] = d * (pair & 15) + m;
      out[i + 16 + k] = d * (pair >> 4) + m;
    }
  }
}

/** Blocks of int4m: fifteen equal steps from the least value, as stored, to the greatest. */
export function encodeInt4m(out: Uint8Array, values: Float32Array): void {
  for (let at = 0, i = 0; i < values.length; at += 20, i += 32) {
    let least = Infinity;
    let greatest = -Infinity;
    let taint = 0;
    for (let k = 0; k < 32; k++) {
      const value = values[i + k];
      if (value < least) least = value;
      if (value > greatest) greatest = value;
      taint += value * 0;
    }
    const minBits = halfBits(least + 0); // -0 becomes 0
    const m = HALF_VALUES[minBits];
    const bits = scaleBits(Math.max(greatest - m, 0) / 15);
    const d = HALF_VALUES[bits];
    if (!(Math.max(d, Math.abs(m)) + taint <= HALF_MAX)) failEncode("int4m", values, i, i + 32);
    out[at] = bits;
    out[at + 1] = bits >> 8;
    out[at + 2] = minBits;
    out[at + 3] = minBits >> 8;
    const inverse = d > 0 ? 1 / d : 0;
    for (let k = 0; k < 16; k++) {
      const low = Math.max((values[i + k] - m) * inverse + 0.5, 0) | 0;
      const high = Math.max((values[i + 16 + k] - m) * inverse + 0.5, 0) | 0;
      out[at + 4 + k] = Math.min(low, 15) | Math.min(high, 15) << 4;
    }
  }
}

/** Fails, naming the first value of `[from, to)` that is not finite, or else the greatest. */
export function failEncode(name: string, values: Float32Array, from: number, to: number): never {
  let at = from;
  for (let i = from; i < to; i++) {
    if (!Number.isFinite(values[i])) {
      at = i;
      break;
    }
    if (Math.abs(values[i]) > Math.abs(values[at])) at = i;
  }
  const reason = Number.isFinite(values[at]) ? "too large for half precision" : "not finite";
  throw new InputError(
    `Cannot encode ${name}: element ${at} is ${values[at]}, ${reason}; keep this tensor in f32`,
  );
}
