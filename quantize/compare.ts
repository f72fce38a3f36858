/**
 * How far one model's predictions are from another's.
 *
 * @module
 */

import { InputError } from "../errors.ts";
import { logTotal } from "../runtime/generation/log_probabilities.ts";
import type { Model } from "../runtime/model.ts";
import { checkVocabularies } from "./vocabularies.ts";

/** How far the predictions of a model are from those of a base model, on the same tokens. */
export interface Comparison {
  /** Tokens whose predictions were compared. */
  readonly tokens: number;
  /** Kullback–Leibler divergence of the model's predictions from the base's, in nats a token. */
  readonly kl: {
    readonly mean: number;
    readonly median: number;
    readonly p99: number;
    readonly p999: number;
    readonly max: number;
  };
  /** Share of tokens for which both find the same one most likely. */
  readonly sameTop: number;
  /** Perplexity of the texts, by the base and by the model. */
  readonly perplexity: readonly [base: number, model: number];
}

/**
 * Compares two models of one vocabulary on texts.
 *
 * @param texts token ids of each text, from its first token on; each must fit in both contexts
 * @throws InputError when the vocabularies differ, or there is no text of two tokens
 *
 * @example
 * ```ts ignore
 * const { kl } = await compareModels(base, model, [model.tokenizer.encode("Once upon a time")]);
 * ```
 */
export async function compareModels(
  base: Model,
  model: Model,
  texts: readonly (readonly number[])[],
  { signal, onProgress }: {
    readonly signal?: AbortSignal | undefined;
    /** Told how many tokens have been compared. */
    readonly onProgress?: ((tokens: number) => void) | undefined;
  } = {},
): Promise<Comparison> {
  checkVocabularies(base, model);
  return await comparePredictions(base.config.vocabSize, texts, async (i) => {
    const ids = texts[i]!;
    return [await base.logits(ids), await model.logits(ids)];
  }, { signal, onProgress });
}

/** Compares what is predicted `[tokens, vocab]`, by a base first, for each text. */
export async function comparePredictions(
  vocabSize: number,
  texts: readonly (readonly number[])[],
  logitsOf: (text: number) => Promise<readonly [base: Float32Array, model: Float32Array]>,
  { signal, onProgress }: {
    readonly signal?: AbortSignal | undefined;
    readonly onProgress?: ((tokens: number) => void) | undefined;
  } = {},
): Promise<Comparison> {
  const divergences: number[] = [];
  let same = 0, next = 0;
  const loss = { base: 0, model: 0 };
  for (const [text, ids] of texts.entries()) {
    signal?.throwIfAborted();
    const [a, b] = await logitsOf(text);
    for (let t = 0; t < ids.length; t++) {
      const p = a.subarray(t * vocabSize, (t + 1) * vocabSize);
      const q = b.subarray(t * vocabSize, (t + 1) * vocabSize);
      const logP = logTotal(p), logQ = logTotal(q);
      let divergence = 0, topP = 0, topQ = 0;
      for (let i = 0; i < vocabSize; i++) {
        const lp = p[i]! - logP;
        divergence += Math.exp(lp) * (lp - (q[i]! - logQ));
        if (p[i]! > p[topP]!) topP = i;
        if (q[i]! > q[topQ]!) topQ = i;
      }
      divergences.push(Math.max(0, divergence)); // rounding may leave less
      if (topP === topQ) same++;
      if (t + 1 === ids.length) continue;
      next++;
      loss.base -= p[ids[t + 1]!]! - logP;
      loss.model -= q[ids[t + 1]!]! - logQ;
    }
    onProgress?.(divergences.length);
  }
  if (next === 0) {
    throw new InputError("Cannot compare models on no text: expected one of at least two tokens");
  }
  divergences.sort((x, y) => x - y);
  const at = (share: number): number =>
    divergences[Math.min(divergences.length - 1, Math.floor(share * divergences.length))]!;
  return {
    tokens: divergences.length,
    kl: {
      mean: divergences.reduce((sum, it) => sum + it, 0) / divergences.length,
      ...{ median: at(0.5), p99: at(0.99), p999: at(0.999), max: divergences.at(-1)! },
    },
    sameTop: same / divergences.length,
    perplexity: [Math.exp(loss.base / next), Math.exp(loss.model / next)],
  };
}
