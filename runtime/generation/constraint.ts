/**
 * Constraints: what a text may go on with, as a grammar, a schema or a list of answers has it. The
 * interface is what such a machine has to give; constrained.ts carries it out.
 *
 * @module
 */

import { OBJECT, type Rule } from "../../options.ts";

/** What may come next. */
export interface Allowance {
  /**
   * Which ids are allowed: bit `id % 32` of number `id >> 5`, from the lowest bit, `[words / 32]` rounded up.
   * Ids beyond its end are not allowed. All are where there is no mask.
   */
  readonly mask?: Int32Array | Uint32Array;
  /** Ids that come next, one after another, whatever the mask and the model say. */
  readonly required?: readonly number[];
  /**
   * Whether the text can end here: `no` rules the stop tokens out, `may` allows them beside the mask, `must`
   * ends it at once, with stop reason `stop`. Where it is absent, the mask decides on stop tokens, too. A
   * text that may end and has an empty mask ends.
   */
  readonly end?: "no" | "may" | "must";
}

/**
 * Says what a text may go on with. It follows one text from its first generated token to its end: take a
 * new one for each. Whoever writes one needs no model: it is told of tokens and asked for the next ones. Tokens
 * are then chosen on the host, among others' that run together.
 *
 * @example
 * ```ts
 * import { type Constraint, loadModel } from "@sparrow/sparrow";
 *
 * await using model = await loadModel();
 * const { tokenizer } = model;
 * // A number of at most four digits.
 * const mask = new Int32Array(Math.ceil(tokenizer.vocabSize / 32));
 * for (let id = 0; id < tokenizer.vocabSize; id++) {
 *   if (/^\d$/.test(tokenizer.decode([id]))) mask[id >> 5]! |= 1 << id % 32;
 * }
 * let digits = 0;
 * const constraint: Constraint = {
 *   next: () => digits < 4 ? { mask, end: digits > 0 ? "may" : "no" } : { end: "must" },
 *   accept: () => void digits++,
 * };
 * const { text } = await model.complete("1 + 1 = ", { constraint });
 * console.log(/^\d{1,4}$/.test(text)); // true
 * ```
 */
export interface Constraint {
  /** What may come next; asked before the first token and after each, until the text ends. */
  next(): Allowance | Promise<Allowance>;
  /** Told each token of the text when it has been chosen; not the stop token. */
  accept(id: number): void;
}

/** What a constraint may be. */
export const CONSTRAINT: Rule = {
  expected: "an object with the functions next and accept",
  accepts: (value) => {
    const { next, accept } = value as Partial<Constraint>;
    return OBJECT.accepts(value) && typeof next === "function" && typeof accept === "function";
  },
};
