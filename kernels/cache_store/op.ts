/**
 * `cacheStore`: writes each token's keys or values into its row of a cache.
 *
 * @module
 */

import { elements, type NoAttributes, type Op } from "../op.ts";
import { check, checkCount, checkInput, describe, tensorBytes } from "../shape.ts";

/**
 * `cache[slots[token]] = x[token]`. Inputs: `cache [rows, kvHeads, headDim]`, written in place,
 * `x [tokens, kvHeads * headDim]` and `slots [tokens]`, the cache row of each token.
 */
export const cacheStore: Op<NoAttributes> = {
  mutates: 0,
  indexes: { input: 2, into: 0 },
  shape(inputs) {
    checkCount("cacheStore", inputs, 3);
    const [cache, x, slots] = inputs;
    const role = cache!.role === "valueCache" ? "valueCache" : "keyCache";
    checkInput("cacheStore", "cache", cache!, { role, dtype: ["f32", "f16"], rank: 3 });
    checkInput("cacheStore", "x", x!, { rank: 2 });
    checkInput("cacheStore", "slots", slots!, { dtype: ["i32"], rank: 1 });
    check(
      "cacheStore",
      x!.shape[1] === cache!.shape[1]! * cache!.shape[2]! && slots!.shape[0] === x!.shape[0] &&
        slots!.perToken === x!.perToken,
      `x is ${describe(x!)} and slots ${describe(slots!)}, ` +
        `expected rows of ${describe(cache!)} and one slot each`,
    );
    return cache!;
  },
  reference(out, [, x, slots]) {
    const width = x!.shape[1]!;
    for (let token = 0; token < x!.shape[0]!; token++) {
      out.data.set(
        x!.data.subarray(token * width, (token + 1) * width),
        slots!.data[token] * width,
      );
    }
  },
  cost: ([, x]) => ({ flops: elements(x!.shape), bytes: 2 * tensorBytes(x!) }),
};
