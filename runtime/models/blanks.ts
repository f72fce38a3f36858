/**
 * Prompts of models that fill a blank (Du et al., arXiv:2103.10360): a mask stands where something is
 * missing, and what is missing follows behind a start token. What comes before the start token is read
 * in both directions.
 *
 * @module
 */

import { InputError } from "../../errors.ts";
import type { Sequence } from "./sequence.ts";

/** The tokens that such a model knows. */
export interface BlankTokens {
  /** The token with which an answer begins. */
  readonly bosId: number;
  /** Tokens that mark the place of the answer: the first of them that a prompt has counts. */
  readonly maskIds: readonly number[];
  /** What these are for, as a user reads it. */
  readonly maskUses: readonly string[];
}

/**
 * The sequence with its prefix, which is what comes before the start token.
 *
 * @throws InputError when there is no start token, or no mask before it
 */
export function findPrefix(
  { bosId, maskIds, maskUses }: BlankTokens,
  sequence: Sequence,
): Sequence {
  const { ids } = sequence, prefixLength = ids.indexOf(bosId);
  if (prefixLength < 0 || !ids.slice(0, prefixLength).some((id) => maskIds.includes(id))) {
    throw new InputError(
      `Cannot process a prompt of ${ids.length} tokens: this model needs one of the mask tokens ` +
        `${maskIds.map((id, i) => `${id} (${maskUses[i]})`).join(", ")}, and the start token ` +
        `${bosId} (<sop>) behind it`,
    );
  }
  return { ...sequence, prefixLength };
}

/** Which mask of a prefix counts: its place, and its number among `maskIds`. */
export function maskOf(
  { maskIds }: BlankTokens,
  { ids, prefixLength = 0 }: Sequence,
): { readonly place: number; readonly kind: number } {
  const places = maskIds.map((id) => ids.indexOf(id));
  const kind = places.findIndex((it) => it >= 0 && it < prefixLength);
  return { place: places[kind]!, kind };
}
