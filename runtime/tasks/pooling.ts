/**
 * From one vector for each token to one for a whole text.
 *
 * Source: `Pooling` of sentence-transformers.
 *
 * @module
 */

/** How vectors of tokens become one. */
export type Pooling = "first" | "last" | "mean" | "max" | "mean-sqrt" | "weighted-mean";

/** All of them. */
export const POOLINGS: readonly Pooling[] = [
  ...["first", "last", "mean", "max", "mean-sqrt", "weighted-mean"] as const,
];

/**
 * One vector `[width]` of `hidden [tokens, width]`, of whose rows the first `skipped` do not count:
 * the first or the last row, the mean, the largest of each column, the sum divided by the root of the
 * number of tokens, or the mean in which the nth token counts n times.
 */
export function pool(
  hidden: Float32Array,
  width: number,
  pooling: Pooling,
  skipped = 0,
): Float64Array {
  const tokens = hidden.length / width;
  const rowOf = (token: number): Float64Array =>
    Float64Array.from(hidden.subarray(token * width, (token + 1) * width));
  if (pooling === "first") return rowOf(skipped);
  if (pooling === "last") return rowOf(tokens - 1);
  const result = new Float64Array(width).fill(pooling === "max" ? -Infinity : 0);
  let weights = 0;
  for (let token = skipped; token < tokens; token++) {
    const weight = pooling === "weighted-mean" ? token + 1 : 1;
    weights += weight;
    for (let i = 0; i < width; i++) {
      const value = hidden[token * width + i]!;
      if (pooling === "max") result[i] = Math.max(result[i]!, value);
      else result[i]! += weight * value;
    }
  }
  if (pooling === "max") return result;
  const divisor = pooling === "mean-sqrt" ? Math.sqrt(weights) : weights;
  return result.map((value) => value / divisor);
}

/** The vector with length 1; zeros stay. */
export function normalized(vector: Float64Array): Float64Array {
  const length = Math.hypot(...vector) || 1;
  return vector.map((value) => value / length);
}
