/**
 * Half-precision numbers as 16-bit patterns (IEEE 754 binary16, little endian in files), one at a
 * time and for whole arrays. Not the other 16-bit format: bfloat16 needs no more than a shift.
 *
 * @module
 */

const one = new Float16Array(1);
const oneBits = new Uint16Array(one.buffer);

/** Value of each of the 65536 bit patterns: the fastest conversion there is in plain code. */
export const HALF_VALUES: Float32Array = new Float32Array(
  new Float16Array(Uint16Array.from({ length: 65536 }, (_, bits) => bits).buffer),
);

/** Value of the half stored at `bytes[at]`. */
export function halfAt(bytes: Uint8Array, at: number): number {
  return HALF_VALUES[bytes[at] | bytes[at + 1] << 8];
}

/** Greatest finite half. */
export const HALF_MAX = 65504;

const SMALLEST_NORMAL = 2 ** -14;

/** Bit pattern of the half nearest to `value`, ties to even, overflow to infinity. */
export function halfBits(value: number): number {
  one[0] = value;
  return oneBits[0];
}

/**
 * Bit pattern of the half that a block scale is stored as: the nearest, but never smaller in
 * magnitude than a subnormal `scale`, because there the rounding is so coarse that the block's
 * greatest values would be clipped, or the whole block lost.
 */
export function scaleBits(scale: number): number {
  one[0] = scale;
  const magnitude = Math.abs(scale);
  if (magnitude < SMALLEST_NORMAL && Math.abs(one[0]) < magnitude) return oneBits[0] + 1;
  return oneBits[0];
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
