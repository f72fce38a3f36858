/**
 * Sums over what matrices are multiplied with, from which GPTQ and importances follow.
 *
 * @module
 */

/** Sums over the inputs of a matrix. */
export interface Products {
  /** Columns of the matrix. */
  readonly columns: number;
  /** Inputs so far. */
  count: number;
  /** Σ x·xᵀ `[columns, columns]`; whole once `mirror` was called, before that its upper triangle. */
  readonly sums: Float64Array;
  /** Σ (z − x)·xᵀ `[columns, columns]`: how far inputs x are from what they would be without rounding, z. */
  readonly drift: Float64Array;
  /** Σ z² `[columns]`. */
  readonly squares: Float64Array;
}

/** Sums of nothing. */
export function noProducts(columns: number): Products {
  const numbers = (): Float64Array => new Float64Array(columns * columns);
  return {
    columns,
    count: 0,
    sums: numbers(),
    drift: numbers(),
    squares: new Float64Array(columns),
  };
}

/** Adds inputs `[count, columns]`, and what they would be without any rounding. */
export function addProducts(
  products: Products,
  inputs: Float32Array,
  exact: Float32Array = inputs,
): void {
  const { columns, sums, drift, squares } = products, count = inputs.length / columns;
  // A few inputs at a time: each row of sums comes into the cache once for all of them.
  const AT_ONCE = 16;
  for (let first = 0; first < count; first += AT_ONCE) {
    const end = Math.min(first + AT_ONCE, count);
    for (let i = 0; i < columns; i++) {
      const row = i * columns;
      for (let t = first; t < end; t++) {
        const x = t * columns, value = inputs[x + i]!, off = exact[x + i]! - value;
        squares[i]! += exact[x + i]! ** 2;
        if (value !== 0) {
          for (let j = i; j < columns; j++) sums[row + j]! += value * inputs[x + j]!;
        }
        if (off !== 0) {
          for (let j = 0; j < columns; j++) drift[row + j]! += off * inputs[x + j]!;
        }
      }
    }
  }
  products.count += count;
}

/** Fills the lower triangle. */
export function mirror({ columns, sums }: Products): void {
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j < i; j++) sums[i * columns + j] = sums[j * columns + i]!;
  }
}

/** The mean square of each input `[columns]`. */
export function meanSquares({ columns, sums, count }: Products): Float32Array {
  return Float32Array.from(
    { length: columns },
    (_, j) => count > 0 ? sums[j * (columns + 1)]! / count : 0,
  );
}
