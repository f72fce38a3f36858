/**
 * Small functions of numbers that ops and backends share.
 *
 * @module
 */

const scratch = new DataView(new ArrayBuffer(4));

/** The bits of a float32 as a word: an argument of a kernel, a parameter of a shader. */
export function floatBits(value: number): number {
  scratch.setFloat32(0, value, true);
  return scratch.getUint32(0, true);
}

/** The nearest whole number, of two the even one. */
export function roundEven(x: number): number {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}
