/**
 * Decoders of the K-quants: blocks of 256 elements whose scales are themselves quantized. Layouts
 * as the GGUF specification's reference implementation defines them; loops over whole blocks.
 *
 * @module
 */

import { halfAt } from "./half.ts";

/** Six-bit scales of eight groups, then their six-bit minima, packed in 12 bytes at `bytes[at]`. */
export function unpackScales(bytes: Uint8Array, at: number, out: Uint8Array): void {
  for (let j = 0; j < 4; j++) {
    const scale = bytes[at + j];
    const min = bytes[at + 4 + j];
    const rest = bytes[at + 8 + j];
    out[j] = scale & 63;
    out[j + 4] = rest & 15 | scale >> 6 << 4;
    out[j + 8] = min & 63;
    out[j + 12] = rest >> 4 | min >> 6 << 4;
  }
}

/** Scale of group `group` of 16 of the block of Q3_K at `at`, from −32 to 31. */
export function scaleQ3K(bytes: Uint8Array, at: number, group: number): number {
  const low = bytes[at + 96 + (group & 7)] >> (group >> 3) * 4 & 15;
  const high = bytes[at + 104 + (group & 3)] >> (group >> 2) * 2 & 3;
  return (low | high << 4) - 32;
}

/** Q2_K, 84 bytes: 16 scale/min nibble pairs, 64 bytes of 2-bit codes, halves `d` and `dmin`. */
export function decodeQ2K(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 84, i += 256) {
    const d = halfAt(bytes, at + 80);
    const dmin = halfAt(bytes, at + 82);
    for (let group = 0; group < 16; group++) {
      const scale = d * (bytes[at + group] & 15);
      const min = dmin * (bytes[at + group] >> 4);
      // Groups 2j and 2j+1 of each half share bit pair j of 32 bytes.
      const codes = at + 16 + (group >> 3) * 32 + (group & 1) * 16;
      const shift = (group >> 1 & 3) * 2;
      const to = i + group * 16;
      for (let k = 0; k < 16; k++) out[to + k] = scale * (bytes[codes + k] >> shift & 3) - min;
    }
  }
}

/** Q3_K, 110 bytes: 32 bytes of high bits, 64 of low bit pairs, 16 six-bit scales, half `d`. */
export function decodeQ3K(bytes: Uint8Array, out: Float32Array): void {
  for (let at = 0, i = 0; i < out.length; at += 110, i += 256) {
    const d = halfAt(bytes, at + 108);
    for (let group = 0; group < 16; group++) {
      const scale = d * scaleQ3K(bytes, at, group);
      const codes = at + 32 + (group >> 3) * 32 + (group & 1) * 16;
      const shift = (group >> 1 & 3) * 2;
      const highBits = at + (group & 1) * 16;
      const bit = group >> 1;
      const to = i + group * 16;
      for (let k = 0; k < 16; k++) {
        const code = bytes[codes + k] >> shift & 3 | (bytes[highBits + k] >> bit & 1) << 2;
        out[to + k] = scale * (code - 4);
      }
    }
  }
}

/** Q4_K, 144 bytes: halves `d` and `dmin`, 12 bytes of scales, 128 bytes of nibbles. */
export function decodeQ4K(bytes: Uint8Array, out: Float32Array): void {
  decodeNibblesK(bytes, out, 144);
}

/** Q5_K, 176 bytes: as Q4_K, with 32 bytes of fifth bits before the nibbles. */
export function decodeQ5K(bytes: Uint8Array, out: Float32Array): void {
  decodeNibblesK(bytes, out, 176);
}

/** Blocks of nibbles, which have fifth bits where a block has more than 144 bytes. */
function decodeNibblesK(bytes: Uint8Array, out: Float32Array, blockBytes: number): void {
  const scales = new Uint8Array(16), hasFifth = blockBytes > 144;
  for (let at = 0, i = 0; i < out.length; at += blockBytes, i += 256) {
    const d = halfAt(bytes, at);
    const dmin = halfAt(bytes, at + 2);
    unpackScales(bytes, at + 4, scales);
    for (let pair = 0; pair < 4; pair++) {
      const scale = d * scales[2 * pair];
      const min = dmin * scales[2 * pair + 8];
      const scale2 = d * scales[2 * pair + 1];
      const min2 = dmin * scales[2 * pair + 9];
      const codes = at + blockBytes - 128 + pair * 32;
      const to = i + pair * 64;
      for (let k = 0; k < 32; k++) {
        const code = bytes[codes + k];
        const fifth = hasFifth ? bytes[at + 16 + k] >> 2 * pair : 0;
        out[to + k] = scale * (code & 15 | (fifth & 1) << 4) - min;
        out[to + 32 + k] = scale2 * (code >> 4 | (fifth & 2) << 3) - min2;
      }
    }
  }
}

/** Q6_K, 210 bytes: 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales, half `d`. */
export function decodeQ6K(bytes: Uint8Array, out: Float32Array): void {
  const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0, i = 0; i < out.length; at += 210, i += 256) {
    const d = halfAt(bytes, at + 208);
    for (let group = 0; group < 16; group++) {
      // Groups 0 … 7 lie in the first 128 elements: quarters of 32, low nibbles in the first two.
      const half = group >> 3;
      const quarter = group >> 1 & 3;
      const scale = d * signed[at + 192 + group];
      const low = at + half * 64 + (quarter & 1) * 32 + (group & 1) * 16;
      const lowShift = (quarter >> 1) * 4;
      const high = at + 128 + half * 32 + (group & 1) * 16;
      const highShift = quarter * 2;
      const to = i + group * 16;
      for (let k = 0; k < 16; k++) {
        const code = bytes[low + k] >> lowShift & 15 | (bytes[high + k] >> highShift & 3) << 4;
        out[to + k] = scale * (code - 32);
      }
    }
  }
}
