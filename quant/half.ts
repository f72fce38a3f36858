/**
 * Half-precision numbers as 16-bit patterns (IEEE 754 binary16, little endian in files), one at a
 * time and for whole arrays. Not the other 16-bit format: bfloat16 needs no more than a shift.
 *
 * @module
 */

/** Value of each of the 65536 bit patterns: the fastest conversion there is in plain code. */
export const HALF_VALUES: Float32Array = halfValues();

/** By arithmetic, so that engines without `Float16Array` can at least import this. */
function halfValues(): Float32Array {
  const values = new Float32Array(65536);
  for (let exponent = 0; exponent < 32; exponent++) {
    const unit = 2 ** (Math.max(exponent, 1) - 25), whole = exponent === 0 ? 0 : 1024;
    for (let fraction = 0; fraction < 1024; fraction++) {
      const bits = exponent << 10 | fraction;
      const value = exponent < 31 ? (whole + fraction) * unit : fraction ? NaN : Infinity;
      values[bits] = value;
      values[0x8000 | bits] = -value;
    }
  }
  return values;
}

/** One number, and its bits; made when first needed. */
let one: Float16Array<ArrayBuffer> | undefined;
let oneBits = new Uint16Array(1);

function roundHalf(value: number): { half: number; bits: number } {
  if (!one) {
    one = new Float16Array(1);
    oneBits = new Uint16Array(one.buffer);
  }
  one[0] = value;
  return { half: one[0], bits: oneBits[0]! };
}

/** Value of the half stored at `bytes[at]`. */
export function halfAt(bytes: Uint8Array, at: number): number {
  return HALF_VALUES[bytes[at] | bytes[at + 1] << 8];
}

/** Greatest finite half. */
export const HALF_MAX = 65504;

const SMALLEST_NORMAL = 2 ** -14;

/** Bit pattern of the half nearest to `value`, ties to even, overflow to infinity. */
export function halfBits(value: number): number {
  return roundHalf(value).bits;
}

/**
 * Bit pattern of the half that a block scale is stored as: the nearest, but never smaller in
 * magnitude than a subnormal `scale`, because there the rounding is so coarse that the block's
 * greatest values would be clipped, or the whole block lost.
 */
export function scaleBits(scale: number): number {
  const { half, bits } = roundHalf(scale), magnitude = Math.abs(scale);
  return magnitude < SMALLEST_NORMAL && Math.abs(half) < magnitude ? bits + 1 : bits;
}

/** The halves stored in `bytes`, viewed in place where alignment allows, else copied. */
export function viewHalves(bytes: Uint8Array): Float16Array {
  const { buffer, byteOffset } = aligned(bytes);
  return new Float16Array(buffer, byteOffset, bytes.length >> 1);
}

/** The 16-bit words stored in `bytes`, viewed in place where alignment allows, else copied. */
export function viewWords(bytes: Uint8Array): Uint16Array {
  const { buffer, byteOffset } = aligned(bytes);
  return new Uint16Array(buffer, byteOffset, bytes.length >> 1);
}

function aligned(bytes: Uint8Array): Uint8Array {
  return bytes.byteOffset % 2 === 0 ? bytes : bytes.slice();
}
