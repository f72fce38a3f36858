/**
 * Natural logarithms of probabilities, in float64, from logits as a model gives them: before temperature,
 * penalties, biases and constraints.
 *
 * @module
 */

import { mostLikely } from "./most_likely.ts";

/** A token and the logarithm of its probability. */
export interface Likelihood {
  /** Its id. */
  readonly id: number;
  /** Natural logarithm. */
  readonly logprob: number;
}

/** How likely a token is, and the most likely ones in its place, the best first. */
export interface TokenLikelihoods {
  readonly own: Likelihood;
  readonly top: readonly Likelihood[];
}

/** What the logits are to be divided by, as a logarithm: `log Σ exp(logits)`. */
export function logTotal(logits: Float32Array): number {
  let max = -Infinity, sum = 0;
  for (const value of logits) if (value > max) max = value;
  for (const value of logits) sum += Math.exp(value - max);
  return max + Math.log(sum);
}

/** Natural logarithm of the softmax of `logits` at `id`. */
export function logProbability(logits: Float32Array, id: number): number {
  return logits[id]! - logTotal(logits);
}

/** A token's likelihood, and those of the `count` most likely ones, the best first. */
export function likelihoods(
  logits: Float32Array,
  id: number,
  count: number,
): TokenLikelihoods {
  const total = logTotal(logits);
  const of = (id: number): Likelihood => ({ id, logprob: logits[id]! - total });
  const top = count === 0 ? [] : Array.from(mostLikely(logits, count), of);
  return { own: of(id), top };
}
