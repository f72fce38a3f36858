/**
 * The loop of generation: prompt in, sampled tokens out, until a stop token, a stop string, the
 * token limit or the end of the context.
 *
 * @module
 */

import { InputError, ModelError } from "../../errors.ts";
import { quote } from "../../escape.ts";
import {
  CALLBACK,
  either,
  FLAG,
  oneOf,
  readOptions,
  type Rules,
  SIGNAL,
  TEXTS,
  wholeNumberIn,
} from "../../options.ts";
import type { Ahead } from "./ahead.ts";
import type { Backend } from "../backends/backend.ts";
import type { Prompt } from "../models/prompt.ts";
import {
  backendChoice,
  randomSeed,
  sampler,
  SAMPLER_RULES,
  type SamplerOptions,
  samplerOptions,
} from "./sampler.ts";
import type { PromptProgress, SessionModel, TextSession } from "./text_session.ts";
import { hiddenTexts, StopScanner } from "./stop_scanner.ts";

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
}

/** Why generation ended: a stop token or string, a limit, or the caller's break or abort. */
export type StopReason = "stop" | "length" | "abort";

/** What generation came to. */
export interface GenerationResult {
  /** Why it ended. */
  readonly stopReason: StopReason;
  /** Tokens of the prompt; for an encoder–decoder those of the source. */
  readonly promptIds: readonly number[];
  /** How many of them were still cached from before. */
  readonly reusedTokens: number;
  /** Generated tokens, without the stop token. */
  readonly ids: readonly number[];
  /** Their text, without the stop string. */
  readonly text: string;
}

/** How to generate. */
export interface GenerateOptions extends SamplerOptions {
  /** Most tokens to generate; until the context is full where absent. */
  readonly maxTokens?: number;
  /** Tokens that end generation, instead of the model's own. */
  readonly stopIds?: readonly number[];
  /**
   * Strings that end generation; they are not part of the text. A special token is one by its spelling
   * ("<|im_end|>"), alone or with text around it ("\n<|sep|>").
   */
  readonly stop?: readonly string[];
  /**
   * What to do when the context is full: `stop` ends with stop reason `length`; `slide` keeps the
   * first `sinkTokens` and the later half of the rest, and goes on (compare arXiv:2309.17453).
   */
  readonly overflow?: "stop" | "slide";
  /** Tokens at the start that `slide` keeps. Default 4. */
  readonly sinkTokens?: number;
  /** Whether special tokens written in a text prompt are recognized. Default false. */
  readonly parseSpecial?: boolean;
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

/** What each option may be. */
export const GENERATE_RULES: Rules<GenerateOptions> = {
  ...SAMPLER_RULES,
  maxTokens: either(wholeNumberIn(0, Number.MAX_SAFE_INTEGER), Infinity),
  stopIds: {
    expected: "a list of token ids",
    accepts: (value) => Array.isArray(value) && value.every((id) => Number.isInteger(id)),
  },
  stop: TEXTS,
  overflow: oneOf(["stop", "slide"]),
  sinkTokens: wholeNumberIn(0, Number.MAX_SAFE_INTEGER),
  parseSpecial: FLAG,
  addSpecial: FLAG,
  onPrompt: CALLBACK,
  signal: SIGNAL,
  onFinish: CALLBACK,
};

/** Streams tokens; see `Session.generate`. `isLeft` tells whether nobody reads on. */
export async function* generate(
  session: TextSession,
  model: SessionModel,
  prompt: string | readonly number[] | Prompt,
  given: GenerateOptions,
  isLeft: () => boolean,
): AsyncGenerator<Token, void, void> {
  const { contextLength } = model.engine.options;
  const options = readOptions("generate", given, GENERATE_RULES);
  const { maxTokens = Infinity, overflow = "stop", signal } = options;
  const sinkTokens = options.sinkTokens ?? Math.min(4, Math.floor(contextLength / 2));
  checkSinkTokens(sinkTokens, contextLength);
  const settings = { ...samplerOptions(options), seed: options.seed ?? randomSeed() };
  const sample = sampler(settings), choice = backendChoice(settings);
  if (!model.engine.programs.decode) {
    throw new ModelError(
      `Cannot generate with a model of architecture ${
        quote(model.engine.config.architecture)
      }: it ` +
        `reads texts and writes none; use encode, embed or logits`,
    );
  }
  const opening = toPrompt(prompt, model, options);
  const sequence = model.engine.sequenceOf(opening);
  const promptIds = (sequence.source ?? sequence).ids;
  if (overflow === "slide" && (sequence.source || sequence.prefixLength)) {
    throw new InputError(
      'Cannot generate with overflow "slide" from a prefix or a source: what the text answers to ' +
        "would slide out of the context; expected stop",
    );
  }
  const stopIds = new Set(options.stopIds ?? model.stopIds);
  // A model may have more words than its tokenizer; those have no text.
  const words = model.tokenizer?.vocabSize ?? 0;
  const decoder = model.tokenizer?.decoder({ after: sequence.ids.filter((id) => id < words) });
  const emitted = new StopScanner(options.stop ?? []);
  const hidden = model.tokenizer && hiddenTexts(model.tokenizer, options.stop ?? []);
  const ids: number[] = [];
  let stopReason: StopReason = "abort";
  while (session.leaving) await session.leaving;
  const shared = session.begin(sequence);
  const reusedTokens = Math.min(shared, session.cachedTokens);
  let { history } = session;
  try {
    signal?.throwIfAborted();
    const logitsOf = async (
      ids: readonly number[] | Prompt,
      length: number,
      onProgress?: (progress: PromptProgress) => void,
    ): Promise<Float32Array> => {
      const logits = await session.prefill(ids, {
        ...(signal && { signal }),
        ...(onProgress && { onProgress }),
      });
      if (session.position !== length) throw disturbed();
      ({ history } = session);
      return logits;
    };
    const sampleAfter = async (ids: readonly number[], draw: number): Promise<number> =>
      sample(await logitsOf(ids, history.length + ids.length), history, draw);
    let ahead: Ahead | undefined, aheadOn: Backend | undefined;
    const after = async (id: number, kept: readonly number[]): Promise<number> => {
      const { engine } = model, draw = ids.length;
      if (!ahead) {
        ahead = session.ahead(choice, draw);
        aheadOn = engine.backend;
      }
      if (!ahead) return await sampleAfter([...kept, id], draw);
      if (kept.length > 0) await logitsOf(kept, history.length + kept.length);
      const length = history.length + 1;
      let next: number;
      try {
        next = await ahead.next(id, maxTokens - ids.length);
      } catch (error) {
        if (!await engine.recover(error, aheadOn!)) throw error;
        // What ran ahead is lost; the tokens are known, and the number of the next draw.
        ahead = undefined;
        if (session.position === length) session.truncate(length - 1);
        ({ history } = session);
        return await sampleAfter([id], draw);
      }
      if (session.position !== length) throw disturbed();
      ({ history } = session);
      return next;
    };
    const step = (promise: Promise<number>): Promise<number> =>
      session.underWay(promise, () => signal?.aborted || isLeft());
    let next: number | undefined;
    if (maxTokens > 0) {
      const { onPrompt } = options;
      onPrompt?.({ done: reusedTokens, total: promptIds.length });
      const rest = shared > 0 ? sequence.ids.slice(shared) : opening;
      const logits = logitsOf(rest, sequence.ids.length, onPrompt);
      next = await step(logits.then((it) => sample(it, history, 0)));
    } else stopReason = "length";
    while (next !== undefined) {
      signal?.throwIfAborted();
      const id = next;
      if (stopIds.has(id)) {
        stopReason = "stop";
        const rest = emitted.end(decoder?.flush() ?? "");
        if (rest !== "") yield { id, text: rest };
        return;
      }
      ids.push(id);
      let text = id < words ? emitted.push(decoder!.push(id), hidden?.(id)) : emitted.push("");
      const full = session.position === contextLength;
      if (emitted.stopped) stopReason = "stop";
      else if (ids.length === maxTokens || full && overflow === "stop") {
        stopReason = "length";
        // Characters and stop strings that stay incomplete are text after all.
        text += emitted.end(decoder?.flush() ?? "");
        if (emitted.stopped) stopReason = "stop";
      }
      yield { id, text };
      if (stopReason !== "abort") return;
      if (session.history !== history) throw disturbed();
      const kept = full ? slide(session, sinkTokens) : [];
      ({ history } = session);
      next = await step(after(id, kept));
    }
  } finally {
    options.onFinish?.({ stopReason, promptIds, reusedTokens, ids, text: emitted.text });
  }
}

function disturbed(): InputError {
  return new InputError(
    "Cannot go on generating: another call changed the session's tokens; use one session for " +
      "each text that is generated at the same time",
  );
}

/**
 * Refuses options that no model could generate with.
 *
 * @throws InputError when one is unknown or out of range
 */
export function checkOptions(options: GenerateOptions): void {
  readOptions("generate", options, GENERATE_RULES);
}

/** Throws where sink tokens would leave no room to slide. */
function checkSinkTokens(sinkTokens: number, contextLength: number): void {
  const most = Math.floor(contextLength / 2);
  if (sinkTokens <= most) return;
  throw new InputError(
    `Cannot generate with sinkTokens ${sinkTokens}: expected a whole number from 0 to ${most}, ` +
      `half the context`,
  );
}

function toPrompt(
  prompt: string | readonly number[] | Prompt,
  { tokenizer }: SessionModel,
  { addSpecial = true, parseSpecial = false }: GenerateOptions,
): readonly number[] | Prompt {
  if (typeof prompt !== "string") return prompt;
  if (!tokenizer) {
    throw new ModelError(
      "Cannot read a text prompt: the model has no tokenizer; pass token ids, or add its " +
        "tokenizer.json",
    );
  }
  return tokenizer.encode(prompt, { addSpecial, parseSpecial });
}

/** Makes room in a full context; returns the later tokens, which have to run again. */
function slide(session: TextSession, sinkTokens: number): readonly number[] {
  const { history } = session;
  const kept = history.slice(Math.ceil((history.length + sinkTokens) / 2));
  session.truncate(sinkTokens);
  return kept;
}
