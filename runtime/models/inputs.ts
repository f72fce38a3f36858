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

/** Place of each token in its sequence, where the first one's is `first` `[tokens]`. */
export function positionsFrom(first: number): InputRule {
  return {
    name: "positions",
    step: [1],
    fill({ position }, i, into, at) {
      into[at] = first + position + i;
    },
  };
}

/** Place of each token in its sequence, from 0 on `[tokens]`. */
export const positions: InputRule = positionsFrom(0);

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

/**
 * As `causalSpans`, with a prefix whose tokens see each other in both directions: those of a sequence
 * with a `prefixLength` (Raffel et al., arXiv:1910.10683, figure 4). A program that has it says so in
 * `whole`, because the prefix must share one run.
 */
export const prefixSpans: InputRule = {
  name: "spans",
  step: [0, 1],
  fill({ sequence, firstRow, position }, i, into, at) {
    into[at] = firstRow;
    into[at + 1] = firstRow + Math.max(sequence.prefixLength ?? 0, position + i + 1);
  },
};

/** Row of each token in the caches of an encoder, which serve a single run `[tokens]`. */
export const runRows: InputRule = {
  name: "rows",
  step: [0],
  fill({ offset }, i, into, at) {
    into[at] = offset + i;
  },
};

/**
 * What each token of an encoder sees `[tokens, 2]`: the whole of its text; where that has a
 * `prefixLength`, the prefix and what comes before it (UniLM, Dong et al., arXiv:1905.03197).
 */
export const encoderSpans: InputRule = {
  name: "spans",
  step: [0, 0],
  fill({ sequence: { prefixLength }, offset, count }, i, into, at) {
    into[at] = offset;
    into[at + 1] = offset +
      (prefixLength === undefined ? count : Math.max(prefixLength, i + 1));
  },
};

/** Where a token of an encoder is stored for the decoder `[tokens]`: in the rows of its sequence. */
export const sourceRows: InputRule = {
  name: "sourceRows",
  step: [0],
  fill({ firstRow, position }, i, into, at) {
    into[at] = firstRow + position + i;
  },
};

/** What each token of a decoder sees of its source `[tokens, 2]`: all of it. */
export const sourceSpans: InputRule = {
  name: "sourceSpans",
  step: [0, 0],
  fill({ sequence: { source }, firstRow }, _, into, at) {
    into[at] = firstRow;
    into[at + 1] = firstRow + (source?.ids.length ?? 0);
  },
};

/** Segment of each token `[tokens]`; zeros where nobody numbers them. */
export const tokenTypes: InputRule = {
  name: "tokenTypes",
  step: [0],
  fill({ sequence, position }, i, into, at) {
    into[at] = sequence.tokenTypeIds?.[position + i] ?? 0;
  },
};

/** Task of each token `[tokens]`; zeros where nobody numbers them. */
export const taskTypes: InputRule = {
  name: "taskTypes",
  step: [0],
  fill({ sequence, position }, i, into, at) {
    into[at] = sequence.taskTypeIds?.[position + i] ?? 0;
  },
};
