/**
 * Likelihoods of tokens in whole numbers, so that processor and GPU agree to the last bit: whatever
 * the order in which they are added up, and however a GPU rounds. weight.wgsl is the same for the
 * GPU; what both rely on is that a float32 difference and a product are rounded correctly.
 *
 * @module
 */

/** Distances from the best logit that are counted: octaves, in units of 2^-24. Further is 0. */
const FAR: number = 2 ** 29;
/** Weight of the best token. */
export const ONE: number = 2 ** 31;
/** What probabilities are a multiple of: 2^-24. */
export const PROBABILITY_UNITS: number = 2 ** 24;

/** Coefficients of (1 − 2^-f) / f for f from 0 to 1, in units of 2^-31, with alternating signs. */
const COEFFICIENTS = [1488522224, 515881603, 119183688, 20609476, 2773769, 246789] as const;

/** Octaves for one unit of a logit at a temperature, a float32. */
export function octavesPerLogit(temperature: number): number {
  return Math.fround(Math.min(Math.LOG2E / temperature, 1e30));
}

/** How far a logit, a float32, is from the best one: 0 to FAR, which means that it weighs nothing. */
export function distance(logit: number, best: number, scale: number): number {
  if (logit === best) return 0; // both may be infinite
  const octaves = Math.fround(Math.fround(best - logit) * scale);
  return octaves < 32 ? Math.trunc(octaves * 2 ** 24) : FAR;
}

/** The distance at which a token is `share` times as likely as the best one. */
export function distanceOfShare(share: number): number {
  return share > 0 ? Math.min(FAR - 1, Math.floor(-Math.log2(share) * 2 ** 24)) : FAR - 1;
}

/** `ONE` · 2^-(distance / 2^24), rounded down, within 2e-8 of it before that. */
export function weight(distance: number): number {
  if (distance >= FAR) return 0;
  const fraction = (distance & 0xffffff) * 2 ** 8;
  let value = 0;
  for (let i = COEFFICIENTS.length - 1; i >= 0; i--) {
    value = COEFFICIENTS[i]! - highProduct(value, fraction);
  }
  return (ONE - highProduct(value, fraction)) / 2 ** (distance >>> 24) >>> 0;
}

/** a · b / 2^32, rounded down. */
function highProduct(a: number, b: number): number {
  // Both parts and their sum are whole numbers below 2^53.
  const high = a * (b >>> 16), low = a * (b & 0xffff);
  return Math.floor((high + Math.floor(low / 2 ** 16)) / 2 ** 16);
}

/** total · units / 2^24, rounded down; `total` below 2^53. */
export function share(total: number, units: number): number {
  const high = Math.floor(total / 2 ** 24), low = total % 2 ** 24;
  return high * units + Math.floor(low * units / 2 ** 24);
}
