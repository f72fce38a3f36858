/**
 * The random numbers of sampling: a counter-based generator, so that draw n of a seed is the same
 * on every backend and needs no state but n.
 *
 * @module
 */

/**
 * Draw `counter` of stream `seed`, uniform in [0, 1) with 24 bits. The hash is `pcg3d` of
 * Jarzynski and Olano, "Hash Functions for GPU Rendering" (JCGT 9(3), 2020), which a shader
 * computes with the same 32-bit operations.
 */
export function uniform(seed: number, counter: number): number {
  return (randomBits(seed, counter) >>> 8) / 2 ** 24;
}

/** The 32 bits behind draw `counter` of stream `seed`. */
export function randomBits(seed: number, counter: number): number {
  let x = seed >>> 0, y = counter >>> 0, z = Math.floor(seed / 2 ** 32) >>> 0;
  x = (Math.imul(x, 1664525) + 1013904223) | 0;
  y = (Math.imul(y, 1664525) + 1013904223) | 0;
  z = (Math.imul(z, 1664525) + 1013904223) | 0;
  x = (x + Math.imul(y, z)) | 0;
  y = (y + Math.imul(z, x)) | 0;
  z = (z + Math.imul(x, y)) | 0;
  x ^= x >>> 16;
  y ^= y >>> 16;
  z ^= z >>> 16;
  x = (x + Math.imul(y, z)) | 0;
  return x >>> 0;
}
