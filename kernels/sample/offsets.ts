/**
 * What is added to the logits of single tokens before one is chosen: biases that a caller gives, and
 * penalties for tokens that were generated before. Sums of float32 and no products, so that the host and
 * a GPU, which may fuse a product with a sum, agree to the last bit; common.wgsl does the same.
 *
 * @module
 */

import type { TokenChoice } from "./choice.ts";

/** What decides the offsets. */
export type OffsetChoice = Pick<TokenChoice, "logitBias" | "presencePenalty" | "frequencyPenalty">;

/** Whether a choice adds anything. */
export function hasOffsets(
  { logitBias, presencePenalty, frequencyPenalty }: OffsetChoice,
): boolean {
  return logitBias.size > 0 || presencePenalty !== 0 || frequencyPenalty !== 0;
}

/** What the first occurrence of a token subtracts, and what each later one does, as float32. */
export function offsetSteps(
  { presencePenalty, frequencyPenalty }: OffsetChoice,
): { readonly first: number; readonly later: number } {
  const first = Math.fround(presencePenalty + frequencyPenalty);
  return { first, later: Math.fround(frequencyPenalty) };
}

/** The offsets of a text, which change with every token that is generated. */
export class LogitOffsets {
  readonly #first: number;
  readonly #later: number;
  /** Float32 values by token id; of ids that are not here, 0. */
  readonly byId: Map<number, number> = new Map();
  /** Ids that were generated, where penalties ask for them. */
  readonly generated: Set<number> = new Set();

  /** Those after some generated tokens. */
  constructor(choice: OffsetChoice, generated: Iterable<number> = []) {
    const { first, later } = offsetSteps(choice);
    this.#first = first;
    this.#later = later;
    for (const [id, bias] of choice.logitBias) this.byId.set(id, Math.fround(bias));
    for (const id of generated) this.accept(id);
  }

  /** Takes note of a generated token. */
  accept(id: number): void {
    if (this.#first === 0 && this.#later === 0) return;
    const less = this.generated.has(id) ? this.#later : this.#first;
    this.byId.set(id, Math.fround((this.byId.get(id) ?? 0) - less));
    this.generated.add(id);
  }
}
