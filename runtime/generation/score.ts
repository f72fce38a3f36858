/**
 * How likely a model finds a text: the log-probability of each token after those before it. Rows of
 * logits are looked at as they come, so that a long text needs no memory for all of them.
 *
 * @module
 */

import { InputError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import { FLAG, readOptions, type Rules, SIGNAL } from "../../options.ts";
import type { Engine } from "../engine/engine.ts";
import { logProbability } from "./log_probabilities.ts";
import { checkWrites } from "./read_texts.ts";
import type { Tokenizer } from "../text/tokenizer/tokenizer.ts";

/** How to score. */
export interface ScoreOptions {
  /** Whether the tokenizer adds its own start and end tokens to a text. Default true. */
  readonly addSpecial?: boolean;
  /** Whether special tokens written in a text are recognized. Default false. */
  readonly parseSpecial?: boolean;
  /** Ends it between two runs; the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** What each option may be. */
export const SCORE_RULES: Rules<ScoreOptions> = {
  addSpecial: FLAG,
  parseSpecial: FLAG,
  signal: SIGNAL,
};

/** How likely a text is. */
export interface Score {
  /** Its tokens. */
  readonly ids: readonly number[];
  /**
   * What each token adds to the text, `[ids.length]`: whole characters, so that a token may add
   * nothing and the one that completes a character all of it. Empty for a model without a tokenizer.
   */
  readonly texts: readonly string[];
  /**
   * Natural logarithm of the probability of `ids[i + 1]` after those before it, `[ids.length - 1]`:
   * the first token has none before it.
   */
  readonly logProbabilities: readonly number[];
  /** Their sum. */
  readonly totalLogProbability: number;
  /** `exp` of minus their mean: among how many equally likely tokens the model seems to choose. */
  readonly perplexity: number;
}

/** Scores token ids, of which there are at least 2; see `Model.score`. */
export async function score(
  engine: Engine,
  ids: readonly number[],
  tokenizer: Tokenizer | undefined,
  options: ScoreOptions,
): Promise<Score> {
  const { signal } = readOptions("score", options, SCORE_RULES);
  const { vocabSize } = engine.config, { contextLength } = engine.options;
  checkWrites(engine, "score");
  if (engine.programs.encode) {
    throw new ModelError(
      `Cannot score with a model of architecture ${quote(engine.config.architecture)}: it writes ` +
        `one text about another, expected a model that continues one; use logits with ids and ` +
        `decoderIds`,
    );
  }
  if (ids.length < 2) {
    throw new InputError(
      `Cannot score ${ids.length} token${
        ids.length === 1 ? "" : "s"
      }: expected at least 2, since ` +
        `the first has none before it`,
    );
  }
  if (ids.length > contextLength) {
    throw new InputError(
      `Cannot score ${ids.length} tokens: the context holds ${contextLength}; shorten the text or ` +
        `raise contextLength`,
    );
  }
  const { ids: completed, prefixLength = 0 } = engine.sequenceOf(ids);
  if (completed.length !== ids.length || prefixLength > 0) {
    throw new ModelError(
      `Cannot score with a model of architecture ${
        quote(engine.config.architecture)
      }: it reads a ` +
        `prompt in both directions, and completes it by tokens of its own, expected a model that ` +
        `continues a text; use logits`,
    );
  }
  const logProbabilities = new Array<number>(ids.length - 1);
  const holder = { cached: 0 };
  try {
    await engine.run({
      holder,
      output: { program: "decode", names: ["logits"], rows: "all" },
      signal,
      sequence: () => ({ ids }),
      onRows: (rows, first) => {
        for (let start = 0, i = first; start < rows.length; start += vocabSize, i++) {
          if (i + 1 >= ids.length) return;
          logProbabilities[i] = logProbability(
            rows.subarray(start, start + vocabSize),
            ids[i + 1]!,
          );
        }
      },
      finish: () => {},
    });
  } finally {
    engine.release(holder);
  }
  const total = logProbabilities.reduce((sum, value) => sum + value, 0);
  return {
    ids,
    texts: textsOf(ids, tokenizer),
    logProbabilities,
    totalLogProbability: total,
    perplexity: Math.exp(-total / logProbabilities.length),
  };
}

/** What each token adds to the text. */
function textsOf(ids: readonly number[], tokenizer: Tokenizer | undefined): string[] {
  if (!tokenizer) return ids.map(() => "");
  const decoder = tokenizer.decoder({ skipSpecial: false });
  // A model may have more words than its tokenizer; those have no text.
  const texts = ids.map((id) => id < tokenizer.vocabSize ? decoder.push(id) : "");
  texts[texts.length - 1] += decoder.flush();
  return texts;
}
