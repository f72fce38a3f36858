/**
 * How tokens are chosen, as callers say it: the options with their defaults and rules, and a sampler for
 * logits of one's own.
 *
 * @module
 */

import { InputError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import {
  checkValue,
  isA,
  numberIn,
  NUMBERS,
  OBJECT,
  readOptions,
  type Rule,
  type Rules,
  wholeNumberIn,
} from "../../options.ts";
import type { TokenChoice } from "../backends/backend.ts";
import { chooser, offsetsOf } from "./chooser.ts";

/**
 * How tokens are chosen. In this order: `logitBias`, `presencePenalty` and `frequencyPenalty` are added to
 * the logits, then comes `repeatPenalty`; what is left of `topK`, `topP` and `minP`, by probabilities at the
 * `temperature`, is drawn from.
 */
export interface SamplerOptions {
  /** Divides the logits; 0 always takes the most likely token. Default 0.8. */
  readonly temperature?: number;
  /** Keeps the k most likely tokens; 0 keeps all. Default 40. */
  readonly topK?: number;
  /** Keeps the fewest tokens whose probabilities reach p (Holtzman et al., arXiv:1904.09751). Default 0.95. */
  readonly topP?: number;
  /** Keeps tokens at least this fraction as likely as the best (arXiv:2407.01082). Default 0. */
  readonly minP?: number;
  /** Divides positive and multiplies negative logits of recent tokens (arXiv:1909.05858). Default 1. */
  readonly repeatPenalty?: number;
  /** How many of the last tokens the penalty covers, the prompt's too. Default 64. */
  readonly repeatWindow?: number;
  /**
   * Subtracted once from the logit of every token that has been generated; those of the prompt do not
   * count, as in OpenAI's definition. Default 0.
   */
  readonly presencePenalty?: number;
  /**
   * Subtracted from a token's logit for each time that it has been generated; those of the prompt do not
   * count. Default 0.
   */
  readonly frequencyPenalty?: number;
  /** Added to logits, by token id, as in `{ 42: -1.5, 7: -Infinity }`; -Infinity rules a token out. */
  readonly logitBias?: Readonly<Record<number, number>>;
  /** Whole number that fixes every draw; random where absent. */
  readonly seed?: number;
}

/**
 * Chooses a token from its logits `[vocab]`: with the random number after the last one, or with number
 * `draw` of its stream. `history` are the tokens before it, for `repeatPenalty`; `generated` those that were
 * generated, for the penalties that leave the prompt alone.
 */
export type Sampler = (
  logits: Float32Array,
  history?: readonly number[],
  draw?: number,
  generated?: readonly number[],
) => number;

/** Largest bias: beyond what any model's logits differ by, and far from the end of float32. */
const MOST_BIAS = 1e9;

const BIASES: Rule = {
  expected: `an object of numbers from -${MOST_BIAS} to ${MOST_BIAS}, or -Infinity, by token id, ` +
    `as in { 42: -1.5 }`,
  accepts: (value) =>
    OBJECT.accepts(value) && !(value instanceof Map) && !ArrayBuffer.isView(value) &&
    Object.entries(value as object).every(([id, bias]) =>
      /^\d{1,10}$/.test(id) &&
      (bias === -Infinity || numberIn(-MOST_BIAS, MOST_BIAS).accepts(bias))
    ),
};

/** What each option may be. */
export const SAMPLER_RULES: Rules<SamplerOptions> = {
  temperature: numberIn(0, 100),
  topK: wholeNumberIn(0, 2 ** 31),
  topP: numberIn(0, 1),
  minP: numberIn(0, 1),
  repeatPenalty: numberIn(0.01, 100),
  repeatWindow: wholeNumberIn(0, 2 ** 31),
  presencePenalty: numberIn(-100, 100),
  frequencyPenalty: numberIn(-100, 100),
  logitBias: BIASES,
  seed: wholeNumberIn(0, Number.MAX_SAFE_INTEGER),
};

const DRAW = wholeNumberIn(0, Number.MAX_SAFE_INTEGER);

/** Options whose rules have been followed, as every backend chooses by them. */
export function choiceOf(options: SamplerOptions): TokenChoice {
  const { temperature = 0.8, topK = 40, topP = 0.95, minP = 0, seed = randomSeed() } = options;
  const { repeatPenalty = 1, repeatWindow = 64 } = options;
  const { presencePenalty = 0, frequencyPenalty = 0, logitBias = {} } = options;
  const biases = Object.entries(logitBias).map(([id, bias]) => [Number(id), bias] as const)
    .filter(([, bias]) => bias !== 0);
  return {
    ...{ temperature, topK, topP, minP, repeatPenalty, repeatWindow },
    ...{ presencePenalty, frequencyPenalty, logitBias: new Map(biases), seed },
  };
}

/**
 * Throws where a bias is of no token.
 *
 * @throws InputError when it is
 */
export function checkBiases({ logitBias }: TokenChoice, vocabSize: number): void {
  for (const id of logitBias.keys()) {
    if (id < vocabSize) continue;
    throw new InputError(
      `Cannot choose a token with a logitBias of id ${id}: expected ids from 0 to ${vocabSize - 1}`,
    );
  }
}

/**
 * Makes a sampler; each call advances its random stream by one draw. What it returns throws a
 * ModelError where no choice can be right: a logit is NaN or infinite (-Infinity rules a word out),
 * or every word is ruled out.
 *
 * @throws InputError when an option is unknown or out of range
 *
 * @example
 * ```ts
 * import { sampler } from "@sparrow/sparrow";
 *
 * const logits = Float32Array.of(0.1, 2, 0.3);
 * const greedy = sampler({ temperature: 0 });
 * console.log(greedy(logits)); // 1
 * const other = sampler({ temperature: 0, logitBias: { 1: -Infinity } });
 * console.log(other(logits)); // 2
 * ```
 */
export function sampler(options: SamplerOptions = {}): Sampler {
  const choice = choiceOf(readOptions("sample", options, SAMPLER_RULES));
  const choose = chooser(choice);
  let draws = 0;
  return (logits, history = [], draw = draws, generated = []) => {
    if (!isA(logits, Float32Array) || logits.length === 0) {
      throw new InputError(
        `Cannot choose a token from ${quote(logits)}: expected a Float32Array of logits`,
      );
    }
    checkValue("choose a token", "history", history, NUMBERS);
    checkValue("choose a token", "draw", draw, DRAW);
    checkValue("choose a token", "generated", generated, NUMBERS);
    checkBiases(choice, logits.length);
    draws = draw + 1;
    return choose(logits, { history, offsets: offsetsOf(choice, generated), draw });
  };
}

/** A seed that nobody chose. */
function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0]!;
}
