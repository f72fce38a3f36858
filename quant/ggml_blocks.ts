/**
 * Decoders of the GGUF tensor types with one scale per block that are no layout of their own, as
 * the GGUF specification's reference implementation defines them. K-quants are in `ggml_k.ts`.
 *
 * @module
 */

import { halfAt } from "./half.ts";

/** The sixteen values of IQ4_NL, chosen for weights that follow a normal distribution. */
export const NONLINEAR_CODES: Int8Array = Int8Array.from(
  [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113],
);

/** The sixteen values of MXFP4 (E2M1), doubled to be whole. */
const FP4_CODES = Int8Array.of(0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12);

/** Q5_0, 22 bytes per 32: half `d`, 32 fifth bits, 16 bytes of nibbles; `d·(q − 16)`. */
export function decodeQ5_0(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 22, i += 32) {
    const d = halfAt(bytes, at);
    const low = bytes[at + 2] | bytes[at + 3] << 8;
    const high = bytes[at + 4] | bytes[at + 5] << 8;
    for (let k = 0; k < 16; k++) {
      const pair = bytes[at + 6 + k];
      out[i + k] = d * ((pair & 15 | (low >> k & 1) << 4) - 16);
      out[i + 16 + k] = d * ((pair >> 4 | (high >> k & 1) << 4) - 16);
    }
  }
}

/** Q5_1, 24 bytes per 32: halves `d` and `m`, 32 fifth bits, 16 bytes of nibbles; `d·q + m`. */
export function decodeQ5_1(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 24, i += 32) {
    const d = halfAt(bytes, at);
    const m = halfAt(bytes, at + 2);
    const low = bytes[at + 4] | bytes[at + 5] << 8;
    const high = bytes[at + 6] | bytes[at + 7] << 8;
    for (let k = 0; k < 16; k++) {
      const pair = bytes[at + 8 + k];
      out[i + k] = d * (pair & 15 | (low >> k & 1) << 4) + m;
      out[i + 16 + k] = d * (pair >> 4 | (high >> k & 1) << 4) + m;
    }
  }
}

/** IQ4_NL, 18 bytes per 32: half `d`, 16 bytes of nibbles that index `NONLINEAR_CODES`. */
export function decodeIq4Nl(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 18, i += 32) {
    const d = halfAt(bytes, at);
    for (let k = 0; k < 16; k++) {
      const pair = bytes[at + 2 + k];
      out[i + k] = d * NONLINEAR_CODES[pair & 15];
      out[i + 16 + k] = d * NONLINEAR_CODES[pair >> 4];
    }
  }
}

/** MXFP4 (OCP Microscaling), 17 bytes per 32: exponent byte, 16 bytes of E2M1 nibbles. */
export function decodeMxfp4(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 17, i += 32) {
    const d = 2 ** (bytes[at] - 128); // half of 2^(e − 127), as the codes are doubled
    for (let k = 0; k < 16; k++) {
      const pair = bytes[at + 1 + k];
      out[i + k] = d * FP4_CODES[pair & 15];
      out[i + 16 + k] = d * FP4_CODES[pair >> 4];
    }
  }
}

/** TQ1_0, 54 bytes per 256: ternary digits, five to a byte as a fraction of 256, then half `d`. */
export function decodeTq1(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 54, i += 256) {
    const d = halfAt(bytes, at + 52);
    decodeTrits(bytes, at, 32, 5, d, out, i);
    decodeTrits(bytes, at + 32, 16, 5, d, out, i + 160);
    decodeTrits(bytes, at + 48, 4, 4, d, out, i + 240);
  }
}

/** `digits` ternary digits of each of `width` bytes: all first digits, then all second ones … */
function decodeTrits(
  bytes: Uint8Array,
  from: number,
  width: number,
  digits: number,
  d: number,
  out: Float32Array,
  to: number,
): void {
  for (let digit = 0, power = 1; digit < digits; digit++, power *= 3) {
    for (let k = 0; k < width; k++) {
      const fraction = bytes[from + k] * power & 255;
      out[to + digit * width + k] = d * ((fraction * 3 >> 8) - 1);
    }
  }
}

/** TQ2_0, 66 bytes per 256: 64 bytes of ternary digits in bit pairs, then half `d`. */
export function decodeTq2(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 66, i += 256) {
    const d = halfAt(bytes, at + 64);
    for (let group = 0; group < 8; group++) {
      const codes = at + (group >> 2) * 32;
      const shift = (group & 3) * 2;
      for (let k = 0; k < 32; k++) {
        out[i + group * 32 + k] = d * ((bytes[codes + k] >> shift & 3) - 1);
      }
    }
  }
}
