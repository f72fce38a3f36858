/**
 * What decides which token follows, where a backend chooses it. The names are those of
 * `SamplerOptions`.
 *
 * @module
 */

/** How a backend chooses tokens by itself. */
export interface TokenChoice {
  /** 0 takes the most likely token. */
  readonly temperature: number;
  /** Candidates; 0 for all. */
  readonly topK: number;
  /** Probability that the candidates must reach. */
  readonly topP: number;
  /** Least probability of a candidate, as a fraction of the best one's. */
  readonly minP: number;
  /** How much less likely tokens are that came before; 1 for no difference. */
  readonly repeatPenalty: number;
  /** How many of the last tokens it covers. */
  readonly repeatWindow: number;
  /** Subtracted once from the logit of a token that was generated. */
  readonly presencePenalty: number;
  /** Subtracted for each time that a token was generated. */
  readonly frequencyPenalty: number;
  /** Added to logits, by token id; -Infinity rules a token out. */
  readonly logitBias: ReadonlyMap<number, number>;
  /** Stream of random numbers. */
  readonly seed: number;
}
