/**
 * Log-probabilities as OpenAI's answers have them.
 *
 * @module
 */

import type { Model, Token, TokenLogprob, TokenLogprobs } from "../../mod.ts";
import { tokenText } from "../../runtime/text/decoding/token_text.ts";

/** A number as JSON has it: a word that the model rules out has the least that clients know. */
export function finite(logprob: number): number {
  return Math.max(logprob, -9999);
}

function plainEntry({ text, logprob, bytes }: TokenLogprob): object {
  return { token: text, logprob: finite(logprob), bytes };
}

/** A generated token with the most likely ones in its place. */
export function logprobEntry(token: TokenLogprobs): object {
  return { ...plainEntry(token), top_logprobs: token.top.map(plainEntry) };
}

/** A token of a stream, whose text is what became certain with it, as the token that it is. */
export function ownToken(
  { tokenizer }: Model,
  { id, bytes = [], logprob = -Infinity, top = [] }: Token,
): TokenLogprobs {
  return { id, text: tokenText(tokenizer, id), bytes, logprob, top };
}
