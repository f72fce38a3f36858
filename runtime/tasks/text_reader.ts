/**
 * What a model can be asked about texts that it only reads.
 *
 * @module
 */

import type { Encoding } from "../generation/read_texts.ts";
import type { Score, ScoreOptions } from "../generation/score.ts";
import type { Prompt } from "../models/prompt.ts";
import type {
  Classification,
  ClassifyOptions,
  LabelScore,
  RankedText,
  RerankOptions,
} from "./classify.ts";
import type { EmbedOptions } from "./embed.ts";
import type { FilledMask, FillMaskOptions, MaskedWord } from "./fill_mask.ts";
import type { TextOrPair } from "./reader.ts";

export type {
  Classification,
  ClassifyOptions,
  EmbedOptions,
  FilledMask,
  FillMaskOptions,
  LabelScore,
  MaskedWord,
  RankedText,
  RerankOptions,
  TextOrPair,
};

/** What a `Model` answers about texts that it reads. Which of it, the heads of the model decide. */
export interface TextReader {
  /**
   * How likely a text, or a list of token ids, is: the logarithm of the probability of every token
   * after those before it, and the perplexity.
   *
   * @throws InputError when there are fewer than 2 tokens or more than the context holds
   * @throws ModelError when the model is an encoder or an encoder–decoder, when the text is text and
   * the model has no tokenizer, or when logits are NaN or infinite
   *
   * @example
   * ```ts
   * import { loadModel } from "@sparrow/sparrow";
   *
   * await using model = await loadModel();
   * const { ids, texts, logProbabilities, perplexity } = await model.score("白日依山尽，");
   * logProbabilities.forEach((value, i) => console.log(ids[i + 1], texts[i + 1], value));
   * console.log(perplexity);
   * ```
   */
  score(input: string | readonly number[], options?: ScoreOptions): Promise<Score>;
  /**
   * Logits at every position, `[tokens, vocab]` row-major: of the next word, of the target's tokens
   * for an encoder–decoder, of the masked words for an encoder with such a head.
   *
   * @throws InputError when there are no ids, too many, one out of range, or a field that the model
   * does not take
   * @throws ModelError when a logit is NaN or infinite: no numbers are given out with which nothing
   * right can be done. -Infinity is a word that the model rules out
   *
   * @example
   * ```ts
   * import { loadModel } from "@sparrow/sparrow";
   *
   * await using model = await loadModel();
   * const logits = await model.logits([1, 2, 3]);
   * console.log(logits.length === 3 * model.config.vocabSize);
   * ```
   */
  logits(prompt: readonly number[] | Prompt): Promise<Float32Array>;
  /**
   * What an encoder, also that of an encoder–decoder, makes of a text; for a decoder the normalized
   * states of its last layer.
   *
   * @throws InputError as `logits`
   * @throws ModelError as `logits`
   *
   * @example
   * ```ts ignore
   * await using model = await loadModel("bert-base-chinese");
   * const { hidden, pooled } = await model.encode({ ids: [101, 1266, 776, 102] });
   * ```
   */
  encode(
    prompt: readonly number[] | Prompt,
    options?: { readonly signal?: AbortSignal },
  ): Promise<Encoding>;
  /**
   * One vector per text, `[width]` each: hidden states of the last layer, pooled and normalized as the
   * model's own files say (`modules.json` of sentence-transformers with its `Pooling`, `Dense` and
   * `Normalize`; `pooling_type` of GGUF) or as `options` do. An encoder reads as many texts in one run
   * as there is room for. A text that does not fit is an error, unless `truncate` is set.
   *
   * @throws InputError when `texts` is no list of texts, one is too long, or an option is unknown or wrong
   * @throws ModelError when the model came without tokenizer files, or names modules that are not
   * supported, or when hidden states are not finite
   *
   * @example
   * ```ts
   * import { loadModel } from "@sparrow/sparrow";
   *
   * await using model = await loadModel(); // better a model that was made for it
   * const [moon, frost] = await model.embed(["床前明月光", "疑是地上霜"]);
   * const similarity = moon.reduce((sum, value, i) => sum + value * frost[i], 0);
   * console.log(similarity > -1 && similarity < 1.001);
   * ```
   */
  embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array[]>;
  /**
   * The most likely words for each mask of a text, written `[MASK]` or `<mask>` whatever the model's own
   * spelling is, for encoders with a head for masked words.
   *
   * @throws InputError when the text has no mask, or does not fit
   * @throws ModelError when the model has no such head, tokenizer or mask
   *
   * @example
   * ```ts ignore
   * await using model = await loadModel("bert-base-chinese");
   * const [{ words }] = await model.fillMask("北京是[MASK]国的首都", { top: 3 });
   * for (const { text, probability } of words) console.log(text, probability);
   * ```
   */
  fillMask(text: string, options?: FillMaskOptions): Promise<FilledMask[]>;
  /**
   * The labels of a text, or of a pair of texts, with their probabilities, for encoders with a classifier
   * (`BertForSequenceClassification` and its kin).
   *
   * @throws InputError when the text is none, or does not fit
   * @throws ModelError when the model has no classifier or no tokenizer
   *
   * @example
   * ```ts ignore
   * await using model = await loadModel("distilbert-sst2");
   * const { labels: [{ label, probability }] } = await model.classify("What a film!");
   * const pair = await model.classify(["It rains.", "It is dry."]); // of another model
   * ```
   */
  classify(input: TextOrPair, options?: ClassifyOptions): Promise<Classification>;
  /**
   * Texts in the order in which they answer a query, for cross-encoders: encoders whose classifier gives
   * one score for a pair.
   *
   * @throws InputError when a text is none, or does not fit together with the query
   * @throws ModelError when the model has no classifier of one score, or no tokenizer
   *
   * @example
   * ```ts ignore
   * await using model = await loadModel("bge-reranker-base");
   * const texts = ["The Great Wall", "The giant panda is a bear."];
   * const [best] = await model.rerank("what is a panda?", texts, { top: 1 });
   * console.log(best.index, best.score, best.probability); // 1 …
   * ```
   */
  rerank(query: string, texts: readonly string[], options?: RerankOptions): Promise<RankedText[]>;
}
