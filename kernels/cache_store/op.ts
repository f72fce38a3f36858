/**
 * `cacheStore`: writes each token's keys or values into its row of a cache.
 *
 * @module
 */

import { roundEven } from "../numbers.ts";
import { CACHE_TYPES, elements, type NoAttributes, type Op, type View } from "../op.ts";
import { check, checkCount, checkInput, describe, tensorBytes } from "../shape.ts";

/** Elements of a head that share one scale in a cache of int8. */
export const CACHE_GROUP = 32;

/** Scales below it, which are subnormal, are 0. */
const LEAST_SCALE = 2 ** -126;

/**
 * `cache[rows[token]] = x[token]`. Inputs: `cache [rows, kvHeads, headDim]`, written in place,
 * `x [tokens, kvHeads * headDim]` and `rows [tokens]`, the cache row of each token.
 *
 * A cache of f16 rounds to nearest, ties to even. A cache of int8 stores `d * round(x * (127 / max))`
 * with `max = max|x|` and `d = max / 127` over each group of 32 elements of a head (the last may be
 * shorter), both in f32; halves round to even. A group with an infinity or NaN is NaN throughout;
 * one whose `d` is below 2^-126 is zero. One scale per 32, not per head, because single channels of
 * keys are far larger than the others in real models (Liu et al., arXiv:2402.02750).
 */
export const cacheStore: Op<NoAttributes> = {
  mutates: 0,
  indexes: { input: 2, into: 0 },
  shape(inputs) {
    checkCount("cacheStore", inputs, 3);
    const [cache, x, rows] = inputs;
    const role = cache!.role === "valueCache" ? "valueCache" : "keyCache";
    checkInput("cacheStore", "cache", cache!, { role, dtype: CACHE_TYPES, rank: 3 });
    checkInput("cacheStore", "x", x!, { rank: 2 });
    checkInput("cacheStore", "rows", rows!, { dtype: ["i32"], rank: 1 });
    check(
      "cacheStore",
      x!.shape[1] === cache!.shape[1]! * cache!.shape[2]! && rows!.shape[0] === x!.shape[0] &&
        rows!.perToken === x!.perToken,
      () =>
        `x is ${describe(x!)} and rows ${describe(rows!)}, ` +
        `expected rows of ${describe(cache!)} and one row each`,
    );
    return cache!;
  },
  reference(out, [, x, rows]) {
    const width = x!.shape[1]!;
    for (let token = 0; token < x!.shape[0]!; token++) {
      const row = x!.data.subarray(token * width, (token + 1) * width);
      out.data.set(
        out.dtype === "int8" ? roundGroups(row, out.shape[2]!) : row,
        rows!.data[token] * width,
      );
    }
  },
  cost: ([, x]) => ({ flops: elements(x!.shape), bytes: 2 * tensorBytes(x!) }),
};

/** The numbers that int8 leaves of heads of `headDim`. */
function roundGroups(heads: View["data"], headDim: number): Float64Array {
  const rounded = new Float64Array(heads.length);
  for (let head = 0; head < heads.length; head += headDim) {
    for (let start = head; start < head + headDim; start += CACHE_GROUP) {
      const end = Math.min(start + CACHE_GROUP, head + headDim);
      let max = 0;
      for (let i = start; i < end; i++) max = Math.max(max, Math.abs(Math.fround(heads[i])));
      const d = Number.isFinite(max) ? Math.fround(max / 127) : NaN;
      if (d < LEAST_SCALE) continue;
      const inverse = Math.fround(127 / max);
      for (let i = start; i < end; i++) {
        rounded[i] = d * roundEven(Math.fround(Math.fround(heads[i]) * inverse));
      }
    }
  }
  return rounded;
}
