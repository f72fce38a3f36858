/**
 * The inputs that most models have, as rules. Cache rows of a sequence lie one after another: the row
 * of a token is the sequence's first row plus the token's place in it.
 *
 * @module
 */

import type { InputRule } from "./program.ts";

/** Token ids `[tokens]`. */
export const tokenIds: InputRule = {
  name: "ids",
  step: [0],
  fill({ sequence, position }, i, into, at) {
    into[at] = sequence.ids[position + i]!;
  },
};

/** Place of each token in its sequence `[tokens]`. */
export const positions: InputRule = {
  name: "positions",
  step: [1],
  fill({ position }, i, into, at) {
    into[at] = position + i;
  },
};

/** Cache row of each token `[tokens]`. */
export const cacheRows: InputRule = {
  name: "cacheRows",
  step: [1],
  fill({ firstRow, position }, i, into, at) {
    into[at] = firstRow + position + i;
  },
};

/**
 * First and one past the last cache row that each token sees `[tokens, 2]`: the tokens before it and
 * itself, at most `window` of them. Layers with other windows have other inputs, under other names.
 */
export function causalSpans(window?: number, name: string = "spans"): InputRule {
  return {
    name,
    step: [0, 1],
    window,
    fill({ firstRow, position }, i, into, at) {
      const end = position + i + 1;
      into[at] = firstRow + (window === undefined ? 0 : Math.max(0, end - window));
      into[at + 1] = firstRow + end;
    },
  };
}
