/**
 * Rows that quantizers are compared on, with ggml's (tests/golden/make_ggml_blocks.ts) and among each
 * other.
 *
 * @module
 */

import { normalNumbers, randomNumbers } from "./fixtures.ts";

/** A kind of rows. */
type Rows = (length: number, random: () => number) => Float32Array;

const of = (length: number, number: (i: number) => number) =>
  Float32Array.from({ length }, (_, i) => number(i));
const scaled = (by: number): Rows => (length, random) =>
  normalNumbers(length, random).map((it) => it * by);

/** Kinds of rows, by name. */
export const ROWS: Readonly<Record<string, Rows>> = {
  normal: scaled(0.02),
  uniform: (length, random) => of(length, () => random() - 0.5),
  laplace: (length, random) =>
    of(length, () => Math.log(random() + 1e-9) * (random() < 0.5 ? -0.02 : 0.02)),
  positive: (length, random) => of(length, () => random()),
  spike: (length, random) =>
    normalNumbers(length, random).map((it, i) => i % 32 === 7 ? 1 : 0.01 * it),
  sparse: (length, random) => normalNumbers(length, random).map((it) => random() < 0.8 ? 0 : it),
};

/** Kinds that only rounding to nearest is compared on. */
export const EDGES: Readonly<Record<string, Rows>> = {
  constant: (length) => new Float32Array(length).fill(0.37),
  negative: (length) => new Float32Array(length).fill(-1.5),
  zero: (length) => new Float32Array(length),
  minusZero: (length) => new Float32Array(length).fill(-0),
  tiny: scaled(1e-7),
  denormal: scaled(1e-40),
  least: scaled(1e-44),
  huge: scaled(1.2e4),
  ties: (length, random) => of(length, () => Math.round(random() * 16) / 2),
};

/** Importances of columns, by name. */
export const IMPORTANCES: Readonly<Record<string, Rows>> = {
  equal: (length) => new Float32Array(length).fill(1),
  exponential: (length, random) => of(length, () => -Math.log(random() + 1e-9)),
  heavy: (length, random) => normalNumbers(length, random).map((it) => Math.exp(2 * it)),
};

/** Rows and columns of what is compared under importances. */
export const COMPARED = { rows: 16, columns: 512 };

/** Types whose bytes are ggml's when rounded to nearest. */
export const NEAREST_TYPES = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"];
/** Types whose scales are searched even where every number counts alike. */
export const SEARCHED_TYPES = ["IQ4_NL", "Q4_K", "Q5_K", "Q6_K"];
/** Types whose error under importances is compared. */
export const WEIGHTED_TYPES = [...NEAREST_TYPES, ...SEARCHED_TYPES];

/** Σ importance · (x − x̂)² over rows of as many columns as there are importances. */
export function weightedError(
  values: Float32Array,
  decoded: Float32Array,
  importances: Float32Array,
): number {
  return values.reduce(
    (sum, value, i) => sum + importances[i % importances.length] * (value - decoded[i]) ** 2,
    0,
  );
}

/** The rows of a kind, always the same. */
export function rowsOf(kind: Rows, length: number, seed: number): Float32Array {
  return kind(length, randomNumbers(seed));
}
