/**
 * A constraint over the text that it follows: asked in time, checked, and brought to logits.
 *
 * @module
 */

import { InputError } from "../../errors.ts";
import { accepts, isA, isListOf, OBJECT, oneOf, type Rule, wholeNumberIn } from "../../options.ts";
import { quote } from "../../escape.ts";
import type { Allowance, Constraint } from "./constraint.ts";

const END: Rule = oneOf(["no", "may", "must"]);

/** A constraint at its place in a text. */
export class Constrained {
  readonly #constraint: Constraint;
  readonly #stopIds: ReadonlySet<number>;
  readonly #vocabSize: number;
  readonly #signal: AbortSignal | undefined;
  #allowance: Allowance | undefined;
  /** Ids that come next. */
  #required: readonly number[] = [];
  /** Tokens so far, for messages. */
  #count = 0;

  /** At the beginning of a text that ends with any of `stopIds`. */
  constructor(
    constraint: Constraint,
    stopIds: ReadonlySet<number>,
    vocabSize: number,
    signal?: AbortSignal,
  ) {
    this.#signal = signal;
    this.#constraint = constraint;
    this.#stopIds = stopIds;
    this.#vocabSize = vocabSize;
  }

  /** What the constraint says, for which nobody waits after an abort. */
  async #ask(): Promise<unknown> {
    const signal = this.#signal, answer = this.#constraint.next();
    if (!signal) return await answer;
    signal.throwIfAborted();
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener("abort", onAbort);
    try {
      return await Promise.race([answer, aborted]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Whether the text ends here. */
  async isOver(): Promise<boolean> {
    if (this.#required.length > 0) return false;
    this.#allowance ??= this.#check(await this.#ask());
    const { mask, required = [], end } = this.#allowance;
    if (end === "must") return true;
    this.#required = required;
    return required.length === 0 && end === "may" && mask !== undefined && mask.every((it) => !it);
  }

  /** The next token: what is required, or what `choose` takes of the logits that are left. */
  choose(logits: Float32Array, choose: (scores: Float32Array) => number): number {
    return this.#required[0] ?? choose(this.#restrict(logits));
  }

  /** Goes on after a token. */
  accept(id: number): void {
    this.#required = this.#required.slice(1);
    if (this.#stopIds.has(id)) {
      this.#allowance = { end: "must" };
      this.#required = [];
      return;
    }
    if (this.#required.length === 0) this.#allowance = undefined;
    this.#count++;
    this.#constraint.accept(id);
  }

  /** The logits with -Infinity for what is not allowed. */
  #restrict(logits: Float32Array): Float32Array {
    const { mask, end } = this.#allowance!;
    const scores = mask ? new Float32Array(logits.length).fill(-Infinity) : logits.slice();
    if (mask) {
      const words = Math.min(mask.length, Math.ceil(logits.length / 32));
      for (let word = 0; word < words; word++) {
        // From one set bit to the next.
        for (let bits = mask[word]! | 0; bits !== 0; bits &= bits - 1) {
          const id = 32 * word + 31 - Math.clz32(bits & -bits);
          if (id < logits.length) scores[id] = logits[id]!;
        }
      }
    }
    if (end !== undefined) {
      for (const id of this.#stopIds) {
        if (id < logits.length) scores[id] = end === "may" ? logits[id]! : -Infinity;
      }
    }
    if (scores.some((it) => it !== -Infinity)) return scores;
    throw new InputError(
      `Cannot go on generating after ${this.#count} tokens: the constraint allows no token that ` +
        `the model could choose; expected a mask with one, or an end`,
    );
  }

  #check(allowance: unknown): Allowance {
    const refuse = (found: string, expected: string): InputError =>
      new InputError(
        `Cannot go on generating after ${this.#count} tokens: the constraint gave ${found}, ` +
          `expected ${expected}`,
      );
    if (!accepts(OBJECT, allowance)) {
      throw refuse(quote(allowance), "an object with mask, required or end");
    }
    const { mask, required, end } = allowance as Allowance;
    if (mask !== undefined && !isA(mask, Int32Array) && !isA(mask, Uint32Array)) {
      throw refuse(`mask ${quote(mask)}`, "an Int32Array or Uint32Array of bits");
    }
    const id = wholeNumberIn(0, this.#vocabSize - 1);
    if (required !== undefined && !isListOf(required, id.accepts)) {
      throw refuse(`required ${quote(required)}`, `a list of ids, each ${id.expected}`);
    }
    if (end !== undefined && !accepts(END, end)) {
      throw refuse(`end ${quote(end)}`, END.expected);
    }
    return { ...(mask && { mask }), ...(required && { required }), ...(end && { end }) };
  }
}
