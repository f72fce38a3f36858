/**
 * What generation is asked for and what it gives: the options with their rules, one generated token, and
 * what a whole generation came to.
 *
 * @module
 */

import {
  CALLBACK,
  either,
  FLAG,
  isListOf,
  oneOf,
  readOptions,
  type Rules,
  SIGNAL,
  TEXTS,
  wholeNumberIn,
} from "../../options.ts";
import { CONSTRAINT, type Constraint } from "./constraint.ts";
import { SAMPLER_RULES, type SamplerOptions } from "./sampler.ts";
import type { PromptProgress } from "./text_session.ts";
import type { TokenLogprob, TokenLogprobs } from "./token_logprobs.ts";

/** One generated token. */
export interface Token {
  /** Token id. */
  readonly id: number;
  /**
   * Text that became certain with this token: whole characters, empty while a character or a
   * possible stop string is incomplete, and always empty for a model without a tokenizer. The stop
   * token appears only when it makes such text certain.
   */
  readonly text: string;
  /** Where `logprobs` asks for it, the bytes that the token adds to the text in UTF-8. */
  readonly bytes?: readonly number[];
  /**
   * Where `logprobs` asks for it, the natural logarithm of the token's probability by the model's own
   * distribution (see `TokenLogprob`). A stop token that appears has neither this nor the others.
   */
  readonly logprob?: number;
  /** Where `logprobs` asks for it, the most likely tokens in its place, the best first. */
  readonly top?: readonly TokenLogprob[];
}

/** Why generation ended: a stop token or string, a limit, or the caller's break or abort. */
export type StopReason = "stop" | "length" | "abort";

/** What generation came to. */
export interface GenerationResult {
  /** Why it ended. */
  readonly stopReason: StopReason;
  /** Tokens of the prompt; for an encoder–decoder those of the source. */
  readonly promptIds: readonly number[];
  /** How many of them were still cached from before, in the session or in another one. */
  readonly reusedTokens: number;
  /** Generated tokens, without the stop token. */
  readonly ids: readonly number[];
  /** Their text, without the stop string. */
  readonly text: string;
  /**
   * The log-probabilities of `ids`, `[ids.length]`, where they were asked for. The bytes of all are the
   * text before it was cut at a stop string, in UTF-8.
   */
  readonly logprobs?: readonly TokenLogprobs[];
}

/**
 * How to generate.
 *
 * @example
 * ```ts
 * import { type GenerateOptions, loadModel } from "@sparrow/sparrow";
 *
 * await using model = await loadModel();
 * const options: GenerateOptions = {
 *   maxTokens: 12,
 *   stop: ["。"],
 *   temperature: 0.7,
 *   frequencyPenalty: 0.3,
 *   logitBias: { [model.tokenizer.encode("月", { addSpecial: false })[0]!]: -Infinity },
 *   logprobs: 2,
 *   seed: 1,
 * };
 * for await (const { text, logprob, top } of model.session().generate("春眠不觉晓，", options)) {
 *   console.log(text, logprob, top!.map(({ text, logprob }) => [text, logprob]));
 * }
 * ```
 */
export interface GenerateOptions extends SamplerOptions {
  /** Most tokens to generate; until the context is full where absent. */
  readonly maxTokens?: number;
  /** Tokens that end generation, instead of the model's own; an id that no token has is refused. */
  readonly stopIds?: readonly number[];
  /**
   * Strings that end generation; they are not part of the text. A special token is one by its spelling
   * ("<|im_end|>"), alone or with text around it ("\n<|sep|>"). An empty string stops nothing.
   */
  readonly stop?: readonly string[];
  /**
   * What the text may go on with, as a grammar has it. Tokens are then chosen on the host.
   */
  readonly constraint?: Constraint;
  /**
   * Tells of each token its log-probability and those of so many most likely tokens, 0 to 128; none where
   * absent. Tokens are then chosen on the host.
   */
  readonly logprobs?: number;
  /**
   * What to do when the context is full: `stop` ends with stop reason `length`; `slide` keeps the
   * first `sinkTokens` and the later half of the rest, and goes on (compare arXiv:2309.17453).
   */
  readonly overflow?: "stop" | "slide";
  /** Tokens at the start that `slide` keeps. Default 4. */
  readonly sinkTokens?: number;
  /** Whether special tokens written in a text prompt are recognized. Default false. */
  readonly parseSpecial?: boolean;
  /**
   * Whether special tokens that are generated have no text. Default true; false shows the sentinels with
   * which T5 fills a text.
   */
  readonly skipSpecial?: boolean;
  /** Whether the tokenizer adds its own start and end tokens to a text prompt. Default true. */
  readonly addSpecial?: boolean;
  /**
   * Called while the prompt is read: at once with what is still cached of it, after each part of some
   * hundred tokens, and at its end.
   */
  readonly onPrompt?: (progress: PromptProgress) => void;
  /** Ends generation; the iteration throws the signal's reason. */
  readonly signal?: AbortSignal;
  /** Called once when generation ends, however it ends. */
  readonly onFinish?: (result: GenerationResult) => void;
}

/** Most tokens beside the chosen one of which log-probabilities are told. */
const MOST_LOGPROBS = 128;

/** What each option may be. */
export const GENERATE_RULES: Rules<GenerateOptions> = {
  ...SAMPLER_RULES,
  maxTokens: either(wholeNumberIn(0, Number.MAX_SAFE_INTEGER), Infinity),
  stopIds: {
    expected: "a list of token ids",
    accepts: (value) => isListOf(value, Number.isInteger),
  },
  stop: TEXTS,
  constraint: CONSTRAINT,
  logprobs: wholeNumberIn(0, MOST_LOGPROBS),
  overflow: oneOf(["stop", "slide"]),
  sinkTokens: wholeNumberIn(0, Number.MAX_SAFE_INTEGER),
  parseSpecial: FLAG,
  skipSpecial: FLAG,
  addSpecial: FLAG,
  onPrompt: CALLBACK,
  signal: SIGNAL,
  onFinish: CALLBACK,
};

/**
 * Refuses options that no model could generate with.
 *
 * @throws InputError when one is unknown or out of range
 */
export function checkOptions(options: GenerateOptions): void {
  readOptions("generate", options, GENERATE_RULES);
}
